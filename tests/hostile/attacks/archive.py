"""Zip archives of which every field can lie. Records: APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16."""

import dataclasses
import functools
import struct
import zlib

DATE = 0x21  # 1980-01-01


@dataclasses.dataclass
class Entry:
    """An entry; fields that are None are what they should be, `local_*` are those of the entry's own header."""

    name: str | bytes
    body: bytes = b""
    deflated: bool = False
    flags: int = 0
    local_flags: int | None = None
    method: int | None = None
    local_method: int | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    local_name: str | bytes | None = None
    local_size: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    offset: int | None = None  # of the local header, as the directory tells it
    mode: int = 0  # of Unix, in the external attributes
    written: bool = True  # False: only the directory has it
    raw: bytes | None = None  # the compressed bytes


def as_bytes(name):
    return name if isinstance(name, bytes) else name.encode()


def deflate(data, level=9):
    """A raw deflate stream."""
    engine = zlib.compressobj(level, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


@functools.cache
def repeated(head, block, count, tail=b""):
    """A nameless entry of `head`, `count` times `block`, and `tail`, deflated without holding them."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = engine.compress(head) + engine.flush(zlib.Z_FULL_FLUSH)
    turn = engine.compress(block) + engine.flush(zlib.Z_FULL_FLUSH)  # depends on nothing before it
    last = engine.compress(tail) + engine.flush()
    crc = zlib.crc32(head)
    for _ in range(count):
        crc = zlib.crc32(block, crc)
    size = len(head) + count * len(block) + len(tail)
    return Entry("", raw=first + turn * count + last, size=size, crc=zlib.crc32(tail, crc), method=8)


def first_of(*values):
    """The first that is not None."""
    return next(value for value in values if value is not None)


def local_record(entry, stored, crc, method):
    name = as_bytes(first_of(entry.local_name, entry.name))
    size = first_of(entry.local_size, entry.size, len(entry.body)) & 0xFFFFFFFF
    fields = (
        20,
        first_of(entry.local_flags, entry.flags),
        first_of(entry.local_method, method),
        0,
        DATE,
        crc,
        first_of(entry.compressed, len(stored)) & 0xFFFFFFFF,
        size,
        len(name),
        len(entry.local_extra),
    )
    return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *fields) + name + entry.local_extra


def directory_record(entry, stored, crc, method, offset):
    name = as_bytes(entry.name)
    fields = (
        0x0314,
        20,
        entry.flags,
        method,
        0,
        DATE,
        crc,
        first_of(entry.compressed, len(stored)) & 0xFFFFFFFF,
        first_of(entry.size, len(entry.body)) & 0xFFFFFFFF,
        len(name),
        len(entry.extra),
        0,
        0,
        0,
        entry.mode << 16,
        first_of(entry.offset, offset) & 0xFFFFFFFF,
    )
    return struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *fields) + name + entry.extra


def end_record(count, size, offset, comment=b""):
    return (
        struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, size, offset, len(comment)) + comment
    )


def zip_parts(entries, base=0):
    """The bytes before the directory, the directory, and the offset of each entry's header."""
    front, directory, offsets = b"", b"", []
    for entry in entries:
        stored = first_of(entry.raw, deflate(entry.body) if entry.deflated else entry.body)
        crc = first_of(entry.crc, zlib.crc32(entry.body))
        method = first_of(entry.method, 8 if entry.deflated else 0)
        offset = base + len(front)
        offsets.append(offset)
        if entry.written:
            front += local_record(entry, stored, crc, method) + stored
        directory += directory_record(entry, stored, crc, method, offset)
    return front, directory, offsets


def zip_of(
    entries, *, prefix=b"", base=0, count=None, directory_offset=None, directory_size=None, comment=b"", gap=b""
):
    """A zip file. `base` is added to every offset; `prefix` comes before everything, `gap` before the directory."""
    front, directory, _ = zip_parts(entries, base)
    end = end_record(
        len(entries) if count is None else count,
        len(directory) if directory_size is None else directory_size,
        base + len(front) + len(gap) if directory_offset is None else directory_offset,
        comment,
    )
    return prefix + front + gap + directory + end


def zip64_of(entries, *, count=None, directory_offset=None, directory_size=None, record_offset=None):
    """The same with a zip64 end record and locator, whose numbers can lie."""
    front, directory, _ = zip_parts(entries)
    number = len(entries) if count is None else count
    record = struct.pack(
        "<4sQHHIIQQQQ",
        b"PK\6\6",
        44,
        45,
        45,
        0,
        0,
        number,
        number,
        len(directory) if directory_size is None else directory_size,
        len(front) if directory_offset is None else directory_offset,
    )
    start = len(front) + len(directory)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start if record_offset is None else record_offset, 1)
    return front + directory + record + locator + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def zip64_extra(*numbers):
    """The extra field with 64-bit numbers."""
    return struct.pack("<HH", 1, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)
