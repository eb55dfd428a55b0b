"""Runs `export_models` and reads what it leaves behind."""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess

import ai_edge_litert

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPORT_MODELS = pathlib.Path(os.environ.get("TAPER_EXPORT_MODELS", ROOT / "build/release/bin/export_models")).resolve()
TAPER = pathlib.Path(os.environ.get("TAPER_PROGRAM", EXPORT_MODELS.parent / "taper")).resolve()
RESULTS = "export_results.json"
STEMS = {"transformer": "sign_transformer", "gru": "mediapipe_gru"}
KINDS = ("onnx", "tf", "fp32", "fp16")

MEMORY_LIMIT = 8 << 30  # bytes of address space; a file that makes the program ask for more shows as a failure
TIME_LIMIT = 120  # seconds


@dataclasses.dataclass
class Run:
    """A finished run: its exit status, what it printed, and the folder it wrote to."""

    command: list
    status: int
    stdout: str
    stderr: str
    output_dir: pathlib.Path

    @property
    def said(self):
        """Everything that a user saw."""
        return self.stdout + self.stderr

    @property
    def results(self):
        """The content of export_results.json."""
        return json.loads((self.output_dir / RESULTS).read_text(encoding="utf-8"))

    @property
    def files(self):
        """Names of all files and folders in the output folder, hidden ones too."""
        return sorted(path.name for path in self.output_dir.iterdir()) if self.output_dir.exists() else []

    @property
    def content(self):
        """The bytes of every file that a model has, by its path in the output folder."""
        paths = (path for path in self.output_dir.rglob("*") if path.is_file())
        content = {str(path.relative_to(self.output_dir)): path.read_bytes() for path in paths}
        return {name: data for name, data in content.items() if name != RESULTS}

    def model(self, key):
        """The results of one model."""
        return self.results[key]

    def path(self, key, kind):
        """The file of a model, of one of KINDS; for tf it is a folder."""
        return self.output_dir / file_name(STEMS.get(key, key), kind)

    def expect(self, status):
        """Fails with everything that was printed unless the exit status is `status`; returns the run."""
        assert self.status == status, (
            f"{' '.join(map(str, self.command))}\nexit status {self.status}, expected {status}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )
        return self


def file_name(stem, kind):
    """The name of an exported file, or of the folder of a SavedModel."""
    return {"onnx": f"{stem}.onnx", "tf": f"{stem}_tf"}.get(kind, f"{stem}_{kind}.tflite")


def export(folder, *arguments, output_dir="exports", environment=None, largest_file=None):
    """Runs the program in `folder`, which it makes if needed. `output_dir` is where `arguments` make it write.

    `environment` holds further variables. Writing more than `largest_file` bytes to a file fails, as on a full disk.
    """

    def set_limits():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    folder.mkdir(parents=True, exist_ok=True)
    command = [EXPORT_MODELS, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=plain_environment() | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIME_LIMIT,
        check=False,
        preexec_fn=set_limits,
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    return Run(command, done.returncode, stdout, stderr, folder / output_dir)


def plain_environment():
    """A plain one, in which the program finds the same LiteRT as these tests, and no TensorFlow of the user's."""
    runtime = pathlib.Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb", "TAPER_LITERT": str(runtime)}


def write_config(folder, content):
    """Writes `content` as a configuration file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
