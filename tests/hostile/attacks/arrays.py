"""Inputs for verification (.npy and .npz) that lie, expand, or hold pickles."""

import dataclasses
import struct

from attacks.archive import Entry, repeated, zip_of
from attacks.assemble import called, whole
from attacks.record import CANARY, SHELL, HostileFile
from attacks.zips import zeros

GROUP = "inputs"
FEATURES = 12  # of the sound checkpoint
RUN = whole(called("posix:system", SHELL))
SOUND_SHAPE = f"(4, {FEATURES})"
SOUND_DATA = struct.pack(f"<{4 * FEATURES}f", *[0.5] * (4 * FEATURES))


def npy(descr="'<f4'", shape=SOUND_SHAPE, data=SOUND_DATA, *, order="False", header=None, version=(1, 0), length=None):
    """A .npy file; the arguments stand as they are in its header."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}" if header is None else header
    raw = text.encode() if isinstance(text, str) else text
    raw += b" " * (63 - (10 + len(raw)) % 64) + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + raw + data


def file(name, about, data, *, runs=(), suffix=".npy"):
    proof = bool(runs)
    return HostileFile(f"input_{name}{suffix}", GROUP, about, data, runs, proof, "verify-input")


def headers():
    """Single arrays."""
    evaluated = f"__import__('os').system('{SHELL}')"
    nan, infinite = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
    return [
        file("objects", "An array of objects, a pickle that calls.", npy("'|O'", "(1,)", RUN), runs=("posix.system",)),
        file("objects_in_record", "A record with objects.", npy("[('a', '|O')]", "(1,)", RUN), runs=("posix.system",)),
        file(
            "header_calls",
            "The header is an expression that calls.",
            npy(header=f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({evaluated}, 12), }}"),
        ),
        file("header_is_a_call", "The header is a call.", npy(header=evaluated)),
        file("header_deep", "100,000 brackets in the header.", npy(shape="(" * 20_000 + ")" * 20_000)),
        file("header_huge", "A header that claims 4 GiB.", npy(version=(2, 0), length=0xFFFFFFFF)),
        file("header_beyond", "A header beyond the file.", npy(length=0xFFFF)),
        file("header_long", "A header of 10 MB.", npy(version=(2, 0), header="{" + " " * 10_000_000 + "}")),
        file(
            "header_twice",
            "shape stands twice.",
            npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, 12), 'shape': (1, 12), }"),
        ),
        file("header_missing", "shape is missing.", npy(header="{'descr': '<f4', 'fortran_order': False, }")),
        file(
            "header_not_utf8",
            "The header is not UTF-8.",
            npy(header=b"{'descr': '\xff\xfe', 'fortran_order': False, 'shape': (4, 12), }"),
        ),
        file("shape_huge", "A shape of 2^60 rows.", npy(shape=f"({2**60}, {FEATURES})")),
        file("shape_overflow", "A shape whose product overflows.", npy(shape=f"({2**32}, {2**32})")),
        file("shape_above_64_bits", "A size of 10^30.", npy(shape=f"({10**30}, {FEATURES})")),
        file("shape_negative", "A negative size.", npy(shape=f"(-4, -{FEATURES})")),
        file("shape_zero", "2^62 rows of no element.", npy(shape=f"({2**62}, 0)")),
        file("shape_no_frames", "No frames.", npy(shape=f"(0, {FEATURES})", data=b"")),
        file("shape_other_features", "Another number of features.", npy(shape="(4, 11)")),
        file("shape_many", "10,000 dimensions.", npy(shape="(" + "1," * 10_000 + ")")),
        file("shape_scalar", "A single number.", npy(shape="()")),
        file(
            "fortran_lies",
            "Fortran's order with a shape that doesn't fit.",
            npy(shape=f"({FEATURES}, 4)", order="True"),
        ),
        file("fortran_number", "A number for fortran_order.", npy(order="7")),
        file("dtype_text", "An array of texts.", npy("'<U4'")),
        file("dtype_complex", "Complex numbers.", npy("'<c8'")),
        file("dtype_void", "Raw bytes of 2^40.", npy(f"'|V{2**40}'")),
        file("dtype_nested", "dtypes inside of dtypes.", npy("[('a', " * 500 + "'<f4'" + ")]" * 500)),
        file("nan", "NaN in a frame.", npy(data=nan + SOUND_DATA[4:])),
        file("infinite", "An infinite number in a frame.", npy(data=infinite + SOUND_DATA[4:])),
        file(
            "largest",
            "The largest float64 in every place.",
            npy("'<f8'", data=struct.pack(f"<{4 * FEATURES}d", *[1.7e308] * (4 * FEATURES))),
        ),
        file("short", "Fewer bytes than the shape needs.", npy(data=SOUND_DATA[:-1])),
        file("magic_only", "The magic number and nothing else.", b"\x93NUMPY"),
        file("empty", "No byte.", b""),
        file("text", "A text.", f"open('{CANARY}')".encode()),
        file(
            "pickle",
            "A pickle that calls, as .npy (numpy.load reads pickles if it is told to).",
            RUN,
            runs=("posix.system",),
        ),
    ]


def archives():
    """Archives of arrays."""
    header = npy(shape=f"({(1 << 28) // FEATURES}, {FEATURES})", data=b"")
    frames = dataclasses.replace(repeated(header, bytes(1 << 20), 1024), name="X.npy")
    sound = Entry("X.npy", npy())
    return [
        file(
            "npz_objects",
            "An archive with an array of objects.",
            zip_of([Entry("X.npy", npy("'|O'", "(1,)", RUN))]),
            runs=("posix.system",),
            suffix=".npz",
        ),
        file("npz_bomb", "1 GiB of zeros in 1 MB.", zip_of([zeros("X.npy", 1 << 30)]), suffix=".npz"),
        file("npz_bomb_of_frames", "A gigabyte of frames in 1 MB.", zip_of([frames]), suffix=".npz"),
        file(
            "npz_bomb_beside",
            "A sound array beside such a bomb.",
            zip_of([sound, zeros("Y.npy", 1 << 30)]),
            suffix=".npz",
        ),
        file("npz_climbs", "An array named ../X.npy.", zip_of([Entry("../X.npy", npy())]), suffix=".npz"),
        file("npz_twice", "X stands twice.", zip_of([sound, sound]), suffix=".npz"),
        file("npz_not_npy", "An entry that is no array.", zip_of([Entry("X.txt", b"hello")]), suffix=".npz"),
        file("npz_pickle", "An entry that is a pickle.", zip_of([Entry("X.npy", RUN)]), suffix=".npz"),
        file("npz_empty", "No entry.", zip_of([]), suffix=".npz"),
        file("npz_truncated", "The archive ends too early.", zip_of([sound])[:100], suffix=".npz"),
        file(
            "npz_two",
            "Two arrays, none called X.",
            zip_of([Entry("a.npy", npy()), Entry("b.npy", npy())]),
            suffix=".npz",
        ),
    ]


def files():
    """Every file of this class."""
    return [*headers(), *archives()]
