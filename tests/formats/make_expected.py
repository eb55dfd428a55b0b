"""Writes `expected_tensors.txt`: what PyTorch itself reads from the checkpoints of `tests/fixtures`.

Usage: python make_expected.py            (needs torch, numpy and safetensors; run it after make_fixtures.py)
       python make_expected.py FILE       (prints every tensor of one checkpoint, to compare with a failing test)

A line per tensor is `path<TAB>dtype<TAB>shape<TAB>crc32 of its elements, little-endian`. The file holds for each accepted
checkpoint its name, the number of tensors and the crc32 of all their lines. Paths go through dicts, lists, tuples and the
state dicts of modules; sparse tensors are left out. Classes that can't be imported are replaced by empty ones.
"""

import json
import pathlib
import pickle
import sys
import types
import zlib

import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
sys.path.insert(0, str(FIXTURES))

TRUSTED = ("torch", "collections", "numpy", "_codecs", "models", "datetime", "pathlib")


class Anything(dict):
    """Stands for a class of the training code."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        pass

    def __hash__(self):
        return id(self)

    def append(self, item):
        pass

    def extend(self, items):
        pass

    def add(self, item):
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module.split(".")[0] in TRUSTED or (module, name) in (("builtins", "set"), ("builtins", "frozenset")):
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                pass
        return type(name, (Anything,), {})


def tensors(value, path="", above=()):
    if any(value is outer for outer in above):
        return
    above = (*above, value)
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided:
            yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from tensors(inner, f"{path}/{key}", above)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from tensors(inner, f"{path}/{index}", above)


def line(path, tensor):
    tensor = tensor.detach().contiguous().cpu()
    data = tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    shape = ", ".join(str(size) for size in tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{path}\t{dtype}\t[{shape}]\t{zlib.crc32(data):08x}\n"


def lines(file):
    if file.suffix == ".safetensors":
        header = json.loads(file.read_bytes()[8:].split(b"}}")[0] + b"}}")
        loaded = safetensors.torch.load_file(file)
        root = {key: loaded[key] for key in header if key != "__metadata__"}
    else:
        module = types.SimpleNamespace(
            __name__="unpickler", Unpickler=Unpickler, load=lambda f, **kw: Unpickler(f, **kw).load()
        )
        root = torch.load(file, map_location="cpu", weights_only=False, pickle_module=module)
    return [line(path, tensor) for path, tensor in tensors(root)]


def main():
    if len(sys.argv) > 1:
        print("".join(lines(pathlib.Path(sys.argv[1]))), end="")
        return
    manifest = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))
    rows = []
    for fixture in manifest["fixtures"]:
        if not fixture["accept"]:
            continue
        found = lines(FIXTURES / fixture["file"])
        rows.append(f"{fixture['file']}\t{len(found)}\t{zlib.crc32(''.join(found).encode()):08x}\n")
    (HERE / "expected_tensors.txt").write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
