#!/usr/bin/env python3
"""Writes the small checkpoints that Tests/ModelZooTests reads, and what they hold.

    python Tools/make_checkpoint_fixtures.py        # needs torch, numpy and safetensors

Expected values stand in expected.json: floats as the bits of float32, so that they compare exactly.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import zipfile

import numpy
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests/ModelZooTests/Fixtures"
EXPECTED = {}


def described(key, tensor):
    tensor = tensor.detach()
    flat = tensor.reshape(-1)
    if tensor.dtype.is_floating_point:
        values = flat.to(torch.float32).view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    else:
        values = flat.to(torch.int64)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"key": key, "shape": list(tensor.shape), "dtype": dtype, "values": values.tolist()}


def expect(name, format, tensors, nesting=None, prefix="", others=None, metadata=None):
    described_tensors = [described(key, tensor) for key, tensor in tensors.items()]
    same = [other for other, known in EXPECTED.items() if known.get("tensors") == described_tensors]
    EXPECTED[name] = {
        "format": format,
        "nesting": nesting,
        "prefix": prefix,
        "others": others or {},
        "metadata": metadata or {},
        **({"sameTensors": same[0]} if same else {"tensors": described_tensors}),
    }


def expect_error(name, *fragments):
    EXPECTED[name] = {"error": fragments}


def both(name, content, tensors, **expectation):
    torch.save(content, FOLDER / f"{name}.pth")
    expect(f"{name}.pth", "torchZip", tensors, **expectation)
    torch.save(content, FOLDER / f"{name}_legacy.pth", _use_new_zipfile_serialization=False)
    expect(f"{name}_legacy.pth", "torchLegacy", tensors, **expectation)


def every_dtype():
    special = [0.0, -0.0, 1.0, -2.5, 1 / 3, 6.1e-5, 5.96e-8, 65504.0, float("inf"), float("-inf"), float("nan")]
    tensors = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensors[str(dtype)] = torch.tensor(special, dtype=torch.float64).to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8):
        limits = torch.iinfo(dtype)
        tensors[str(dtype)] = torch.tensor([limits.min, -1, 0, 1, limits.max], dtype=dtype)
    tensors["torch.uint8"] = torch.tensor([0, 1, 255], dtype=torch.uint8)
    tensors["torch.bool"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(7)
    tensors["scalar_float"] = torch.tensor(1.5)
    tensors["empty"] = torch.zeros(0)
    tensors["empty_matrix"] = torch.zeros(3, 0, 2, dtype=torch.float16)
    return tensors


def views():
    base = torch.arange(60, dtype=torch.float32)
    cube = base.reshape(3, 4, 5)
    counters = torch.arange(12).reshape(3, 4)
    return {
        "base": base,
        "offset": base[7:19],
        "every_third": base[1::3],
        "transposed": cube.transpose(0, 2),
        "permuted": cube.permute(1, 2, 0),
        "block": cube[1:, 1:3, ::2],
        "column": cube[:, 2:3, 4],
        "last": base[59],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 5),
        "diagonal": base[:36].reshape(6, 6).diagonal(),
        "channels_last": base[:24].reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "half_transposed": torch.arange(6, dtype=torch.float16).reshape(2, 3).t(),
        "counters_transposed": counters.t(),
    }


def network(prefix=""):
    generator = torch.Generator().manual_seed(7)
    return collections.OrderedDict(
        (prefix + key, torch.randn(shape, generator=generator) if shape else torch.tensor(3))
        for key, shape in [("conv.weight", (2, 3, 3, 3)), ("bn.weight", (2,)), ("bn.num_batches_tracked", ())]
    )


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Storage:
    def __init__(self, count, key="0"):
        self.identifier = ("storage", torch.FloatStorage, key, "cpu", count)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.identifier if isinstance(value, Storage) else None


def crafted(name, content, data=bytes(16), byteorder=b"little"):
    """A zip checkpoint whose pickle says what torch would not."""
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(content)
    with zipfile.ZipFile(FOLDER / name, "w") as archive:
        archive.writestr("a/data.pkl", stream.getvalue())
        archive.writestr("a/byteorder", byteorder)
        archive.writestr("a/data/0", data)
        archive.writestr("a/version", b"3\n")


def tensor(storage, offset, size, stride):
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())


def rezipped(source, name, method):
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / name, "w", method) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member), method)


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + index)
    both("state_dict", model.state_dict(), model.state_dict())
    before_training = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    both("parameters", parameters, parameters)
    both("dtypes", every_dtype(), every_dtype())
    both("views", views(), views())

    tied = torch.arange(6, dtype=torch.float32)
    shared = {"a": tied, "b": tied, "c": tied.reshape(2, 3), "d": tied[3:]}
    both("shared", shared, shared)

    weights = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    nested = {
        "epoch": 3,
        "best": torch.tensor(76.5),
        "accuracy": numpy.float64(76.5),
        "history": [0.5, 0.25],
        "arguments": argparse.Namespace(lr=0.1, folder=pathlib.PurePosixPath("x")),
        "milestones": collections.Counter([30, 60]),
        "tags": {"a"},
        "state_dict": weights,
        "optimizer": optimizer.state_dict(),
        "note": None,
    }
    others = {
        "epoch": "int", "best": "tensor [] of float32", "accuracy": "numpy._core.multiarray.scalar",
        "history": "list of 2", "arguments": "argparse.Namespace", "milestones": "collections.Counter",
        "tags": "__builtin__.set", "optimizer": "dict of 2", "note": "None",
    }
    both("nested", nested, weights, nesting=["state_dict"], others=others)
    deep = {"checkpoint": {"generator": weights, "step": 5}, "step": 5}
    both("deep", deep, weights, nesting=["checkpoint", "generator"], others={"step": "int"})

    prefixed = network("module.backbone.")
    both("data_parallel", prefixed, prefixed, prefix="module.backbone.")
    recognizer = {**network("backbone."), "classifier.weight": torch.ones(2, 2), "_ult_clf.weight": torch.ones(2, 2)}
    both("recognizer", recognizer, recognizer)

    torch.save(weights, FOLDER / "protocol4.pth", pickle_protocol=4)
    expect("protocol4.pth", "torchZip", weights)
    torch.save(weights, FOLDER / "protocol5_legacy.pth", pickle_protocol=5, _use_new_zipfile_serialization=False)
    expect("protocol5_legacy.pth", "torchLegacy", weights)
    torch.save(weights, FOLDER / "protocol1.pth", pickle_protocol=1)
    expect("protocol1.pth", "torchZip", weights)
    rezipped("state_dict.pth", "deflated.pth", zipfile.ZIP_DEFLATED)
    expect("deflated.pth", "torchZip", before_training)
    torch.serialization.set_crc32_options(False)
    torch.save(nested, FOLDER / "no_checksums.pth")
    torch.serialization.set_crc32_options(True)
    expect("no_checksums.pth", "torchZip", weights, nesting=["state_dict"], others=others)
    # An axis of one element may have any stride.
    crafted("large_stride.pth", {"x": tensor(Storage(4), 1, (1, 3, 1), (2**61, 1, 2**62))})
    expect("large_stride.pth", "torchZip", {"x": torch.zeros(1, 3, 1)})

    save_file({key: value.contiguous() for key, value in every_dtype().items()}, FOLDER / "dtypes.safetensors",
              metadata={"format": "pt", "quote\"\n\u00e9\U0001f600": "\t\\"})
    with open(FOLDER / "dtypes.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    order = [key for key in header if key != "__metadata__"]
    expect("dtypes.safetensors", "safetensors", {key: every_dtype()[key] for key in order},
           metadata=header["__metadata__"])

    # What must be refused.
    torch.save(torch.nn.Identity(), FOLDER / "module.pth")
    torch.save(torch.nn.Identity(), FOLDER / "module_legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("module.pth", "module_legacy.pth"):
        expect_error(name, "torch.nn.modules.linear.Identity", "torch.save(model.state_dict()")
    torch.save({"a": torch.ones(1), "b": Call(os.system, "touch /tmp/recognite-was-run")}, FOLDER / "os_system.pth")
    torch.save(Call(os.system, "touch /tmp/recognite-was-run"), FOLDER / "os_system_legacy.pth",
               _use_new_zipfile_serialization=False)
    for protocol in (0, 2, 4):
        content = pickle.dumps(Call(os.system, "touch /tmp/recognite-was-run"), protocol=protocol)
        (FOLDER / f"os_system_{protocol}.pkl").write_bytes(content)
    for name in ("os_system.pth", "os_system_legacy.pth", *(f"os_system_{p}.pkl" for p in (0, 2, 4))):
        expect_error(name, "refused", "posix.system", "nothing was run")
    torch.save({"a": torch.ones(1), "b": Call(eval, "1")}, FOLDER / "eval.pth")
    expect_error("eval.pth", "refused", "__builtin__.eval")
    (FOLDER / "plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    expect_error("plain.pkl", "a pickle that torch.save did not write")
    torch.jit.save(torch.jit.script(torch.nn.Identity()), FOLDER / "script.pt")
    expect_error("script.pt", "TorchScript")
    torch.save({"generator": weights, "discriminator": weights | {}}, FOLDER / "two_networks.pth")
    expect_error("two_networks.pth", "generator (dict of 3)", "discriminator (dict of 3)")
    torch.save({"epoch": 1}, FOLDER / "no_tensors.pth")
    expect_error("no_tensors.pth", "epoch (int)")
    torch.save(torch.ones(2), FOLDER / "lone_tensor.pth")
    expect_error("lone_tensor.pth", "tensor [2] of float32")
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, FOLDER / "complex.pth")
    expect_error("complex.pth", "not supported", "torch.ComplexFloatStorage")
    with zipfile.ZipFile(FOLDER / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    expect_error("other.zip", "a zip archive that torch.save did not write")

    crafted("big_endian.pth", {"x": tensor(Storage(4), 0, (4,), (1,))}, byteorder=b"big")
    expect_error("big_endian.pth", "byte order \"big\"")
    for name, content in {
        "storage_claim": tensor(Storage(2**40), 0, (2,), (1,)),
        "storage_overflow": tensor(Storage(2**62), 0, (2,), (1,)),
        "shape_overflow": tensor(Storage(4), 0, (2**40, 2**40), (0, 0)),
        "hidden_overflow": tensor(Storage(4), 0, (0, 2**62, 2**62), (1, 1, 1)),
        "reach_overflow": tensor(Storage(4), 0, (3, 2), (2**62, 1)),
        "expanded_bomb": tensor(Storage(4), 0, (2**36,), (0,)),
        "beyond_end": tensor(Storage(4), 1, (4,), (1,)),
        "offset_beyond": tensor(Storage(4), 2**63 - 1, (1,), (1,)),
        "negative_stride": tensor(Storage(4), 3, (4,), (-1,)),
        "negative_size": tensor(Storage(4), 0, (-1, -4), (1, 1)),
        "ranks_differ": tensor(Storage(4), 0, (2, 2), (1,)),
        "no_storage": tensor(Storage(4, key="9"), 0, (2,), (1,)),
        "storage_escape": tensor(Storage(4, key="../data.pkl"), 0, (2,), (1,)),
    }.items():
        crafted(f"{name}.pth", {"x": content})
        expect_error(f"{name}.pth", "damaged")

    text = json.dumps(EXPECTED, separators=(",", ":"), sort_keys=True)
    (FOLDER / "expected.json").write_text(text + "\n")
    print(sum(file.stat().st_size for file in FOLDER.iterdir()), "bytes in", len(list(FOLDER.iterdir())), "files")


if __name__ == "__main__":
    main()
