"""Times this package's training steps beside PyTorch's (channels last), cell by cell, in one run.

    V/bin/python Tools/benchmark_train.py --ours .build/release/recognite-benchmark

A cell is a model, the side of its square images and a batch size. One step is a forward pass in training mode, the mean
cross-entropy against 1000 classes, the backward pass, and SGD with momentum; random weights and images, float32. Each
measurement is a process of its own, so that its peak of resident memory is its own too: ours, PyTorch's, ours again. The
mean of our two medians counts; `spread` is by how much they differ. `ratio` is PyTorch's time over ours: above 1 we are
ahead. `processor ratio` is the same of processor time: with `--threads 1` it says who needs less work even while other
processes take their share of the processors. `memory` is our peak over PyTorch's.
"""
import argparse, json, os, subprocess, sys, time, warnings

CELLS = "resnet18:224:16,resnet18:64:64,resnet50:224:8,vit_b_32:224:8,mobilenet_v3_large:224:16"


def torch_cell(name, side, batch, threads, seconds):
    """Two steps to warm up, then steps for the given time, three at least, as `recognite-benchmark --train`."""
    import resource
    import torch
    import torchvision

    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    options = {"image_size": side} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": False}
    model = torchvision.models.get_model(name, weights=None, **options).to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) * 37 % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

    def step():
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    step(), step()
    times, start, busy = [], time.perf_counter(), time.process_time()
    while len(times) < 3 or (time.perf_counter() - start < seconds and len(times) < 300):
        begin = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - begin))
    cpu = 1000 * (time.process_time() - busy) / len(times)
    times.sort()
    median = (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2
    return {"median_ms": median, "cpu_ms": cpu, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def last_line(command, threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return json.loads(result.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", help="path of recognite-benchmark")
    parser.add_argument("--cells", default=CELLS, help="model:side:batch, separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="time budget of one measurement")
    parser.add_argument("--torch-cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_cell:
        name, side, batch = args.torch_cell.split(":")
        print(json.dumps(torch_cell(name, int(side), int(batch), args.threads, args.seconds)))
        return
    if not args.ours:
        parser.error("--ours is needed")
    options = ["--threads", str(args.threads), "--seconds", str(args.seconds)]
    print("| model | side | batch | ours ms | spread | torch ms | ratio | processor ratio | ours MB | torch MB | memory |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for cell in args.cells.split(","):
        ours = [args.ours, "--train", "--json", "--cells", cell, *options]
        first = last_line(ours, args.threads)
        peer = last_line([sys.executable, os.path.abspath(__file__), "--torch-cell", cell, *options], args.threads)
        second = last_line(ours, args.threads)
        mean = (first["median_ms"] + second["median_ms"]) / 2
        spread = abs(first["median_ms"] - second["median_ms"]) / mean
        memory = max(first["peak_rss_mb"], second["peak_rss_mb"])
        name, side, batch = cell.split(":")
        cpu = 2 * peer["cpu_ms"] / (first["cpu_ms"] + second["cpu_ms"])
        print(f"| {name} | {side} | {batch} | {mean:.1f} | {spread:.0%} | {peer['median_ms']:.1f} | "
              f"{peer['median_ms'] / mean:.2f} | {cpu:.2f} | {memory:.0f} | {peer['peak_rss_mb']:.0f} | "
              f"{memory / peer['peak_rss_mb']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
