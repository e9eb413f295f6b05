"""Writes golden files of shallow ResNets, one block a stage, for tests of gradients within a tight tolerance.

The salts are some for which no unit is so near its kink that rounding decides: torch's own float32, in either memory
format, is within 1e-4 of its float64 (with other salts it is off by up to 15 %, as in the deep networks).

    python Tools/make_shallow_golden.py --reference ../shared/reference --out Tests/RecogniteTests/Golden
"""
import argparse, json, pathlib, sys

from torchvision.models._api import register_model
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--reference", type=pathlib.Path, required=True)
parser.add_argument("--out", type=pathlib.Path, required=True)
args = parser.parse_args()
sys.path.insert(0, str(args.reference))
from make_golden import golden  # noqa: E402
from recognite.model import SUPPORTED_MODELS  # noqa: E402

for name, salt, block, options in (
    ("shallow_basic", "golden", BasicBlock, {}),
    ("shallow_bottleneck", "golden", Bottleneck, {}),
    ("shallow_grouped", "b", Bottleneck, {"groups": 32, "width_per_group": 4}),
):
    register_model(name)(lambda weights=None, block=block, options=options: ResNet(block, [1, 1, 1, 1], **options))
    SUPPORTED_MODELS.append(name)
    (args.out / f"{name}.json").write_text(json.dumps(golden(name, salt)) + "\n")
