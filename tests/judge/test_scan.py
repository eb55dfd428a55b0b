"""`taper scan` judges what Python's own pickler, PyTorch and NumPy write."""

import _compat_pickle
import argparse
import array
import collections
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import io
import json
import logging
import os
import pathlib
import pickle
import pkgutil
import re
import subprocess
import sys
import types
import typing
import uuid

import numpy as np
import pytest
import torch
from program import TAPER, TIME_LIMIT
from references import FIXTURES
from torch import nn
from torch._weights_only_unpickler import _get_allowed_globals

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
MANIFEST = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))["fixtures"]


class Call:
    """Pickles as a call of `function`, whatever that is."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Outer:
    """A class of the program that saved the file."""

    class Inner:
        """One inside it: up to protocol 3 Python reaches it with getattr."""

    def method(self):
        """A bound method is pickled with getattr too."""


class Colour(enum.Enum):
    RED = 1


def run(*arguments):
    return subprocess.run(
        [TAPER, "scan", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def scan(*files, flags=()):
    """The JSON of the files, and of a single one its own part; the exit status must fit the verdict."""
    done = run("--json", *flags, *files)
    result = json.loads(done.stdout)
    assert done.returncode == (0 if result["verdict"] == "clean" else 1)
    return result["files"][0] if len(files) == 1 else result


def scan_object(folder, value, protocol):
    path = folder / f"object{protocol}.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return scan(path)


def trust_of(folder, names):
    """How the program judges globals, by name: "safe", "unknown" or "dangerous"."""
    path = folder / "names.pkl"
    path.write_bytes(b"".join(f"c{module}\n{name}\n0".encode() for module, name in names) + b"N.")
    result = scan(path)
    trust = {(finding["module"], finding["name"]): finding["trust"] for finding in result["findings"]}
    return {name: trust.get(name, "safe") for name in names}


def dotted(path):
    return tuple(path.rsplit(".", 1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_found_in_every_protocol(tmp_path, protocol):
    result = scan_object(tmp_path, {"weights": [1.0], "x": Call(os.system, "id")}, protocol)
    (finding,) = result["findings"]
    assert (finding["module"], finding["name"], finding["use"]) == ("posix", "system", "called")
    assert finding["arguments"] == "'id'"
    assert result["verdict"] == "dangerous"
    data = (tmp_path / f"object{protocol}.pkl").read_bytes()
    assert data[finding["file_offset"]] in (ord("c"), 0x93)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_command_in_a_checkpoint_is_found(tmp_path, protocol, legacy):
    state = {"w": torch.zeros(3), "x": Call(os.system, "id")}
    path = tmp_path / "model.pt"
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    result = scan(path)
    assert result["format"] == ("PyTorch legacy" if legacy else "PyTorch zip")
    (finding,) = result["findings"]
    assert finding["trust"] == "dangerous"
    assert path.read_bytes()[finding["file_offset"]] in (ord("c"), 0x93)


HARMLESS = {
    "builtins": [1, -(2**70), 1.5, 1j, True, None, ..., "é", b"\x00\xff", bytearray(b"x"), (1,), {2}, frozenset({3})],
    "slices": [slice(1, 2), range(3), object(), ValueError("x"), KeyError("y"), type(None), type(...)],
    "collections": [
        collections.OrderedDict(a=1),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abca"),
        collections.deque([1], 3),
        collections.ChainMap({}),
        types.SimpleNamespace(a=1),
        argparse.Namespace(lr=0.1),
    ],
    "values": [
        datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.timedelta(1),
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        pathlib.Path("a/b"),
        pathlib.PureWindowsPath("c:/"),
        re.compile("a+"),
        array.array("f", [1.0]),
        functools.partial(int, base=2),
        logging.getLogger("x"),
        typing.Any,
        typing.List[int],
    ],
    "numpy": [
        np.zeros((2, 3), np.float32),
        np.float64(1.5),
        np.array([{"a": 1}, None], object),
        np.array(["a"]),
        np.ma.array([1, 2], mask=[0, 1]),
        np.dtype([("a", "<f4")]),
        np.datetime64("2020-01-01"),
        np.random.RandomState(1),
        np.random.default_rng(1),
    ],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", HARMLESS)
def test_plain_values_are_clean(tmp_path, kind, protocol):
    for value in HARMLESS[kind]:
        result = scan_object(tmp_path, [value], protocol)
        assert result["verdict"] == "clean", (value, result)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_programs_own_classes_are_unknown_until_they_are_trusted(tmp_path, protocol):
    values = [Outer(), Outer.Inner(), Outer().method, Colour.RED]
    if protocol < 2:
        values.remove(values[2])  # Python itself cannot write it
    result = scan_object(tmp_path, values, protocol)
    assert result["verdict"] == "unknown", result
    assert {finding["module"] for finding in result["findings"]} == {__name__}
    assert scan(tmp_path / f"object{protocol}.pkl", flags=["--trust", __name__])["verdict"] == "clean"


def modules_of_every_kind():
    layer = nn.TransformerEncoderLayer(8, 2, 8)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GRU(4, 4), nn.TransformerEncoder(layer, 1), nn.Softmax(-1)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_of_pytorch_are_clean(tmp_path, protocol, legacy):
    model = modules_of_every_kind()
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint = {
        "model": model.state_dict(),
        "whole": model,
        "optimizer": optimizer.state_dict(),
        "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 1).state_dict(),
        "random": torch.get_rng_state(),
        "dtype": torch.bfloat16,
        "size": torch.Size([1]),
        "device": torch.device("cpu"),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": nn.Parameter(torch.ones(1)),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "version": torch.__version__,
        "numpy": np.float32(0.5),
    }
    path = tmp_path / "model.pt"
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    result = scan(path)
    assert result["verdict"] == "clean", result["reason"]
    assert "torch._utils._rebuild_parameter" in result["harmless"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tensor_in_a_plain_pickle_is_a_checkpoint_inside(tmp_path, protocol):
    assert scan_object(tmp_path, [torch.ones(3)], protocol)["verdict"] == "clean"
    inner = io.BytesIO()
    torch.save(Call(os.system, "id"), inner)
    outer = Call(torch.storage._load_from_bytes, inner.getvalue())
    result = scan_object(tmp_path, outer, protocol)
    assert result["verdict"] == "dangerous"
    assert result["findings"][0]["member"].endswith(": archive/data.pkl")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
def test_arrays_of_objects_are_scanned(tmp_path, save):
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, np.array([1.0, "a", None], object))
    assert scan(path)["verdict"] == "clean"
    save(path, np.array([Call(os.system, "id")], object))
    assert scan(path)["verdict"] == "dangerous"
    save(path, np.ones(3))
    assert scan(path)["verdict"] == "clean"


def test_torchscript_is_not_clean(tmp_path):
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    result = scan(path)
    assert (result["format"], result["verdict"]) == ("TorchScript", "unknown")
    assert all(finding["trust"] == "unknown" for finding in result["findings"])


def test_fixtures_give_no_false_alarm():
    files = [FIXTURES / record["file"] for record in MANIFEST]
    results = scan(*files)["files"]
    for record, result in zip(MANIFEST, results, strict=True):
        dangerous = any("posix.system" in word or "eval" in word for word in record.get("mentions", []))
        assert (result["verdict"] == "dangerous") == dangerous, result
        if record["accept"]:
            assert result["verdict"] in ("clean", "unknown"), result


def test_whatever_weights_only_allows_is_safe(tmp_path):
    names = [dotted(name) for name in _get_allowed_globals()]
    wrong = {name: trust for name, trust in trust_of(tmp_path, names).items() if trust != "safe"}
    assert not wrong


def test_every_layer_of_pytorch_is_safe(tmp_path):
    names = {
        (kind.__module__, kind.__qualname__)
        for kind in vars(nn).values()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__.startswith("torch.nn.modules.")
    }
    assert len(names) > 100
    assert set(trust_of(tmp_path, names).values()) == {"safe"}


def test_nothing_of_the_standard_library_is_unknown(tmp_path):
    names = [(module, "anything") for module in sys.stdlib_module_names]
    names += [(module, "Anything") for module in sys.stdlib_module_names]
    names += [(f"{module}.sub", "Anything") for module in sys.stdlib_module_names]
    assert {name for name, trust in trust_of(tmp_path, names).items() if trust != "dangerous"} == set()


def test_functions_of_pytorch_and_numpy_are_safe_only_by_name(tmp_path):
    """Every public function that isn't listed is dangerous, and so is every module that is reached by attribute."""
    for module in (torch, nn.functional, np, torch.utils, torch.serialization):
        functions = [(module.__name__, name) for name, value in vars(module).items() if callable(value)]
        functions = [name for name in functions if not inspect.isclass(getattr(module, name[1]))]
        safe = [name for name, trust in trust_of(tmp_path, functions).items() if trust == "safe"]
        assert len(safe) < len(functions) / 2
        modules = [(module.__name__, name) for name, value in vars(module).items() if inspect.ismodule(value)]
        assert "safe" not in trust_of(tmp_path, modules).values()


def test_names_of_python_2_don_t_turn_into_others(tmp_path):
    """Up to protocol 2 Python renames what it reads. What is safe must still be so under its new name."""
    pairs = dict(_compat_pickle.NAME_MAPPING)
    names = trust_of(tmp_path, list(pairs) + list(pairs.values()))
    for old, new in pairs.items():
        assert names[old] != "safe" or names[new] == "safe", (old, new)
        assert names[old] != "unknown", old
    modules = [(old, name) for old in _compat_pickle.IMPORT_MAPPING for name in ("system", "OrderedDict", "open")]
    for (module, name), trust in trust_of(tmp_path, modules).items():
        renamed = (_compat_pickle.IMPORT_MAPPING[module], name)
        assert trust == "dangerous" or trust_of(tmp_path, [renamed])[renamed] == "safe", (module, name)


def test_every_safe_name_is_what_it_says(tmp_path):
    """What is safe in an installed module must be there as a class, a rebuilder or a constant, never a module."""
    for module in ("builtins", "collections", "torch", "torch._utils", "numpy", "copyreg", "types", "functools"):
        names = [(module, name) for name in dir(sys.modules[module])]
        for (_, name), trust in trust_of(tmp_path, names).items():
            if trust == "safe":
                assert not inspect.ismodule(getattr(sys.modules[module], name)), name
    assert pkgutil.resolve_name("os.system") is os.system, "the way around scanners that this test is about"
