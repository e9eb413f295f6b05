"""Makes Tests/ImagingTests/Fixtures: small synthetic pictures in every format, and what Pillow 13 and torchvision make
of them (expected.json). Indices of probes count the C-order flattening of [H, W, 3].

    ~/peers/bin/python Tools/make_image_fixtures.py [path of cjpeg]

Needs Pillow, numpy, torch, torchvision, and cjpeg (Debian: libjpeg-turbo-progs) for what Pillow cannot write: 4:4:0,
arithmetic coding. PNG files are written here, chunk by chunk: Pillow writes neither interlaced nor most 16-bit ones.
"""
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from torchvision.transforms import functional as F
from torchvision.transforms._presets import ImageClassification

FOLDER = pathlib.Path(__file__).parent.parent / "Tests/ImagingTests/Fixtures"
CJPEG = sys.argv[1] if len(sys.argv) > 1 else "cjpeg"
RANDOM = np.random.RandomState(20)
INTERPOLATION = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def scene(width: int, height: int) -> np.ndarray:
    """Gradients, a disc with a hard edge, stripes, and a little noise: [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    disc = (x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (min(width, height) * 0.3) ** 2
    stripes = (x + 2 * y).astype(int) // 5 % 2 == 0
    channels = [255 * x / max(1, width - 1), 255 * y / max(1, height - 1), 255 - 127 * (x + y) / (width + height)]
    channels[0] = np.where(disc, 250, channels[0])
    channels[1] = np.where(disc & stripes, 20, channels[1])
    channels[2] = np.where(stripes & ~disc, channels[2] * 0.6, channels[2])
    picture = np.stack(channels, axis=-1) + RANDOM.randint(-6, 7, (height, width, 1))
    return picture.clip(0, 255).astype(np.uint8)


# MARK: PNG, chunk by chunk

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed_rows(samples: np.ndarray, depth: int) -> list[bytes]:
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    rows = []
    for row in samples:
        bits = "".join(format(int(v), f"0{depth}b") for v in row.ravel())
        bits += "0" * (-len(bits) % 8)
        rows.append(bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def filtered(rows: list[bytes], step: int) -> bytes:
    """Rows with the five filters in turn."""
    previous, out = bytes(len(rows[0])), b""
    for number, row in enumerate(rows):
        kind, line = number % 5, bytearray()
        for i, value in enumerate(row):
            a, c = (row[i - step], previous[i - step]) if i >= step else (0, 0)
            b = previous[i]
            p = a + b - c
            paeth = min((a, b, c), key=lambda v: abs(p - v))  # min keeps the first of equals, as PNG wants
            line.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        out += bytes([kind]) + bytes(line)
        previous = row
    return out


def png(samples: np.ndarray, depth: int, color: int, interlaced: bool, chunks: bytes = b"") -> bytes:
    height, width = samples.shape[:2]
    step = max(1, CHANNELS[color] * depth // 8)
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [samples]
    data = zlib.compress(b"".join(filtered(packed_rows(s, depth), step) for s in parts if s.size), 9)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    half = len(data) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IDAT", data[:half])
            + chunk(b"IDAT", data[half:]) + chunk(b"IEND", b""))


def png_samples(color: int, depth: int, width: int = 19, height: int = 13) -> np.ndarray:
    picture = scene(width, height).astype(int)
    alpha = RANDOM.randint(0, 256, (height, width, 1))
    eight = {0: picture[:, :, :1], 2: picture, 3: picture[:, :, :1], 4: np.dstack([picture[:, :, :1], alpha]),
             6: np.dstack([picture, alpha])}[color]
    if depth == 16:
        # Gray of 16 bits is clipped at 255 by Pillow: have values on both sides.
        low = RANDOM.randint(0, 256, eight.shape)
        return np.where(eight < 90, low, eight * 256 + low) if color == 0 else eight * 256 + low
    return eight >> (8 - depth)


def palette(count: int) -> bytes:
    return chunk(b"PLTE", RANDOM.randint(0, 256, count * 3).astype(np.uint8).tobytes())


def write_pngs() -> None:
    for interlaced in (False, True):
        suffix = "_interlaced" if interlaced else ""
        for color, name in ((0, "gray"), (2, "rgb"), (3, "palette"), (4, "gray_alpha"), (6, "rgba")):
            for depth in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(color, (8, 16)):
                chunks = palette(2 ** depth) if color == 3 else b""
                data = png(png_samples(color, depth), depth, color, interlaced, chunks)
                (FOLDER / f"png_{name}{depth}{suffix}.png").write_bytes(data)
        gray, rgb, index = png_samples(0, 8), png_samples(2, 8), png_samples(3, 4)
        alphas = chunk(b"tRNS", bytes([0, 128, 255, 7]))
        for name, data in (
            ("gray_trns", png(gray, 8, 0, interlaced, chunk(b"tRNS", struct.pack(">H", int(gray[3, 3, 0]))))),
            ("rgb_trns", png(rgb, 8, 2, interlaced, chunk(b"tRNS", struct.pack(">3H", *map(int, rgb[3, 3]))))),
            ("palette_trns", png(index, 4, 3, interlaced, palette(16) + alphas)),
            ("palette_short", png(index, 4, 3, interlaced, palette(9) + alphas)),
            ("gamma", png(rgb, 8, 2, interlaced, chunk(b"gAMA", struct.pack(">I", 30000)))),
        ):
            (FOLDER / f"png_{name}{suffix}.png").write_bytes(data)
        for width, height in ((1, 1), (2, 7), (5, 1)):
            data = png(png_samples(2, 8, width, height), 8, 2, interlaced)
            (FOLDER / f"png_{width}x{height}{suffix}.png").write_bytes(data)


# MARK: the other formats

def write_jpegs() -> None:
    picture = Image.fromarray(scene(37, 29))
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        name = subsampling.replace(":", "")
        picture.save(FOLDER / f"jpeg_{name}.jpg", quality=80, subsampling=subsampling)
        picture.save(FOLDER / f"jpeg_{name}_progressive.jpg", quality=80, subsampling=subsampling, progressive=True)
    picture.save(FOLDER / "jpeg_quality1.jpg", quality=1)
    picture.save(FOLDER / "jpeg_quality100.jpg", quality=100)
    picture.save(FOLDER / "jpeg_restart.jpg", quality=70, restart_marker_blocks=1)
    picture.save(FOLDER / "jpeg_rgb.jpg", quality=70, keep_rgb=True)
    picture.convert("L").save(FOLDER / "jpeg_gray.jpg", quality=70)
    picture.convert("L").save(FOLDER / "jpeg_gray_progressive.jpg", quality=70, progressive=True)
    for width, height in ((1, 1), (17, 3), (8, 33)):
        Image.fromarray(scene(width, height)).save(FOLDER / f"jpeg_{width}x{height}.jpg", quality=60)

    black = RANDOM.randint(0, 200, (29, 37)).astype(np.uint8)
    cmyk = Image.fromarray(np.dstack([scene(37, 29), black]), mode="CMYK")
    buffer = io.BytesIO()
    cmyk.save(buffer, format="JPEG", quality=60)
    data = bytearray(buffer.getvalue())
    (FOLDER / "jpeg_cmyk.jpg").write_bytes(data)
    marker = data.index(b"Adobe")
    data[marker + 11] = 2  # the transform: the same planes read as YCCK
    (FOLDER / "jpeg_ycck.jpg").write_bytes(data)
    del data[marker - 4:marker - 2 + struct.unpack(">H", data[marker - 2:marker])[0]]
    (FOLDER / "jpeg_cmyk_unmarked.jpg").write_bytes(data)

    ppm = io.BytesIO()
    picture.save(ppm, format="PPM")
    for name, options in (("440", ["-sample", "1x2"]), ("441", ["-sample", "1x4"]), ("410", ["-sample", "4x2"]),
                          ("arithmetic", ["-arithmetic"])):
        command = [CJPEG, "-quality", "70", *options]
        result = subprocess.run(command, input=ppm.getvalue(), capture_output=True, check=True)
        (FOLDER / f"jpeg_{name}.jpg").write_bytes(result.stdout)


def write_webps() -> None:
    rgb = scene(37, 29)
    rgba = np.dstack([rgb, RANDOM.randint(0, 256, (29, 37)).astype(np.uint8)])
    Image.fromarray(rgb).save(FOLDER / "webp_lossy.webp", quality=70)
    Image.fromarray(rgb).save(FOLDER / "webp_lossless.webp", lossless=True)
    Image.fromarray(rgba).save(FOLDER / "webp_lossy_alpha.webp", quality=70, exact=True)
    Image.fromarray(rgba).save(FOLDER / "webp_lossless_alpha.webp", lossless=True, exact=True)
    frames = [Image.fromarray(scene(21, 16)) for _ in range(2)]
    frames[0].save(FOLDER / "webp_animated.webp", save_all=True, append_images=frames[1:], lossless=True)


def write_oriented() -> None:
    picture = Image.fromarray(scene(11, 6))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        picture.save(FOLDER / f"exif{orientation}.jpg", exif=exif, quality=50)
        exif.endian = "<" if orientation % 2 else ">"
        picture.save(FOLDER / f"exif{orientation}.png", exif=exif)
        picture.save(FOLDER / f"exif{orientation}.webp", exif=exif, lossless=True)
    exif[274] = 9  # means nothing
    picture.save(FOLDER / "exif9.jpg", exif=exif, quality=50)
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    picture.save(FOLDER / "xmp6.jpg", xmp=xmp.encode(), quality=50)
    picture.save(FOLDER / "xmp6.webp", xmp=xmp.encode(), lossless=True)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    picture.save(FOLDER / "xmp6.png", pnginfo=info)


def write_refused() -> None:
    picture = Image.fromarray(scene(5, 4))
    for name in ("gif", "bmp", "tiff"):
        picture.save(FOLDER / f"refused.{name}")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (FOLDER / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))


# MARK: what is expected

def sha256(picture: Image.Image) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def probe(tensor: torch.Tensor, count: int = 40) -> dict:
    """Of a tensor [..., C, H, W], as [..., H, W, C]."""
    flat = tensor.movedim(-3, -1).contiguous().flatten()
    index = torch.linspace(0, flat.numel() - 1, min(count, flat.numel())).round().long()
    return {"shape": list(tensor.movedim(-3, -1).shape), "mean": flat.double().mean().item(), "index": index.tolist(),
            "value": [float(v) for v in flat[index]]}


def three_crop(image: torch.Tensor) -> torch.Tensor:
    """recognite.utils.three_crop.three_crop (0.0.1a0)."""
    _, height, width = image.shape
    size = min(height, width)
    return torch.stack([F.crop(image, 0, 0, size, size), F.center_crop(image, [size, size]),
                        F.crop(image, height - size, width - size, size, size)])


def expected() -> dict:
    pictures = []
    for path in sorted(FOLDER.iterdir()):
        if path.suffix not in (".jpg", ".png", ".webp") or path.name == "huge.png":
            continue
        with Image.open(path) as opened:
            picture, upright = opened.convert("RGB"), ImageOps.exif_transpose(opened).convert("RGB")
        pictures.append({"file": path.name, "width": picture.width, "height": picture.height,
                         "sha256": sha256(picture), "uprightWidth": upright.width, "uprightSHA256": sha256(upright)})

    resizes, tensor_resizes, crops, presets, three_crops, tensor_presets = [], [], [], [], [], []
    for file in ("scene.png", "scene_tall.png"):
        picture = Image.open(FOLDER / file).convert("RGB")
        width, height = picture.size
        tensor = ToTensor()(picture)
        for name, mode in INTERPOLATION.items():
            for w, h in ((1, 1), (width, 20), (20, height), (width * 2, height * 3), (31, 150), (width - 1, height + 1),
                         (7, 9), (width // 3, height // 2)):
                case = {"file": file, "width": w, "height": h, "interpolation": name}
                resizes.append(case | {"sha256": sha256(F.resize(picture, [h, w], mode))})
                tensor_resizes.append(case | probe(F.resize(tensor, [h, w], mode, antialias=True)))
            for crop, resize in ((24, 32), (32, 32), (33, 40), (224, 256), (50, 40)):
                preset = ImageClassification(crop_size=crop, resize_size=resize, interpolation=mode)
                presets.append({"file": file, "cropSize": crop, "resizeSize": resize, "interpolation": name}
                               | probe(preset(picture)))
        for w, h in ((10, 10), (11, 12), (width, height), (200, 3), (3, 200), (151, 152), (width + 1, height + 3)):
            crops.append({"file": file, "width": w, "height": h, "sha256": sha256(F.center_crop(picture, [h, w]))})
        three_crops.append({"file": file} | probe(three_crop(tensor)))
        path = Compose([ToTensor(), Resize(30, antialias=True), CenterCrop(28),
                        Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
        tensor_presets.append({"file": file, "cropSize": 28, "resizeSize": 30} | probe(path(picture)))

    sizes = []
    for size in ((375, 500), (500, 375), (1, 1), (333, 100), (17, 1000), (101, 103)):
        for edge, maximum in ((256, None), (232, None), (100, 150), (33, 34)):
            height, width = F._compute_resized_output_size(size, [edge], maximum)
            sizes.append({"from": size, "edge": edge, "maximum": maximum, "to": [height, width]})
    return {"pictures": pictures, "resizes": resizes, "tensorResizes": tensor_resizes, "centerCrops": crops,
            "presets": presets, "threeCrops": three_crops, "tensorPresets": tensor_presets, "sizes": sizes}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    Image.fromarray(scene(73, 47)).save(FOLDER / "scene.png", optimize=True)
    Image.fromarray(scene(41, 90)).save(FOLDER / "scene_tall.png", optimize=True)
    write_pngs()
    write_jpegs()
    write_webps()
    write_oriented()
    write_refused()
    lines = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in expected().items()]
    (FOLDER / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(sum(p.stat().st_size for p in FOLDER.iterdir()), "bytes in", len(list(FOLDER.iterdir())), "files")


if __name__ == "__main__":
    main()
