#!/usr/bin/env python3
"""Runs many commands within limits of time and memory, each in a folder of its own, and tells how they ended.

Reads jobs from standard input as JSON, [{"name", "command", "folder", "input"}], writes {name: outcome} to standard
output. This is a process of its own because the peak memory of a child starts at that of its parent when it was
forked: this one is small.
"""

import concurrent.futures
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading

SECONDS = 10  # of processor time, so that other work on the machine does not count
WALL_SECONDS = 60
BYTES = 1_000_000_000
ADDRESS_SPACE = 16 << 30  # a command that asks for this much fails at once and does not drag the machine down


def run(job):
    """Runs one command to its end, or for as long as it may."""
    folder = pathlib.Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".stdout", "w+b") as stdout, open(folder / ".stderr", "w+b") as stderr:
        process = subprocess.Popen(
            job["command"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        resource.prlimit(process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 1))
        late = threading.Event()
        watch = threading.Timer(WALL_SECONDS, lambda: (late.set(), os.killpg(process.pid, signal.SIGKILL)))
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        seconds = usage.ru_utime + usage.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        return {
            "status": process.returncode,
            "late": late.is_set() or seconds > SECONDS,
            "seconds": round(seconds, 3),
            "peak_bytes": usage.ru_maxrss * 1024,
            "stdout": text_of(stdout),
            "stderr": text_of(stderr),
        }


def text_of(stream, most=100_000):
    """What was written, with escapes for bytes that are not UTF-8."""
    stream.seek(0)
    return stream.read(most).decode("utf-8", "backslashreplace")


def run_all(jobs):
    """Runs the jobs, as many at a time as there are processors."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip([job["name"] for job in jobs], pool.map(run, jobs), strict=True))


if __name__ == "__main__":
    json.dump(run_all(json.load(sys.stdin)), sys.stdout)
