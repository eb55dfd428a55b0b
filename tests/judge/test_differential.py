"""taper's readers against others: its unpickler, zip reader and safetensors reader on random and damaged files.

What is random follows from a seed: TAPER_SEED (1), and TAPER_RANDOM_ROUNDS (1) runs so many seeds from there on. A
failure names its seed and number, and holds the bytes.
"""

import itertools
import json
import os
import pathlib
import pickle
import pickletools
import random
import subprocess
import time

import pytest

import inert_pickle
import random_pickles
from program import ROOT

TAPER_READ = pathlib.Path(os.environ.get("TAPER_READ", ROOT / "build/release/bin/taper_read")).resolve()
SEED = int(os.environ.get("TAPER_SEED", "1"))
# Python frowns at the escapes of strings that random opcodes hold.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SEEDS = range(SEED, SEED + int(os.environ.get("TAPER_RANDOM_ROUNDS", "1")))


@pytest.fixture(autouse=True)
def _tool():
    if os.access(TAPER_READ, os.X_OK):
        return
    assert "TAPER_REQUIRE_JUDGES" not in os.environ, f"{TAPER_READ} is missing"
    pytest.skip(f"{TAPER_READ} is missing: build the target taper_read")


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed_{seed}")
def seed(request):
    """Runs a test for every seed."""
    return request.param


def seen(kind, files, folder):
    """What taper sees in each of `files`, which are bytes."""
    for number, data in enumerate(files):
        (folder / str(number)).write_bytes(data)
    lines = []
    for batch in itertools.batched(range(len(files)), 2000) if hasattr(itertools, "batched") else [range(len(files))]:
        done = subprocess.run(
            [TAPER_READ, kind, *map(str, batch)], cwd=folder, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        lines += done.stdout.splitlines()
    assert len(lines) == len(files)
    return [json.loads(line) for line in lines]


def rng_of(seed, what, number):
    """The source of everything random in one file."""
    return random.Random(f"{seed} {what} {number}")


# ------------------------------------------------------------------------------------------------------------- pickles


def expected_of_pickle(data):
    """What taper should see, and why it should refuse the pickle if it should."""
    try:
        value, size = inert_pickle.read(data)
    except inert_pickle.Stricter as error:
        return None, error
    except Exception as error:  # noqa: BLE001  (whatever Python raises, it does not take the pickle)
        return None, error
    return {"size": size, "value": inert_pickle.flatten(value)}, None


def stop_position(data):
    """Where pickletools finds STOP; None if an argument is beyond what pickletools decodes, which Python's unpickler
    does not mind: it takes STRING, GLOBAL, INST and PERSID for ASCII with escapes."""
    try:
        *_, (opcode, _, position) = pickletools.genops(data)
    except UnicodeDecodeError:
        return None
    except ValueError as error:
        if str(error).startswith(("Trailing \\", "invalid \\x")):
            return None
        raise
    assert opcode.name == "STOP"
    return position


def check_pickles(files, seed, what, folder):
    """Compares; returns how many of the files taper took."""
    taken = 0
    for number, (data, found) in enumerate(zip(files, seen("pickle", files, folder), strict=True)):
        where = f"seed {seed}, {what} {number}: {data[:3000]!r}"
        expected, error = expected_of_pickle(data)
        if expected is None:
            assert "error" in found, f"taken, but Python says {error!r}\n{where}"
            continue
        assert "error" not in found, f"refused: {found['error']}\n{where}"
        assert inert_pickle.with_numbers_read(found) == expected, where
        position = stop_position(data)
        assert position is None or position + 1 == found["size"], where
        taken += 1
    return taken


@pytest.mark.parametrize("what", ["of_value", "of_opcodes", "damaged"])
def test_unpickles_what_python_does(what, seed, tmp_path):
    make = getattr(random_pickles, what)
    files = [make(rng_of(seed, what, number)) for number in range(1500)]
    taken = check_pickles(files, seed, what, tmp_path)
    # A generator that made only one kind would judge nothing.
    least, most = {"of_value": (1500, 1500), "of_opcodes": (300, 1200), "damaged": (100, 1400)}[what]
    assert least <= taken <= most


def test_unpickles_the_values_that_were_pickled(seed, tmp_path):
    values, files = [], []
    for number in range(500):
        rng = rng_of(seed, "value", number)
        values.append(random_pickles.value(rng, classes=False))
        files.append(random_pickles.dump(rng, values[-1], 5))
    for number, (value, found) in enumerate(zip(values, seen("pickle", files, tmp_path), strict=True)):
        where = f"seed {seed}, value {number}: {files[number][:3000]!r}"
        assert "error" not in found, f"{found}\n{where}"
        assert inert_pickle.with_numbers_read(found["value"]) == inert_pickle.flatten(
            inert_pickle.from_python(value)
        ), where
