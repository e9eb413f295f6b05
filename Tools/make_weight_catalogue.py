"""Writes Sources/Weights/WeightCatalogue+Data.swift: every published weight of the supported models, as an installed
torchvision lists them.

    python Tools/make_weight_catalogue.py            writes the file
    python Tools/make_weight_catalogue.py --check    compares it with the installed torchvision, exit code 1 if it differs

The models are those of Tests/RecogniteTests/Golden. Facts alone are taken over: names, addresses, numbers.
"""
import argparse, json, pathlib, re, sys

import torchvision
from torchvision import models
from torchvision.transforms import InterpolationMode

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "Sources/Weights/WeightCatalogue+Data.swift"
HASH = re.compile(r"-([a-f0-9]+)\.")  # as torch.hub finds it in a file's name
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--check", action="store_true")
args = parser.parse_args()


def row(model, weights):
    """One entry. The preset is read off the transform that torchvision makes, so that its defaults are in it."""
    meta, preset = weights.meta, weights.transforms()
    metrics = meta["_metrics"]["ImageNet-1K"]
    interpolation = {InterpolationMode.BILINEAR: "bilinear", InterpolationMode.BICUBIC: "bicubic"}[preset.interpolation]
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    result = {
        "model": model, "class": type(weights).__name__, "name": weights.name,
        "isDefault": weights is type(weights).DEFAULT, "url": weights.url,
        "hashPrefix": HASH.search(weights.url.rsplit("/", 1)[1]).group(1),
        "parameterCount": meta["num_params"], "minSize": meta["min_size"][0], "crop": crop, "resize": resize,
        "interpolation": interpolation, "mean": list(preset.mean), "std": list(preset.std),
        "classes": len(meta["categories"] or []) or None, "top1": metrics["acc@1"], "top5": metrics["acc@5"],
        "gigaMultiplyAdds": meta["_ops"], "megabytes": meta["_file_size"], "recipe": meta["recipe"],
        "licence": meta.get("license"),
    }
    assert meta["min_size"][0] == meta["min_size"][1]
    # No classes, no accuracy (NaN there): weights of the features alone.
    return {key: value for key, value in result.items() if value is not None and value == value}


names = sorted(path.stem for path in (ROOT / "Tests/RecogniteTests/Golden").glob("*.json"))
names = [name for name in names if name in models.list_models(models)]
rows = [row(name, weights) for name in names for weights in models.get_model_weights(name)]
lines = "\n".join("    " + json.dumps(row, separators=(",", ":")) for row in rows)
text = f'''// swift-format-ignore-file
// Written by Tools/make_weight_catalogue.py from torchvision {torchvision.__version__.split("+")[0]}; do not edit.

extension WeightCatalogue {{
    /// One entry a line, in JSON. A text and no resource, so that an installed command finds it wherever it lies.
    static let data = #"""
{lines}
    """#
}}
'''
if args.check:
    same = TARGET.read_text().split("\n")[2:] == text.split("\n")[2:]
    print(f"{len(rows)} entries:", "as in torchvision" if same else f"{TARGET.name} differs")
    sys.exit(not same)
TARGET.write_text(text)
print(f"{len(rows)} entries of {len(names)} models")
