"""Hundreds of hostile and broken files: nothing runs, nothing crashes, nothing is left, and the error says why.

tests/hostile makes the files; each goes to `export_models` and to `taper scan` in a process of its own, within limits.
"""

import functools
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import onnx
import pytest
from attacks.record import CANARY
from make_hostile import BUILDERS, write
from program import EXPORT_MODELS, RESULTS, STEMS, TAPER, export, file_name, plain_environment
from references import fixture
from run_bounded import BYTES

RUN_BOUNDED = pathlib.Path(sys.modules[BUILDERS["zips"].__name__].__file__).parents[1] / "run_bounded.py"
LONGEST_ERROR = 4000
_, SOUND = fixture("variants/gru.pt")

# In these, the weights beside the attack are sound and whole: nothing but the attack is a reason to refuse the file.
OTHERWISE_SOUND = ("opcodes", "gadgets", "disguises")

COMPUTED = "(computed)"  # stands for a name that the pickle makes while it runs


class Attacks:
    """All hostile files, made once, and what became of the programs that got them."""

    def __init__(self, folder):
        self.folder = folder
        self.records = write(folder / "files")

    def of(self, group):
        """What is known of the files of a class."""
        return [record for record in self.records if record["group"] == group]

    def path(self, record):
        """The hostile file."""
        return self.folder / "files" / record["name"]

    def export_folder(self, record):
        """Where `export_models` ran."""
        return self.folder / "exports" / record["name"]

    def arguments(self, record):
        """What gives a file to `export_models`."""
        path = str(self.path(record))
        return {
            "checkpoint": ["--gru", path, "--no-verify"],
            "config": ["--gru", str(SOUND), "--config", path, "--no-verify"],
            "verify-input": ["--gru", str(SOUND), "--verify-input", path, "--to", "tflite", "--quantize", "fp32"],
        }[record["program"]]

    @functools.cached_property
    def exported(self):
        """How each export ended, by the name of the file."""
        return self.run_all(
            {
                "name": record["name"],
                "command": [str(EXPORT_MODELS), *self.arguments(record)],
                "folder": str(self.export_folder(record)),
            }
            for record in self.records
        )

    @functools.cached_property
    def scanned(self):
        """How each scan of a checkpoint ended."""
        return self.run_all(
            {
                "name": record["name"],
                "command": [str(TAPER), "scan", "--json", str(self.path(record))],
                "folder": str(self.folder / "scans" / record["name"]),
            }
            for record in self.records
            if record["program"] == "checkpoint"
        )

    def run_all(self, jobs):
        """Runs commands within limits."""
        done = subprocess.run(
            [sys.executable, str(RUN_BOUNDED)],
            input=json.dumps(list(jobs)),
            capture_output=True,
            text=True,
            check=True,
            env=plain_environment(),
        )
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def attacks(tmp_path_factory):
    """The shared attacks."""
    return Attacks(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(params=list(BUILDERS))
def group(request):
    """Runs a test for every class of attack."""
    return request.param


def complaints(records, find):
    """What `find(record)` has to say of each file, with its name; nothing is what it should be."""
    return [f"{record['name']}: {complaint}" for record in records if (complaint := find(record))]


def out_of_bounds(outcome):
    """What is wrong with how a process ended."""
    if outcome["late"]:
        return "did not end in time"
    if outcome["status"] not in (0, 1):
        return f"ended with status {outcome['status']}: {outcome['stderr'][-500:]}"
    if outcome["peak_bytes"] > BYTES:
        return f"took {outcome['peak_bytes'] / 1e6:.0f} MB"
    return None


def unclear(error, name):
    """What is wrong with the text of an error about the file `name`."""
    if name not in error:
        return f"does not name the file: {error[:500]}"
    if not error.replace("\n", "").isprintable():
        return f"holds characters that don't print: {error[:500]!r}"
    if len(error) > LONGEST_ERROR:
        return f"is {len(error)} characters long: {error[:200]}"
    if "unexpected" in error and "expected" not in error.replace("unexpected", ""):
        return f"is an exception of the program's own: {error[:500]}"
    return None


def test_there_are_hundreds(attacks):
    assert len(attacks.records) >= 200
    assert sum(bool(record["runs"]) for record in attacks.records) >= 100


def test_export_stays_within_bounds(attacks, group):
    """10 s, 1 GB, and a status instead of a signal."""
    assert not complaints(attacks.of(group), lambda record: out_of_bounds(attacks.exported[record["name"]]))


def test_export_runs_nothing(attacks, group):
    assert attacks.exported
    assert not complaints(attacks.of(group), lambda record: "ran" * (attacks.export_folder(record) / CANARY).exists())
    assert not (pathlib.Path.cwd() / CANARY).exists()


def test_export_refuses_with_a_clear_error(attacks, group):
    def find(record):
        outcome = attacks.exported[record["name"]]
        if outcome["status"] == 0:
            return None if record["may_convert"] else "was converted"
        told = unclear(outcome["stderr"], record["name"])
        if told is None and record["mentions"] and not any(word in outcome["stderr"] for word in record["mentions"]):
            return f"mentions none of {record['mentions']}: {outcome['stderr']}"
        return told

    assert not complaints(attacks.of(group), find)


def test_export_leaves_nothing_behind(attacks, group):
    """Of a checkpoint that is refused; with a sound checkpoint and a bad input, the exported file may stay."""
    kept = {file_name(STEMS["gru"], "fp32")}

    def find(record):
        folder = attacks.export_folder(record) / "exports"
        if attacks.exported[record["name"]]["status"] == 0 or not folder.exists():
            return None
        allowed = {RESULTS} | (kept if record["program"] == "verify-input" else set())
        left = {path.name for path in folder.iterdir()} - allowed
        return f"left {sorted(left)}" if left else None

    assert attacks.exported
    assert not complaints(attacks.of(group), find)


def test_what_is_converted_is_sound(attacks, group):
    """A turned bit among the weights can't be seen, but the file that comes of it is whole."""

    def find(record):
        if attacks.exported[record["name"]]["status"] != 0 or record["program"] != "checkpoint":
            return None
        folder = attacks.export_folder(record) / "exports"
        onnx.checker.check_model(onnx.load(folder / file_name(STEMS["gru"], "onnx")), full_check=True)
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        return None if "error" not in results["gru"] else "has an error in its results"

    assert not complaints(attacks.of(group), find)


@pytest.mark.parametrize("sound_group", OTHERWISE_SOUND)
def test_export_names_what_would_run(attacks, sound_group):
    """The weights beside it are sound: what is wrong with the file is what it would call, and where."""

    def find(record):
        error = attacks.exported[record["name"]]["stderr"]
        names = (*record["runs"], COMPUTED)
        if not record["runs"] or (any(name in error for name in names) and "byte" in error):
            return None
        return f"{' or '.join(record['runs'])} is not named: {error[:300]}"

    assert not complaints(attacks.of(sound_group), find)


def test_scan_stays_within_bounds(attacks, group):
    records = [record for record in attacks.of(group) if record["program"] == "checkpoint"]
    assert not complaints(records, lambda record: out_of_bounds(attacks.scanned[record["name"]]))
    assert not complaints(records, lambda record: "ran" * (attacks.folder / "scans" / record["name"] / CANARY).exists())


def scan_of(outcome):
    """What a scan says of its one file: the verdict, and what it found, as `module.name`."""
    (file,) = json.loads(outcome["stdout"])["files"]
    return file["verdict"], [f"{found['module']}.{found['name']}" for found in file.get("findings", [])]


def test_scan_finds_everything_that_would_run(attacks, group):
    def find(record):
        if record["program"] != "checkpoint" or not record["runs"]:
            return None
        outcome = attacks.scanned[record["name"]]
        verdict, found = scan_of(outcome)
        if outcome["status"] != 1 or verdict == "clean":
            return f"is {verdict}, status {outcome['status']}"
        named = any(name in " ".join(found) for name in (*record["runs"], COMPUTED))
        return (
            None
            if named or verdict == "unreadable"
            else f"{verdict}, but none of {record['runs']} among {found}: {outcome['stdout'][:300]}"
        )

    assert not complaints(attacks.of(group), find)


# ---- what is no plain file


def make_link(path):
    path.symlink_to(SOUND)


def make_dangling_link(path):
    path.symlink_to(path.parent / "nowhere")


def make_ring_of_links(path):
    path.symlink_to(path)


def make_link_to_device(path):
    path.symlink_to("/dev/zero")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


SPECIAL = {
    "folder": pathlib.Path.mkdir,
    "pipe": os.mkfifo,
    "socket": make_socket,
    "link": make_link,
    "dangling": make_dangling_link,
    "ring": make_ring_of_links,
    "link_to_device": make_link_to_device,
}


@pytest.mark.parametrize("flag", ["--gru", "--verify-input", "--config"])
@pytest.mark.parametrize("kind", [*SPECIAL, "/dev/zero", "/dev/urandom", "/dev/null", "/dev/tty", "/proc/self/mem"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, monkeypatch, kind, flag):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    name = kind if kind.startswith("/") else f"{kind}.pt"
    if kind in SPECIAL:
        SPECIAL[kind](pathlib.Path(name))
    arguments = ["--gru", name, "--no-verify"] if flag == "--gru" else ["--gru", SOUND, flag, name]
    if flag == "--verify-input":
        arguments += ["--to", "tflite", "--quantize", "fp32"]
    started = time.monotonic()
    run = export(tmp_path, *arguments).expect(1)
    assert time.monotonic() - started < 1
    assert unclear(run.stderr, name) is None, unclear(run.stderr, name)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/tmp/x", "..", ".", ".hidden", "a\\b", "-x", "x\x1b[2J", "a\nb", "x" * 300, "\udcff"]
)
def test_a_model_name_can_not_lead_elsewhere(tmp_path, name):
    folder = tmp_path / "inner"
    run = export(folder, "--model", f"{name}={SOUND}", "--no-verify")
    assert run.status in (1, 2)
    assert run.said.replace("\n", "").isprintable()
    assert run.files in ([], [RESULTS])
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
