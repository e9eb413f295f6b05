"""Writes Tests/ImagingTests/Fixtures/augmentation.json: affine maps and colour adjustments of a small picture by
torchvision's functions on float tensors.

    ~/peers/bin/python Tools/make_augmentation_fixtures.py

Needs numpy, torch and torchvision. The picture is a formula of its indices that the tests have too. Elements are
counted in the C-order flattening of [H, W, 3].
"""
import json
import pathlib

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

OUT = pathlib.Path(__file__).parent.parent / "Tests/ImagingTests/Fixtures/augmentation.json"
HEIGHT, WIDTH = 25, 32

y, x, c = np.mgrid[0:HEIGHT, 0:WIDTH, 0:3]
# Ramps with kinks and jumps, a gray part (no hue), and a red one.
pixels = abs((11 * x + 60 * c) % 240 - 120) + abs((13 * y + 37 * c) % 200 - 100) + x * y * (c + 1) % 7
pixels[:5, :6] = 10 * y[:5, :6] + 8 * x[:5, :6]
pixels[20:, :4] = (255, 0, 0)
picture = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def probes(image: torch.Tensor, keep: np.ndarray) -> dict:
    flat = image.permute(1, 2, 0).reshape(-1)
    index = np.flatnonzero(np.repeat(keep.reshape(-1), 3))
    index = index[np.linspace(0, len(index) - 1, min(60, len(index))).round().astype(int)]
    return {"index": index.tolist(), "value": [round(float(flat[i]), 7) for i in index]}


affine = []
for angle, translate, scale, shear in [
    (0, (3, -2), 1, (0, 0)), (30, (0, 0), 1, (0, 0)), (-90, (0, 0), 1, (0, 0)), (0, (0, 0), 1.4, (0, 0)),
    (0, (0, 0), 0.7, (20, 0)), (0, (0, 0), 1, (0, -15)), (17, (2, 5), 0.85, (-9, 12)), (-140, (-4, 1), 1.2, (10, 25)),
]:
    options = {"angle": angle, "translate": list(translate), "scale": scale, "shear": list(shear),
               "interpolation": InterpolationMode.BILINEAR}
    moved = F.affine(picture, **options)
    # Where all four pixels are of the picture: at its border torchvision mixes the fill in by a mask of its own.
    whole = F.affine(torch.ones_like(picture), **options)[0] > 0.9999
    inside = whole.numpy()
    assert inside.sum() > 100
    affine.append({"degrees": angle, "translation": list(translate), "scale": scale, "shear": list(shear),
                   **probes(moved, inside)})

everywhere = np.ones((HEIGHT, WIDTH), bool)
color = []
for name, function, factors in [
    ("brightness", F.adjust_brightness, (0, 0.35, 1, 1.7)), ("contrast", F.adjust_contrast, (0, 0.35, 1, 1.7)),
    ("saturation", F.adjust_saturation, (0, 0.35, 1, 1.7)), ("hue", F.adjust_hue, (-0.5, -0.13, 0, 0.08, 0.4)),
]:
    for factor in factors:
        color.append({"name": name, "factor": factor, **probes(function(picture, factor), everywhere)})
OUT.write_text(json.dumps({"pixels": probes(picture * 255, everywhere), "affine": affine, "color": color}) + "\n")
