"""Calls a function on a file in a forked process of its own, within limits of time and memory."""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import select
import signal
import sys
import time

SECONDS = 10  # of processor time, so that other work on the machine does not count
WALL_SECONDS = 60
GROWTH = 1_000_000_000  # bytes that the call may add to what its parent holds
ADDRESS_SPACE = 8 << 30  # that it may add


@dataclasses.dataclass
class Outcome:
    """`verdict` is what the function returned, or `crash`, `hang`, `memory`; `detail` a word on it."""

    verdict: str
    detail: str
    seconds: float
    growth: int


def held():
    """The resident memory of this process, and its address space."""
    pages = pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()
    size = os.sysconf("SC_PAGE_SIZE")
    return int(pages[1]) * size, int(pages[0]) * size


def call(function, path, folder):
    """The outcome of `function(path)`, called in `folder`; it returns (verdict, detail).

    `seconds` are those of the processor.
    """
    resident, space = held()
    reader, writer = os.pipe()
    deadline = time.monotonic() + WALL_SECONDS
    child = os.fork()
    if child == 0:
        _be_child(function, path, folder, writer, space)
    os.close(writer)
    said = _read(reader, deadline)
    hung = said is None
    if not hung:  # it ends now, unless a payload replaced it by another program
        _wait_for_end(child, deadline)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what a payload may have started
    _, status, usage = os.wait4(child, 0)
    took, growth = usage.ru_utime + usage.ru_stime, max(0, usage.ru_maxrss * 1024 - resident)
    if hung or took > SECONDS:
        return Outcome("hang", f"{took:.0f} s", took, growth)
    if not said:
        return Outcome("crash", f"ended by {os.waitstatus_to_exitcode(status)}", took, growth)
    verdict, detail = json.loads(said)
    if growth > GROWTH:
        return Outcome("memory", f"{growth / 1e6:.0f} MB, {verdict}", took, growth)
    return Outcome(verdict, detail, took, growth)


def _be_child(function, path, folder, writer, space):
    """Never returns."""
    try:
        os.setsid()
        os.chdir(folder)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_AS, (space + ADDRESS_SPACE, space + ADDRESS_SPACE))
        try:
            answer = function(path)
        except BaseException as error:  # a payload may raise anything, SystemExit too
            answer = "error", f"{type(error).__name__}: {error}"[:300]
        os.write(writer, json.dumps(answer).encode()[:60_000])
    finally:
        sys.stdout = None
        os._exit(0)


def _wait_for_end(child, deadline):
    """Returns when the child has ended or the deadline is past; leaves it to be waited for."""
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def _read(reader, deadline):
    """Everything that the child writes, or None if it is not done by the deadline."""
    parts = []
    try:
        while True:
            ready, _, _ = select.select([reader], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(reader, 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(reader)
