"""Measures how far float32 is from float64 in PyTorch itself, for what the golden files hold of one training step.

    python Tools/measure_conditioning.py --reference ../shared/reference --out Tests/RecogniteTests/Golden/conditioning.json [MODEL ...]

A deep network with random weights, a batch of four and ReLUs turns rounding errors of 1e-6 into errors of several
percent of some gradients: a sign changes, a unit switches off, and everything before it sees another gradient. No
implementation in float32 comes closer to another one than that, torch's own memory formats among themselves included.
For each model this writes how far three float32 runs of torch (default, channels last, without oneDNN) are from its
float64 run, the farthest of them: root mean square of the difference over that of the tensor, for the logits, the loss,
each gradient that the golden file lists, and the calibrated embeddings. It is taken over all elements and over those
that the golden file holds, and the larger one counts: a unit that flips may sit at one of those few. Tests allow a
multiple of it beside their usual tolerance.

A figure above 1 says that the gradient is zero (that of a bias whose channel is normalized afterwards), and what float32
has there is rounding; tests hold it against the gradient of the same layer's weight.
"""
import argparse, gc, json, pathlib, sys, warnings

import torch

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--reference", type=pathlib.Path, required=True)
parser.add_argument("--out", type=pathlib.Path, required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("models", nargs="*")
args = parser.parse_args()
sys.path.insert(0, str(args.reference))
from make_golden import HUGE, calibrate, images, quiet, recognizer, sizes  # noqa: E402

torch.set_num_threads(args.threads)


def run(name, dtype, channels_last=False, onednn=True):
    model, _ = recognizer(name, "golden")
    quiet(model).train()
    shapes = sizes(name)
    train = images(2 if name in HUGE else 4, *shapes["train"], "golden/train").to(dtype)
    test = images(2, *shapes["calibrated"], "golden/calibrated").to(dtype)
    model = model.to(dtype)
    if channels_last:
        model, train, test = (t.to(memory_format=torch.channels_last) for t in (model, train, test))
    with torch.backends.mkldnn.flags(enabled=onednn), torch.set_grad_enabled(name not in HUGE):
        logits = model(train)
        result = {"logits": logits.detach()}
        if name not in HUGE:  # the golden files of these hold no gradients
            loss = torch.nn.functional.cross_entropy(logits, torch.arange(4))
            loss.backward()
            result["loss"] = loss.detach()
            result |= {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
            model.zero_grad()
        calibrate(model, train)
        with torch.no_grad():
            result["calibrated raw"], result["calibrated embedding"] = model.backbone(test), model(test)
    return {k: v.double() for k, v in result.items()}


def distance(got, exact, indices):
    """Root mean square of the difference over that of `exact`: of all elements or of the probed ones, the larger."""
    difference, scale = (got - exact).flatten(), exact.norm().clamp_min(1e-300) / exact.numel() ** 0.5
    parts = [difference, difference[indices]] if indices else [difference]
    return max((part.norm() / part.numel() ** 0.5 / scale).item() for part in parts)


table = json.loads(args.out.read_text()) if args.out.exists() else {}
for name in args.models or sorted(p.stem for p in (args.reference / "golden").glob("*.json")):
    if not args.models and name in table:
        continue
    golden = json.loads((args.reference / "golden" / f"{name}.json").read_text())
    wanted = ["logits", "calibrated raw", "calibrated embedding"]
    if name not in HUGE:
        wanted += ["loss", *golden["train"]["gradients"]]
    train, calibrated = golden["train"], golden["calibrated"]
    probes = {"logits": train["logits"], "calibrated raw": calibrated["raw"],
              "calibrated embedding": calibrated["embedding"], **train.get("gradients", {})}
    exact = run(name, torch.float64)
    # A model that is measured again keeps the larger figures: other numbers of threads round differently.
    row = {key: table.get(name, {}).get(key, 0.0) for key in wanted}
    for options in ({}, {"channels_last": True}, {"onednn": False}):
        got = run(name, torch.float32, **options)
        for key in wanted:
            row[key] = max(row[key], distance(got[key], exact[key], probes.get(key, {}).get("index")))
        del got
    table[name] = {k: float(f"{v:.2g}") for k, v in row.items()}
    args.out.write_text("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in sorted(table.items())) + "\n}\n")
    print(name, max(table[name].items(), key=lambda item: item[1]), flush=True)
    del exact
    gc.collect()
