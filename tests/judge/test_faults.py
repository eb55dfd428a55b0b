"""Whole or absent: whatever stops the program or the disk, files under their final names are complete."""

import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import time

import pytest

from program import EXPORT_MODELS, RESULTS, export, file_name, plain_environment
from references import default_case, fixture

KILLS = 200
STOPS = 25
SEED = 20261124
MODELS = {"transformer": ("Transformer.pt", "modules/transformer.pt"), "gru": ("GRU.pt", "variants/gru.pt")}
STAGING = ".taper-partial-"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two folders, each with a Transformer.pt and a GRU.pt, of default and of small size."""
    folder = tmp_path_factory.mktemp("checkpoints")
    large, small = folder / "large", folder / "small"
    small.mkdir()
    large.mkdir()
    for key, (name, source) in MODELS.items():
        shutil.copy(fixture(source)[1], small / name)
        family = {"transformer": "SignTransformer", "gru": "MediaPipeGRU"}[key]
        shutil.copy(default_case(family, folder).checkpoint, large / name)
    return large, small


def arguments_for(checkpoints, output_dir):
    models = ("--transformer", checkpoints / "Transformer.pt", "--gru", checkpoints / "GRU.pt")
    return (*models, "--no-verify", "--output-dir", output_dir)


@pytest.fixture(scope="module")
def complete(checkpoints, tmp_path_factory):
    """What an undisturbed run leaves of each of `checkpoints`: bytes by path."""
    folder = tmp_path_factory.mktemp("complete")
    runs = [export(folder / source.name, *arguments_for(source, "exports")).expect(0) for source in checkpoints]
    return [run.content for run in runs]


@pytest.fixture(autouse=True, scope="module")
def heeded_signals():
    """Signals that the tests' own parent ignores (as nohup does) would be ignored by the program too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def start(folder, *arguments):
    """The program, running."""
    return subprocess.Popen(
        [EXPORT_MODELS, *map(str, arguments)],
        cwd=folder,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def duration(folder, *arguments):
    """Seconds that a run takes."""
    begin = time.perf_counter()
    with start(folder, *arguments) as process:
        process.communicate()
    return time.perf_counter() - begin


def found_in(folder):
    """The bytes of all files in a folder but those in staging folders and the results, by path."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith(STAGING) and name != RESULTS:
            found[name] = path.read_bytes()
    return found


def top_of(name):
    """The file or folder that is named in one step."""
    return name.split("/")[0]


def check_whole(found, *complete):
    """Every file or SavedModel is that of one of the complete runs, byte for byte."""
    for top in {top_of(name) for name in found}:
        own = {name: data for name, data in found.items() if top_of(name) == top}
        wholes = [{name: data for name, data in run.items() if top_of(name) == top} for run in complete]
        assert own in wholes, f"{top} is neither the old nor the new one"


def left_behind(folder):
    """Names in a folder that no result has."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_run_that_is_killed_leaves_whole_files(checkpoints, complete, tmp_path):
    chance = random.Random(SEED)
    output = tmp_path / "exports"
    usual = max(duration(tmp_path, *arguments_for(source, output)) for source in checkpoints)
    interrupted = 0
    for kill in range(KILLS):
        process = start(tmp_path, *arguments_for(checkpoints[kill % 2], output))
        time.sleep(chance.uniform(0, usual))
        process.kill()
        process.communicate()
        interrupted += process.returncode == -signal.SIGKILL
        found = found_in(output)
        check_whole(found, *complete)
        assert {top_of(name) for name in found} == {top_of(name) for name in complete[0]}, "old results are kept"
    assert interrupted > KILLS / 4, "the kills came too late to prove anything"
    export(tmp_path, *arguments_for(checkpoints[0], output)).expect(0)
    assert not left_behind(output), "the next run removes what killed ones left"
    assert found_in(output) == complete[0]


def test_a_run_that_is_killed_at_first_leaves_whole_files_or_none(checkpoints, complete, tmp_path):
    chance = random.Random(SEED)
    usual = duration(tmp_path, *arguments_for(checkpoints[0], tmp_path / "first"))
    for kill in range(20):
        output = tmp_path / f"exports{kill}"
        process = start(tmp_path, *arguments_for(checkpoints[0], output))
        time.sleep(chance.uniform(0, usual))
        process.kill()
        process.communicate()
        if output.exists():
            check_whole(found_in(output), complete[0])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_stopped_ends_at_once_and_leaves_nothing(checkpoints, complete, tmp_path, name):
    chance = random.Random(SEED)
    number = getattr(signal, name)
    output = tmp_path / "exports"
    usual = duration(tmp_path, *arguments_for(checkpoints[0], output))
    shutil.rmtree(output)
    seconds = []
    for _ in range(STOPS):
        process = start(tmp_path, *arguments_for(checkpoints[0], output))
        wait_until_it_listens(process)
        time.sleep(chance.uniform(0, usual))
        begin = time.perf_counter()
        process.send_signal(number)
        _, said = process.communicate()
        if process.returncode == 0:
            continue
        seconds.append(time.perf_counter() - begin)
        assert process.returncode == 128 + number
        assert b"nothing half-written was left behind" in said
        if output.exists():
            assert not left_behind(output)
            check_whole(found_in(output), complete[0])
    assert len(seconds) > STOPS / 4, "the signals came too late to prove anything"
    # Tests run side by side: one of them may have waited for a processor.
    assert statistics.median(seconds) < 0.2
    assert max(seconds) < 2


def wait_until_it_listens(process):
    """Until the program has blocked the signals that it waits for; before that it has written nothing."""
    while not int(status_of(process).get("SigBlk", "0"), 16) and process.poll() is None:
        time.sleep(0.001)


def status_of(process):
    """The fields of /proc/PID/status."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as lines:
            return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    except OSError:
        return {}


def test_a_signal_that_the_parent_ignores_stays_ignored(checkpoints, tmp_path):
    command = [EXPORT_MODELS, *map(str, arguments_for(checkpoints[0], tmp_path / "exports"))]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=plain_environment(),
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_until_it_listens(process)
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0


def test_runs_side_by_side_into_one_folder_leave_whole_files(checkpoints, complete, tmp_path):
    output = tmp_path / "exports"
    for _ in range(8):
        running = [start(tmp_path, *arguments_for(checkpoints[i % 2], output)) for i in range(4)]
        for process in running:
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
        found = found_in(output)
        check_whole(found, *complete)
        assert set(found) == set(complete[0])
        assert not left_behind(output)


@pytest.mark.parametrize("change", ["cut off", "emptied", "written to"])
def test_a_checkpoint_that_changes_while_it_is_read_is_noticed(checkpoints, complete, tmp_path, change):
    chance = random.Random(SEED)
    source = tmp_path / "T.pt"
    shutil.copy(checkpoints[0] / "Transformer.pt", source)
    arguments = ("--transformer", source, "--no-verify", "--output-dir", tmp_path / "exports")
    usual = duration(tmp_path, *arguments)
    noticed = 0
    for _ in range(30):
        shutil.copy(checkpoints[0] / "Transformer.pt", source)
        process = start(tmp_path, *arguments)
        time.sleep(chance.uniform(0.2, 1) * usual)
        size = source.stat().st_size
        if change == "written to":
            with open(source, "r+b") as file:
                file.seek(size // 2)
                file.write(bytes(64))
        else:
            os.truncate(source, 0 if change == "emptied" else size // 3)
        _, said = process.communicate()
        assert process.returncode in (0, 1), said.decode()
        noticed += b"the file changed while it was read" in said
        check_whole(found_in(tmp_path / "exports"), *complete)
    assert noticed, "no change came in time to prove anything"


# ---------------------------------------------------------------------------------------------------------- the disk


def on_a_disk(options, script):
    """Runs a shell script in the folder of a new file system, mounted with `options`; skips where nobody may mount."""
    wrapper = f"set -e; d=$(mktemp -d); mount -t tmpfs -o {options} tmpfs $d; cd $d; set +e; {script}"
    allowed = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    probe = subprocess.run([*allowed, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*allowed, "sh", "-c", wrapper], env=plain_environment(), capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("size", ["1m", "4m", "9m", "20m"])
def test_a_full_disk_leaves_no_part_of_a_model(checkpoints, size):
    command = f"{EXPORT_MODELS} --transformer {checkpoints[0] / 'Transformer.pt'} --no-verify --quiet --output-dir out"
    status, files, said = on_a_disk(f"size={size}", f"{command}; s=$?; ls -A out; exit $s")
    assert status == 1
    assert "No space left on device" in said
    assert set(files) <= {RESULTS}


def test_a_full_disk_keeps_the_old_files(checkpoints):
    command = f"{EXPORT_MODELS} --no-verify --quiet --output-dir out --model m="
    old, new = (source / "Transformer.pt" for source in checkpoints[::-1])
    script = f"{command}{old}; find out -type f ! -name {RESULTS} -exec sha256sum {{}} + | sort > a;"
    script += f"{command}{new}; s=$?; find out -type f ! -name {RESULTS} -exec sha256sum {{}} + | sort > b;"
    status, _, said = on_a_disk("size=8m", script + "cmp a b || exit 9; test -s a || exit 8; exit $s")
    assert status == 1, said
    assert "No space left on device" in said


def test_a_read_only_disk_is_said_before_anything_is_read(checkpoints):
    command = f"{EXPORT_MODELS} --transformer {checkpoints[0] / 'Transformer.pt'} --output-dir ."
    status, files, said = on_a_disk("ro", f"{command}; s=$?; ls -A; exit $s")
    assert status == 1
    assert "cannot write to the folder '.': Read-only file system" in said
    assert not files


# ------------------------------------------------------------------------------------------------- the same every time


def test_the_same_files_come_out_whatever_the_surroundings(checkpoints, complete, tmp_path):
    surroundings = [
        ((), {}),
        (("--jobs", "2"), {}),
        (("--jobs", "8"), {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "OMP_NUM_THREADS": "3"}),
        ((), {"LANG": "tr_TR.UTF-8", "SOURCE_DATE_EPOCH": "1", "MALLOC_PERTURB_": "165"}),
    ]
    for i, (flags, variables) in enumerate(surroundings):
        folder = tmp_path / str(i)
        run = export(folder, *arguments_for(checkpoints[0], "exports"), *flags, environment=variables).expect(0)
        assert run.content == complete[0]
        os.utime(checkpoints[0] / "GRU.pt", (i, i))


def test_models_side_by_side_report_in_their_order(checkpoints, tmp_path):
    sources = ("--transformer", checkpoints[0] / "Transformer.pt", "--gru", checkpoints[0] / "GRU.pt")
    small = [f"--model=m{i}={checkpoints[1] / 'GRU.pt'}" for i in range(4)]
    run = export(tmp_path, *sources, *small, "--jobs", "4").expect(0)
    headings = [line.split()[0] for line in run.stdout.splitlines() if line.endswith(".pt") and line[0] != " "]
    assert headings == ["transformer", "gru", "m0", "m1", "m2", "m3"]
    assert all(run.model(key)["verification"] for key in headings)
    assert list(run.results)[: len(headings)] == headings or set(headings) <= set(run.results)


# --------------------------------------------------------------------------------------------------- memory and rights


def test_what_would_need_too_much_memory_is_refused_before_it_is_converted(checkpoints, tmp_path):
    model = ("--transformer", checkpoints[0] / "Transformer.pt")
    refused = export(tmp_path, *model, "--max-memory", "50M").expect(1)
    assert "the export needs about" in refused.stderr and "--max-memory" in refused.stderr
    assert refused.files == [RESULTS]
    smaller_than_the_file = export(tmp_path, *model, "--max-memory", "1M").expect(1)
    assert "more than the" in smaller_than_the_file.stderr
    export(tmp_path, *model, "--max-memory", "2G").expect(0)


def test_the_estimate_covers_what_is_used(checkpoints, tmp_path):
    for flags in ((), ("--no-verify",), ("--sequence-length", "1500", "--to", "tflite")):
        model = ("--transformer", checkpoints[0] / "Transformer.pt", *flags)
        used = export(tmp_path, *model).expect(0).model("transformer")["peak_memory_bytes"]
        export(tmp_path, *model, "--max-memory", used // 2**20 * 2**20 // 2).expect(1)
        export(tmp_path, *model, "--max-memory", used * 4).expect(0)


@contextlib.contextmanager
def running(folder, *arguments):
    """The program, running; it is stopped in the end."""
    process = start(folder, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("flags", [(), ("--no-sandbox",)])
def test_gives_up_its_rights_unless_told_not_to(checkpoints, tmp_path, flags):
    own = status_of(subprocess.Popen(["sleep", "0.2"]))["Seccomp"]
    with running(tmp_path, "--gru", checkpoints[0] / "GRU.pt", "--sequence-length", "5000", *flags) as process:
        wait_until_it_listens(process)
        seen = set()
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline and "2" not in seen and len(seen) < 100:
            seen.add(status_of(process).get("Seccomp", own))
            if flags and (tmp_path / "exports").exists():
                break
    assert seen == {own} if flags else "2" in seen


def test_default_files_have_their_names(complete):
    stems = ("sign_transformer", "mediapipe_gru")
    expected = {file_name(stem, kind) for stem in stems for kind in ("onnx", "tf", "fp32", "fp16")}
    assert {top_of(name) for name in complete[0]} == expected
