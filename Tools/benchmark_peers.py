"""Times this package's benchmark executable beside PyTorch, ONNX Runtime and OpenVINO, cell by cell, in one run.

    python3 -m venv V && V/bin/pip install torch torchvision onnx onnxscript onnxruntime openvino numpy
    V/bin/python Tools/benchmark_peers.py --ours .build/release/recognite-benchmark --out results.jsonl
    python3 Tools/benchmark_table.py results.jsonl

A cell is a model and a batch size: random weights, eval mode, float32, the same input shape for all, the classifier
removed (embeddings). Each peer's best public setting for latency is used: PyTorch in both memory formats under
inference_mode, ONNX Runtime and OpenVINO on the exported graph at full optimization. Ours runs before and after the peers
and the mean of the two medians counts, so that a drift of the machine shows as `spread`. `ratio` is the fastest peer's time
over ours: above 1 we are ahead. On a machine whose speed changes from second to second, `--rounds 5` takes turns five times
and counts the least median of each; `spread` is then how far our two least are apart.

The first line of the output says what the run was made with; each further line is one cell.
"""
import argparse, datetime, gc, importlib.metadata, json, math, os, platform, re, subprocess, sys, tempfile, time, warnings

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ours", required=True, help="path of recognite-benchmark; `recognite` beside it says versions")
parser.add_argument("--models", default="all")
parser.add_argument("--batches", default="1,8")
parser.add_argument("--size", type=int, help="the side of the images; if not given, 224 (299 for inception_v3)")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seconds", type=float, default=1.5, help="time budget of one measurement")
parser.add_argument("--peers", default="torch,torch_cl,ort,openvino")
parser.add_argument("--rounds", type=int, default=1, help="how often ours and the peers take turns")
parser.add_argument("--out", help="a file to write; what it held before is gone, unless --resume is given")
parser.add_argument("--resume", action="store_true", help="measure only what is not in the file yet")
args = parser.parse_args()
wanted = args.peers.split(",")
if args.size is not None and args.size < 1:
    parser.error("--size must be at least 1")
if args.rounds < 1:
    parser.error("--rounds must be at least 1")
if unknown := set(wanted) - {"torch", "torch_cl", "ort", "openvino"}:
    parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
os.environ["OMP_NUM_THREADS"] = str(args.threads)
import numpy as np, torch, torchvision  # noqa: E402

torch.set_num_threads(args.threads)


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        return ""


def found(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else None


def description():
    """What the run is made with, for the heading of the table."""
    doctor = output_of(os.path.join(os.path.dirname(os.path.abspath(args.ours)), "recognite"), "doctor")
    lscpu = output_of("lscpu")
    versions = {"Swift": found(r"Swift version (\S+)", output_of("swift", "--version")),
                "OpenBLAS": found(r"^OpenBLAS\s+OpenBLAS (\S+)", doctor)}
    packages = {"torch": "torch", "torch_cl": "torch", "ort": "onnxruntime", "openvino": "openvino"}
    for package in dict.fromkeys(packages[peer] for peer in wanted):
        versions[{"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[package]] = \
            importlib.metadata.version(package)
    shown = ["Tools/benchmark_peers.py"]
    for name in ("models", "batches", "size", "threads", "seconds", "peers", "rounds"):
        value = getattr(args, name)
        if value != parser.get_default(name):
            shown.append(f"--{name} {value}")
    return {"date": str(datetime.date.today()), "command": " ".join(shown), "threads": args.threads,
            "size": args.size, "rounds": args.rounds, "processor": found(r"^Model name:(.*)", lscpu) or platform.processor() or "unknown",
            "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "L2": found(r"^L2 cache:(.*)", lscpu), "L3": found(r"^L3 cache:(.*)", lscpu),
            "instruction_set": found(r"^instruction set\s+(\S+)", doctor),
            "versions": {name: version for name, version in versions.items() if version}}


def median_ms(run):
    run()
    times, start = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - start < args.seconds and len(times) < 300):
        t = time.perf_counter()
        run()
        times.append(time.perf_counter() - t)
    return float(np.median(times)) * 1e3


def ours(model, batch, size):
    done = subprocess.run(
        [args.ours, "--models", model, "--batches", str(batch), "--size", str(size), "--threads", str(args.threads),
         "--seconds", str(args.seconds), "--json"], capture_output=True, text=True)
    if done.returncode:
        print(f"# ours failed on {model}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])["median_ms"]


def bare(name, size):
    extra = {}
    if name in ("googlenet", "inception_v3"):
        extra["init_weights"] = False
    elif name.startswith("vit_"):
        extra["image_size"] = size
    elif name == "maxvit_t":
        extra["input_size"] = (size, size)
    model = torchvision.models.get_model(name, weights=None, **extra).eval()
    path = list(model.named_children())[-1][0]
    last = getattr(model, path)
    if isinstance(last, torch.nn.Sequential):
        last[-1] = torch.nn.Identity()
    else:
        setattr(model, path, torch.nn.Identity())
    return model


def peers(name, batch, size):
    """Yields, once a round, each peer's median."""
    model = bare(name, size)
    x = torch.randn(batch, 3, size, size)
    data = x.numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        is_exported = bool({"ort", "openvino"} & set(wanted))
        if is_exported:
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                with torch.no_grad():
                    torch.onnx.export(model, x, path, dynamo=False, opset_version=17, input_names=["x"])
            except Exception as error:
                print(f"# no ONNX export of {name}: {str(error)[:120]}", file=sys.stderr)
                is_exported = False
        if not {"torch", "torch_cl"} & set(wanted):
            del model
        for _ in range(args.rounds):
            result = {}
            torch.backends.mha.set_fastpath_enabled(True)
            with torch.inference_mode():
                if "torch" in wanted:
                    result["torch"] = median_ms(lambda: model(x))
                if "torch_cl" in wanted:
                    m, c = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
                    result["torch_cl"] = median_ms(lambda: m(c))
                    model = model.to(memory_format=torch.contiguous_format)
                    del m, c
            gc.collect()
            if is_exported and "ort" in wanted:
                import onnxruntime
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = args.threads
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                feed = {session.get_inputs()[0].name: data}
                result["ort"] = median_ms(lambda: session.run(None, feed))
                del session
            if is_exported and "openvino" in wanted:
                import openvino
                compiled = openvino.Core().compile_model(path, "CPU", {
                    "INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": "f32"})
                request = compiled.create_infer_request()
                result["openvino"] = median_ms(lambda: request.infer([data]))
                del compiled, request
            yield result


def write(row):
    if args.out:
        with open(args.out, "a") as file:
            file.write(json.dumps(row) + "\n")


rows = []
if args.resume and args.out and os.path.exists(args.out):
    with open(args.out) as file:
        rows = [row for row in map(json.loads, file) if "ratio" in row]
    print(f"# {len(rows)} cells are in {args.out} already")
else:
    if args.out:
        open(args.out, "w").close()
    write(description())
done = {(row["model"], row["batch"], row["size"]) for row in rows}
# All that torchvision has but SqueezeNet, which has no fully-connected layer to cut off.
names = args.models.split(",") if args.models != "all" else [
    name for name in torchvision.models.list_models(module=torchvision.models) if not name.startswith("squeezenet")]
for name in names:
    for batch in map(int, args.batches.split(",")):
        size = args.size or (299 if name == "inception_v3" else 224)
        if (name, batch, size) in done:
            continue
        mine, theirs = [ours(name, batch, size)], []
        for result in peers(name, batch, size):
            theirs.append(result)
            mine.append(ours(name, batch, size))
        row = {"model": name, "batch": batch, "size": size,
               **{peer: min(result[peer] for result in theirs) for peer in wanted if peer in theirs[0]}}
        best = min(((row[k], k) for k in wanted if k in row), default=None)
        if best:
            row["best_peer"] = best[1]
        if all(mine):
            least, second = sorted(mine)[:2]
            row["ours"] = least if args.rounds > 1 else (least + second) / 2
            row["spread"] = (second - least) / row["ours"]
            if best:
                row["ratio"] = best[0] / row["ours"]
        rows.append(row)
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
        write(row)
        gc.collect()
ratios = [row["ratio"] for row in rows if "ratio" in row]
if ratios:
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"# geomean {mean:.3f}, lowest {min(ratios):.3f}, "
          f"cells behind the best peer {sum(ratio < 1 for ratio in ratios)} of {len(ratios)}")
