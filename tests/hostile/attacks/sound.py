"""Sound weights to lay an attack beside, so that the attack alone is a reason to refuse the file.

They are those of committed fixtures: nothing here imports PyTorch.
"""

import functools
import io
import pathlib
import pickle
import zipfile

from attacks.archive import Entry, zip_of
from attacks.assemble import text, value

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "checkpoints"


@functools.cache
def fixture(name):
    """The bytes of a committed checkpoint."""
    return (FIXTURES / name).read_bytes()


@functools.cache
def contents():
    """The entries of a sound GRU's checkpoint, by name without the top folder."""
    with zipfile.ZipFile(io.BytesIO(fixture("variants/gru.pt"))) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def weights():
    """An expression for the sound state dict."""
    pickled = contents()["data.pkl"]
    return pickled[2:-1]  # without PROTO 2 and STOP


def entries(**changes):
    """The entries of the sound checkpoint; `data_pkl` stands for another pickle."""
    bodies = contents() | ({"data.pkl": changes["data_pkl"]} if "data_pkl" in changes else {})
    return [Entry(f"archive/{name}", body) for name, body in bodies.items()]


def checkpoint(pickled):
    """A zip checkpoint with the sound storages and this data.pkl."""
    return zip_of(entries(data_pkl=pickled))


def beside(code, protocol=4):
    """A pickle of {"state_dict": sound weights, "extra": code}."""
    return b"".join(
        [
            pickle.PROTO + bytes([protocol]) + pickle.EMPTY_DICT,
            text("state_dict") + weights() + pickle.SETITEM,
            text("extra") + value(code) + pickle.SETITEM,
            pickle.STOP,
        ]
    )


def beside_weights(code, protocol=4):
    """A zip checkpoint of sound weights and, beside them, an attack."""
    return checkpoint(beside(code, protocol))
