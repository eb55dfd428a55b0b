"""Random zip archives and safetensors files, whole and damaged."""

import io
import json
import re
import struct
import zipfile

import numpy as np
import safetensors

# ---------------------------------------------------------------------------------------------------------------- zips

NAMES = ["a", "data.pkl", "archive/data/0", "folder/", "手話/重み", "é.bin", "a..b", "long" * 50]


class Pipe(io.BytesIO):
    """A stream that can't go back, to which zipfile writes sizes behind the data."""

    def seekable(self):
        return False

    def tell(self):
        raise io.UnsupportedOperation

    def seek(self, *_):
        raise io.UnsupportedOperation


def content(rng):
    """Bytes that deflate well, badly or not at all."""
    size = rng.choice([0, 1, 5, 100, 3000])
    return rng.choice([bytes(size), rng.randbytes(size), b"abc" * (size // 3)])


def zip_file(rng):
    """An archive as zipfile writes them."""
    file = rng.choice([io.BytesIO, Pipe])()
    names = rng.sample(NAMES, rng.randrange(len(NAMES) + 1)) + [
        f"many/{i}" for i in range(200 if rng.random() < 0.05 else 0)
    ]
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name, (rng.randrange(1980, 2100), rng.randrange(1, 13), 1, 0, 0, 0))
            info.compress_type = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            info.external_attr = rng.choice([0, 0o644 << 16])
            if rng.random() < 0.1:
                info.comment = b"a comment"
            if rng.random() < 0.1:
                info.extra = struct.pack("<HH", 0x5855, 3) + b"abc"
            with archive.open(info, "w", force_zip64=rng.random() < 0.3) as entry:
                entry.write(b"" if name.endswith("/") else content(rng))
        if rng.random() < 0.2:
            archive.comment = rng.choice([b"a comment", b"PK", bytes(300)])
    data = file.getvalue()
    return with_end64(rng, data) if rng.random() < 0.3 and not archive.comment else data


def with_end64(rng, data):
    """The archive with an end record of 64 bits, which zipfile writes only for huge ones."""
    end = len(data) - 22
    _, _, _, entries, _, size, offset, _ = struct.unpack("<4s4H2LH", data[end:])
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    tail = data[end:]
    if rng.random() < 0.5:
        tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + end64 + locator + tail


SIGNATURES = [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"]
EDGES = [0, 1, 0x14, 0x3F, 0x40, 0x7F, 0x80, 0xFF]


def damaged_zip(rng):
    """An archive with a few bytes changed, mostly of its records."""
    data = bytearray(zip_file(rng)[:20000])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.randrange(10)
        if kind < 6:  # a byte of a record
            record = rng.choice(SIGNATURES)
            places = [found.start() for found in re.finditer(re.escape(record), data)] or [0]
            at = rng.choice(places) + rng.randrange(64 if rng.random() < 0.5 else 30)
            data[at : at + 1] = [rng.choice(EDGES)]
        elif kind == 6:  # any byte
            at = rng.randrange(len(data))
            data[at] = rng.choice([rng.randrange(256), data[at] ^ 1 << rng.randrange(8)])
        elif kind == 7:  # something before, between or behind
            at = rng.choice([0, len(data), rng.randrange(len(data))])
            data[at:at] = rng.choice([b"x", bytes(22), *SIGNATURES, bytes(data[-22:])])
        elif kind == 8:  # a second end record, which one reader may find and the other not
            end = bytearray(data[-22:])
            end[rng.randrange(len(end))] = rng.choice(EDGES)
            size = len(end) + rng.choice([0, 0, 1])
            if len(data) >= 22 and data[-22:-18] == b"PK\x05\x06":
                data[-2:] = struct.pack("<H", size)
            data += end
        else:
            del data[rng.randrange(len(data)) :]
            data = data or bytearray(b"P")
    return bytes(data)


# --------------------------------------------------------------------------------------------------------- safetensors

SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
}  # fmt: skip


def safetensors_file(rng):
    """A file as the official writer writes it."""
    tensors, buffers = {}, []  # which the writer reads by address
    for i in range(rng.choice([0, 1, 2, 3, 10])):
        name = rng.choice(["a", "layers.0.weight", "手話", '"quoted"\\', "\n", ""]) + str(i)
        dtype = rng.choice(list(SIZES))
        shape = [rng.choice([0, 1, 2, 3, 7]) for _ in range(rng.randrange(5))]
        count = 1
        for size in shape:
            count *= size
        buffers.append(np.frombuffer(rng.randbytes(count * SIZES[dtype]), np.uint8))
        tensors[name] = safetensors.TensorSpec(
            dtype=dtype, shape=shape, data_ptr=buffers[-1].ctypes.data, data_len=buffers[-1].size
        )
    # Of no tensors and empty metadata safetensors 0.8.0 writes a file that it can't read.
    metadata = rng.choice([None, {} if tensors else None, {"format": "pt"}, {"é": "\u2028", "": ""}])
    return bytes(safetensors.serialize(tensors, metadata))


# fmt: off
PIECES = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"0", b"1", b"-1", b"-0", b"1.0", b"1e0", b"null", b"true", b'"F32"',
    b'"F8_E4M3"', b'"shape"', b'"dtype"', b'"data_offsets"', b'"__metadata__":{},', b'"__metadata__":null,', b'"x":1,',
    b'"x":{},', b" ", b"\n", b"\x00", b"\t", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\ud83e\\udd1f",
    b"\\u0000", b"/**/", b"\\/", b"18446744073709551615", b"18446744073709551616", b"9223372036854775808", b"007",
    b'"I64"', b'"a":"b",',
]
# fmt: on


def damaged_safetensors(rng):
    """A file with its header or its data changed; the header's length is right more often than not."""
    data = safetensors_file(rng)
    size = int.from_bytes(data[:8], "little")
    header, body = bytearray(data[8 : 8 + size]), bytearray(data[8 + size :])
    kind = rng.randrange(12)
    if kind == 0:
        body += b"x"
    elif kind == 1 and body:
        del body[rng.randrange(len(body)) :]
    elif kind < 8:
        change_fields(rng, header)
    else:
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(header) + 1)
            piece = rng.choice(PIECES)
            header[at : at + rng.choice([0, 0, len(piece), 1, 3])] = piece
    length = len(header)
    if rng.random() < 0.05:
        length = rng.choice([0, 1, abs(length - 1), length + 1, len(header) + len(body), 100_000_001, 2**63, 2**64 - 1])
    return length.to_bytes(8, "little") + bytes(header + body)


def change_fields(rng, header):
    """Changes what a field of one tensor says."""
    fields = json.loads(header)
    names = [name for name in fields if name != "__metadata__"]
    if not names:
        header[:] = rng.choice([b"", b"{", b"[]", b" {}", b"{} ", b"{}\x00"])
        return
    tensor = fields[rng.choice(names)]
    kind = rng.randrange(8)
    if kind == 0:
        tensor["data_offsets"] = rng.choice(
            [tensor["data_offsets"][::-1], tensor["data_offsets"][:1], [0, 0], [0, 2**64 - 1]]
        )
    elif kind == 1:
        tensor["shape"] = rng.choice(
            [tensor["shape"] + [1], tensor["shape"] + [2], [2**32, 2**32], [2**63], [0, 2**63], []]
        )
    elif kind == 2:
        tensor["dtype"] = rng.choice(["F32", "U8", "F8_E4M3", "Q4", "", "f32", None, 3])
    elif kind == 3:
        del tensor[rng.choice(list(tensor))]
    elif kind == 4:
        tensor["dtype"] = {"U8": "BOOL", "I16": "BF16", "F32": "U32"}.get(tensor["dtype"], tensor["dtype"])
    elif kind == 5:
        rng.shuffle(tensor["shape"])
    elif kind == 6:
        fields["__metadata__"] = rng.choice([{"a": "b"}, {"a": 1}, {"a": None}, None, {"手": "🤟\n"}, []])
    else:
        tensor[rng.choice(["stride", "x"])] = rng.choice([1, None, []])
    header[:] = json.dumps(fields, ensure_ascii=rng.random() < 0.5, sort_keys=rng.random() < 0.5).encode()
