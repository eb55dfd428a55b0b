"""Safetensors whose header lies. The format: a length, a JSON object of that length, the data."""

import json
import struct

from attacks.record import HostileFile
from attacks.sound import fixture

GROUP = "safetensors"
SOUND = "forms/safetensors_gru.safetensors"


def split():
    """The header as an object, and the data."""
    data = fixture(SOUND)
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def assembled(header, data=None, length=None):
    """A file of a header (an object, or bytes) and data."""
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + (split()[1] if data is None else data)


def file(name, about, data, *, may_convert=False):
    return HostileFile(f"safetensors_{name}.safetensors", GROUP, about, data, may_convert=may_convert)


def with_first(**fields):
    """The sound file with fields of its first tensor changed."""
    header, data = split()
    name = min((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"])
    header[name] = {**header[name], **fields}
    return assembled(header, data)


def lying_lengths():
    header, data = split()
    raw = json.dumps(header).encode()
    lengths = {
        "zero": 0,
        "one": 1,
        "beyond": len(raw) + len(data) + 1,
        "2_32": 2**32,
        "2_62": 2**62,
        "2_63": 2**63,
        "most": 2**64 - 1,
        "shorter": len(raw) - 1,
        "longer": len(raw) + 1,
    }
    return [
        file(f"length_{word}", f"The header claims {length} bytes.", assembled(raw, data, length))
        for word, length in lengths.items()
    ]


def lying_tensors():
    header, data = split()
    names = sorted((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"])
    first, second = names[:2]
    begin, end = header[first]["data_offsets"]

    def changed(**entries):
        return assembled({**header, **entries}, data)

    return [
        file("offset_beyond", "A tensor ends beyond the file.", with_first(data_offsets=[begin, 2**40])),
        file("offset_overflow", "A tensor ends at 2^64 - 1.", with_first(data_offsets=[begin, 2**64 - 1])),
        file("offset_above_64_bits", "A tensor ends at 2^70.", with_first(data_offsets=[begin, 2**70])),
        file("offset_negative", "A tensor starts at -8.", with_first(data_offsets=[-8, end])),
        file("offset_turned", "A tensor ends before it starts.", with_first(data_offsets=[end, begin])),
        file(
            "offset_overlap",
            "Two tensors overlap.",
            changed(**{second: {**header[second], "data_offsets": header[first]["data_offsets"]}}),
        ),
        file("offset_gap", "Bytes that belong to no tensor.", assembled(header, data + b"gap!")),
        file("offset_three", "Three offsets.", with_first(data_offsets=[begin, end, end])),
        file("offset_fraction", "Fractions for offsets.", with_first(data_offsets=[0.5, 1e3])),
        file("shape_overflow", "The product of the shape overflows.", with_first(shape=[2**32, 2**32])),
        file("shape_wrong", "A shape of more elements than bytes.", with_first(shape=[1000, 1000])),
        file("shape_negative", "A negative size.", with_first(shape=[-1, -1])),
        file("shape_huge", "A size of 2^63.", with_first(shape=[2**63])),
        file("shape_zero", "A size of 2^62 beside a zero.", with_first(shape=[0, 2**62])),
        file("shape_long", "A shape of 100,000 ones.", with_first(shape=[1] * 100_000)),
        file("dtype_unknown", "An unknown dtype.", with_first(dtype="F128")),
        file("dtype_number", "A number for the dtype.", with_first(dtype=32)),
        file("dtype_long", "A dtype of a megabyte.", with_first(dtype="F" * (1 << 20))),
        file(
            "field_missing",
            "A tensor without its shape.",
            changed(**{first: {"dtype": "F32", "data_offsets": [begin, end]}}),
        ),
        file("field_unknown", "A tensor with another field.", with_first(strides=[1, 1])),
        file(
            "many_empty",
            "50,000 tensors of no element.",
            changed(**{f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}),
            may_convert=True,
        ),
        file(
            "name_long",
            "A tensor's name of a megabyte.",
            changed(**{"n" * (1 << 20): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
            may_convert=True,
        ),
        file(
            "name_climbs",
            "A tensor named ../../evil.",
            changed(**{"../../evil": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
            may_convert=True,
        ),
        file(
            "name_escapes",
            "A tensor whose name moves the cursor.",
            changed(**{"\x1b[2J\x1b[H": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
            may_convert=True,
        ),
    ]


def lying_json():
    header, data = split()
    raw = json.dumps(header).encode()
    first = json.dumps(min(header)).encode()
    twice = b"{" + first + b":" + json.dumps(header[min(header)]).encode() + b"," + raw[1:]
    many = b'{"__metadata__":{' + b",".join(b'"k%d":"v"' % i for i in range(200_000)) + b"}," + raw[1:]
    deep = 100_000
    return [
        file(
            "json_deep_arrays",
            "100,000 arrays inside each other.",
            assembled(b'{"a":' + b"[" * deep + b"]" * deep + b"}", data),
        ),
        file(
            "json_deep_objects",
            "100,000 objects inside each other.",
            assembled(b'{"a":' * deep + b"1" + b"}" * deep, data),
        ),
        file("json_key_twice", "A tensor stands twice.", assembled(twice, data)),
        file(
            "json_metadata_twice",
            "__metadata__ stands twice.",
            assembled(b'{"__metadata__":{},"__metadata__":{"a":"b"},' + raw[1:], data),
        ),
        file("json_metadata_type", "A number in the metadata.", assembled(b'{"__metadata__":{"a":1},' + raw[1:], data)),
        file("json_metadata_many", "200,000 metadata.", assembled(many, data), may_convert=True),
        file(
            "json_not_utf8",
            "A name that is not UTF-8.",
            assembled(b'{"\xff\xfe":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' + raw[1:], data),
        ),
        file(
            "json_surrogate",
            "Half of a surrogate pair in a name.",
            assembled(b'{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' + raw[1:], data),
        ),
        file("json_trailing", "Text behind the object.", assembled(raw + b"{}", data)),
        file("json_leading", "A space before the object.", assembled(b" " + raw, data)),
        file("json_array", "An array for the object.", assembled(b"[" + raw + b"]", data)),
        file(
            "json_number",
            "Digits without end for an offset.",
            assembled(raw.replace(b'data_offsets": [0,', b'data_offsets": [' + b"9" * 100_000 + b",", 1), data),
        ),
        file(
            "json_exponent",
            "1e400 for an offset.",
            assembled(raw.replace(b'data_offsets": [0,', b'data_offsets": [1e400,', 1), data),
        ),
        file(
            "json_nan",
            "NaN for an offset.",
            assembled(raw.replace(b'data_offsets": [0,', b'data_offsets": [NaN,', 1), data),
        ),
        file("json_nul", "NUL bytes in the header.", assembled(raw[:-1] + bytes(64) + b"}", data)),
        file("json_comment", "A comment in the header.", assembled(b"{/* */" + raw[1:], data)),
        file("json_empty", "An empty object over data.", assembled(b"{}", data)),
    ]


def files():
    """Every file of this class."""
    return [*lying_lengths(), *lying_tensors(), *lying_json()]
