"""Checks that weights cross between this package and Python's recognite, in both directions, with equal embeddings.

    V/bin/python Tools/check_python_interop.py --recognite .build/release/recognite [--model mobilenet_v2]

V is a virtual environment with torch, torchvision, safetensors, pandas and recognite 0.0.1a0.
"""
import argparse, pathlib, subprocess, tempfile

import numpy as np
import torch
from recognite.model import Recognizer
from safetensors.torch import load_file, save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--recognite", required=True)
parser.add_argument("--model", default="mobilenet_v2")
args = parser.parse_args()
torch.manual_seed(0)


def embed(folder, weights, images):
    """Embeddings by our command, and the weights that it used as a safetensors file."""
    np.save(folder / "x.npy", images.numpy())
    command = [args.recognite, "embed", "--model", args.model, "--classes", "5", "--output", folder / "e.npy",
               "--save-weights", folder / "saved.safetensors", folder / "x.npy"]
    subprocess.run(command + (["--weights", weights] if weights else []), check=True)
    return torch.from_numpy(np.load(folder / "e.npy")), load_file(folder / "saved.safetensors")


def compare(what, ours, theirs):
    cosine = torch.nn.functional.cosine_similarity(ours, theirs).min().item()
    print(f"{what}: cosine {cosine:.8f}, largest difference {(ours - theirs).abs().max().item():.2e}")
    assert cosine > 0.99999


with tempfile.TemporaryDirectory() as name, torch.no_grad():
    folder = pathlib.Path(name)
    images = torch.randn(2, 3, 96, 128)
    ours, saved = embed(folder, None, images)
    python = Recognizer(args.model, num_classes=5)
    python.load_state_dict(saved, strict=True)
    compare("ours in Python", ours, python.eval()(images))
    python = Recognizer(args.model, num_classes=5).eval()
    for ending, save in ((".pth", torch.save), (".safetensors", save_file)):
        state = {k: v.clone() for k, v in python.state_dict().items()}
        save(state, folder / f"python{ending}")
        ours, _ = embed(folder, folder / f"python{ending}", images)
        compare(f"Python's {ending} here", ours, python(images))
