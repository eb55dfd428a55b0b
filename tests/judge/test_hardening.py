"""How the programs that users run are built, read from the programs themselves."""

import re
import shutil
import subprocess

import pytest

from program import EXPORT_MODELS, plain_environment
from references import fixture

PROGRAMS = [EXPORT_MODELS, EXPORT_MODELS.parent / "taper"]


def readelf(program, *flags):
    """What readelf says of a program."""
    done = subprocess.run(["readelf", "-W", *flags, program], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(params=PROGRAMS, ids=lambda path: path.name)
def program(request):
    """Each program in turn."""
    return request.param


def test_is_position_independent(program):
    assert re.search(r"Type: +DYN", readelf(program, "-h"))
    assert re.search(r"FLAGS_1.*\bPIE\b", readelf(program, "-d"))


def test_its_relocations_are_read_only_before_it_starts(program):
    assert "GNU_RELRO" in readelf(program, "-l")
    assert re.search(r"FLAGS_1.*\bNOW\b", readelf(program, "-d"))


def test_its_stack_is_not_executable(program):
    (flags,) = re.findall(r"GNU_STACK +\S+ \S+ \S+ \S+ \S+ (\S+)", readelf(program, "-l"))
    assert flags == "RW"


def test_no_segment_is_writable_and_executable(program):
    segments = re.findall(r"LOAD +0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ (.{3})", readelf(program, "-l"))
    assert segments
    assert not [flags for flags in segments if "W" in flags and "E" in flags]


def test_its_stack_frames_and_library_calls_are_checked(program):
    symbols = readelf(program, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__(mem|str|read|write|snprintf|vsnprintf)\w*_chk", symbols)


def test_its_own_functions_are_marked_as_targets_of_calls(program):
    done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True)
    if "x86-64" not in done.stdout[:200]:
        pytest.skip("control-flow protection is a feature of x86")
    # main is called through a pointer by the C library.
    assert re.search(r"<main>:\n +\w+:\tendbr64", done.stdout) or done.stdout.count("endbr64") > 100


def test_the_main_job_is_clean_under_valgrind(tmp_path):
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not installed")
    command = [valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full"]
    command += ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]
    checkpoints = (fixture("modules/transformer.pt")[1], fixture("variants/gru.pt")[1])
    command += [EXPORT_MODELS, "--transformer", checkpoints[0], "--gru", checkpoints[1]]
    # The reference evaluation judges: valgrind 3.19 doesn't know the instructions that LiteRT's kernels use.
    environment = plain_environment() | {"TAPER_LITERT": "/nonexistent", "OPENBLAS_CORETYPE": "Haswell"}
    done = subprocess.run(
        [*map(str, command), "--sequence-length", "5", "--no-sandbox"],  # valgrind 3.19 knows no seccomp
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^==\d+==", done.stderr, flags=re.M), done.stderr
