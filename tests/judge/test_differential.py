"""taper's readers against others: its unpickler, zip reader and safetensors reader on random and damaged files.

What is random follows from a seed: TAPER_SEED (1), and TAPER_RANDOM_ROUNDS (1) runs so many seeds from there on. A
failure names its seed and number, and holds the bytes.
"""

import collections
import io
import json
import os
import pathlib
import pickletools
import random
import subprocess
import zipfile
import zlib

import pytest

import inert_pickle
import numpy as np
import onnxruntime
import random_archives
import random_pickles
import safetensors
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
    done = subprocess.run(
        [TAPER_READ, kind, *map(str, range(len(files)))], cwd=folder, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = done.stdout.splitlines()
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


# ---------------------------------------------------------------------------------------------------------------- zips


def entries_of(data):
    """What Python finds in an archive: rows as taper_read prints them, without those whose content is damaged."""
    rows = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            # Without the flag of UTF-8 Python takes a name for code page 437, and taper for UTF-8 all the same.
            name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437").decode()
            assert name not in rows, f"{name} stands twice"
            row = {"name": name, "size": info.file_size, "crc": info.CRC, "deflated": info.compress_type == 8}
            try:
                content = archive.read(info)
                rows[name] = row | {"content": zlib.crc32(content), "content_size": len(content)}
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                rows[name] = row | {"error": str(error)}
    return rows


def check_zips(files, seed, what, folder, all_are_whole):
    """Compares; returns how many of the files taper took."""
    taken = 0
    for number, (data, found) in enumerate(zip(files, seen("zip", files, folder), strict=True)):
        where = f"seed {seed}, {what} {number}: {data[:3000]!r}"
        if "error" in found:
            assert not all_are_whole, f"refused: {found['error']}\n{where}"
            continue
        try:
            expected = entries_of(data)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeError) as error:
            pytest.fail(f"taken, but Python says {error!r}\n{where}")
        assert sorted(expected) == sorted(entry["name"] for entry in found["entries"]), where
        for entry in found["entries"]:
            if "error" in entry:
                assert not all_are_whole, f"{entry}\n{where}"
                continue
            assert entry == expected[entry["name"]], where
        taken += 1
    return taken


def test_reads_the_zips_that_python_writes(seed, tmp_path):
    files = [random_archives.zip_file(rng_of(seed, "zip", number)) for number in range(300)]
    assert check_zips(files, seed, "zip", tmp_path, True) == 300


def test_sees_in_damaged_zips_what_python_does_or_refuses_them(seed, tmp_path):
    files = [random_archives.damaged_zip(rng_of(seed, "damaged zip", number)) for number in range(2000)]
    assert 100 <= check_zips(files, seed, "damaged zip", tmp_path, False) <= 1900


# --------------------------------------------------------------------------------------------------------- safetensors


# fmt: off
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
}
# fmt: on


def official(data, folder):
    """What the official reader finds, as taper_read prints it."""
    tensors, unsupported = {}, []
    for name, tensor in safetensors.deserialize(data):
        if tensor["dtype"] in DTYPES:
            dtype = DTYPES[tensor["dtype"]]
            tensors[name] = {"dtype": dtype, "shape": tensor["shape"], "content": zlib.crc32(tensor["data"])}
        else:
            unsupported.append(name)
    path = folder / "official.safetensors"
    path.write_bytes(data)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    return {"tensors": tensors, "metadata": metadata or {}, "unsupported": sorted(unsupported)}


def check_safetensors(files, seed, what, folder):
    """Compares; returns what taper took, by number, and the reasons of what it alone refuses."""
    taken, stricter = 0, collections.Counter()
    for number, (data, found) in enumerate(zip(files, seen("safetensors", files, folder), strict=True)):
        where = f"seed {seed}, {what} {number}: {data[:3000]!r}"
        try:
            expected = official(data, folder)
        except safetensors.SafetensorError as error:
            # A tensor of a type that taper does not read is one tensor less, whatever its type and shape are.
            known = found.get("unsupported") and any(word in str(error) for word in OF_UNSUPPORTED)
            assert "error" in found or known, f"taken, but the official reader says {error}\n{where}"
            continue
        if "error" in found:
            stricter[next((rule for rule in STRICTER if rule in found["error"]), found["error"] + "\n" + where)] += 1
            continue
        assert found | {"unsupported": sorted(found["unsupported"])} == expected, where
        taken += 1
    return taken, stricter


# What taper refuses and the official reader takes: names given twice, of which it would have to drop one, fields that
# nobody defined, metadata of null, space before the header, and sizes past 2^63 of tensors without elements.
STRICTER = {"twice", "unknown field", "holds null", "does not start with '{'", "has a size of 9223372036854775808"}
# What the official reader says of tensors that taper passes over.
OF_UNSUPPORTED = ("unknown variant", "invalid shape, data type, or offset", "overflow computing buffer size")


def test_reads_the_safetensors_that_the_official_writer_writes(seed, tmp_path):
    files = [random_archives.safetensors_file(rng_of(seed, "safetensors", number)) for number in range(500)]
    taken, stricter = check_safetensors(files, seed, "safetensors", tmp_path)
    assert taken == 500 and not stricter, stricter


def test_sees_in_damaged_safetensors_what_the_official_reader_does(seed, tmp_path):
    files = [random_archives.damaged_safetensors(rng_of(seed, "damaged", number)) for number in range(3000)]
    taken, stricter = check_safetensors(files, seed, "damaged safetensors", tmp_path)
    assert 500 <= taken <= 2500
    assert set(stricter) <= STRICTER, next(iter(set(stricter) - STRICTER))


# ---------------------------------------------------------------------------------------------------------------- ONNX


def array_of(described):
    """An array as taper_read prints it."""
    return np.array(described["values"], np.dtype(described["dtype"])).reshape(described["shape"])


def check_outputs(model, outputs, expected, where):
    """Compares what ONNX Runtime gives with the formulas."""
    for name, found in zip(outputs, model, strict=True):
        described = expected[name]
        assert list(found.shape) == described["shape"], where
        assert found.dtype == np.dtype(described["dtype"]), where
        if "values" not in described:  # it jumps where its operand changes a little
            continue
        reference = np.array(described["values"]).reshape(described["shape"])
        # Where results cancel, errors follow the operands, which are of the order of 1.
        largest = max(1.0, float(np.abs(reference).max(initial=0)))
        error = float(np.abs(found.astype(np.float64) - reference).max(initial=0))
        assert error <= described["tolerance"] * largest, f"{name}: {error} of {largest}\n{where}"


def test_onnx_runtime_agrees_on_random_calls_and_graphs(seed, tmp_path):
    count = 500
    first = (seed - 1) * count + 1
    done = subprocess.run(
        [TAPER_READ, "random-onnx", tmp_path, str(first), str(count)], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    lines = done.stdout.splitlines()
    for line in map(json.loads, lines):
        where = f"seed {line['seed']}: {line['text']}"
        try:
            session = onnxruntime.InferenceSession(line["file"], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (it has many kinds)
            pytest.fail(f"{error}\n{where}")
        outputs = [output.name for output in session.get_outputs()]
        for run in line["runs"]:
            expected = {name: each | {"tolerance": line["tolerance"]} for name, each in run["outputs"].items()}
            try:
                found = session.run(outputs, {name: array_of(each) for name, each in run["inputs"].items()})
            except Exception as error:  # noqa: BLE001
                pytest.fail(f"{error}\n{where}")
            check_outputs(found, outputs, expected, where)
    assert len(lines) > count / 2
