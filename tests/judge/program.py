"""Runs `export_models` and reads what it leaves behind."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess

import ai_edge_litert

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPORT_MODELS = pathlib.Path(os.environ.get("TAPER_EXPORT_MODELS", ROOT / "build/release/bin/export_models")).resolve()
RESULTS = "export_results.json"
STEMS = {"transformer": "sign_transformer", "gru": "mediapipe_gru"}

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
        """Names of all files in the output folder."""
        return sorted(path.name for path in self.output_dir.iterdir()) if self.output_dir.exists() else []

    def model(self, key):
        """The results of one model."""
        return self.results[key]

    def path(self, key, kind):
        """The file of a model: `kind` is onnx, fp32 or fp16."""
        return self.output_dir / file_name(STEMS.get(key, key), kind)

    def expect(self, status):
        """Fails with everything that was printed unless the exit status is `status`; returns the run."""
        assert self.status == status, (
            f"{' '.join(map(str, self.command))}\nexit status {self.status}, expected {status}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )
        return self


def file_name(stem, kind):
    """The name of an exported file."""
    return f"{stem}.onnx" if kind == "onnx" else f"{stem}_{kind}.tflite"


def export(folder, *arguments, output_dir="exports"):
    """Runs the program in `folder`, which it makes if needed. `output_dir` is where `arguments` make it write."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [EXPORT_MODELS, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIME_LIMIT,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT)),
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    return Run(command, done.returncode, stdout, stderr, folder / output_dir)


def _environment():
    """A plain one, in which the program finds the same LiteRT as these tests."""
    runtime = pathlib.Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb", "TAPER_LITERT": str(runtime)}


def write_config(folder, content):
    """Writes `content` as a configuration file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
