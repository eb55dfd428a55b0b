"""Zip archives that lie about themselves, expand without end, or name files outside of their folder."""

import dataclasses
import struct

from attacks.archive import Entry, deflate, end_record, repeated, zip64_extra, zip64_of, zip_of, zip_parts
from attacks.record import HostileFile
from attacks.sound import contents, entries

GROUP = "zips"
GIB = 1 << 30


def file(name, about, data, *, may_convert=False, mentions=()):
    return HostileFile(f"zip_{name}.pt", GROUP, about, data, may_convert=may_convert, mentions=mentions)


def with_entry(entry, **fields):
    """The sound checkpoint and one more entry."""
    return zip_of([*entries(), entry], **fields)


def lying_entries():
    """Sizes, offsets and headers that don't fit each other."""
    pickled = contents()["data.pkl"]

    def first(**fields):
        made = entries()
        for key, given in fields.items():
            setattr(made[0], key, given)
        return made

    deflated = [Entry("archive/data.pkl", pickled, deflated=True), *entries()[1:]]
    return [
        file("huge_stored", "data.pkl declares 4 GiB stored.", zip_of(first(size=0xFFFFFFFE, compressed=0xFFFFFFFE))),
        file(
            "huge_deflated",
            "data.pkl declares 4 GiB deflated in 600 bytes.",
            zip_of([Entry("archive/data.pkl", pickled, deflated=True, size=0xFFFFFFFE), *entries()[1:]]),
        ),
        file(
            "zip64_huge",
            "data.pkl declares 2^63 bytes in its zip64 field.",
            zip_of(first(size=0xFFFFFFFF, compressed=0xFFFFFFFF, extra=zip64_extra(2**63, 2**63))),
        ),
        file(
            "zip64_most",
            "2^64 - 1 bytes.",
            zip_of(first(size=0xFFFFFFFF, compressed=0xFFFFFFFF, extra=zip64_extra(2**64 - 1, 2**64 - 1))),
        ),
        file(
            "zip64_offset",
            "The header lies at 2^64 - 10.",
            zip_of(first(offset=0xFFFFFFFF, extra=zip64_extra(2**64 - 10))),
        ),
        file(
            "zip64_short",
            "A zip64 field of 3 bytes.",
            zip_of(first(size=0xFFFFFFFF, extra=struct.pack("<HH", 1, 3) + b"abc")),
        ),
        file(
            "zip64_missing",
            "A size of 0xffffffff and no zip64 field.",
            zip_of(first(size=0xFFFFFFFF, compressed=0xFFFFFFFF)),
        ),
        file(
            "extra_beyond", "An extra field longer than its record.", zip_of(first(extra=struct.pack("<HH", 1, 60000)))
        ),
        file("offset_beyond", "A header beyond the file.", zip_of(first(offset=0x7FFFFFFF))),
        file("offset_other", "The header of another entry.", zip_of(first(offset=len(pickled)))),
        file("offset_into_data", "The header lies in the data of its own entry.", zip_of(first(offset=40))),
        file(
            "not_written",
            "An entry that only the directory has.",
            with_entry(Entry("archive/data/12", b"abcd", written=False)),
        ),
        file("size_differs", "Sizes differ between header and directory.", zip_of(first(local_size=len(pickled) - 10))),
        file(
            "deflated_too_short",
            "Deflated data are shorter than declared.",
            zip_of([Entry("archive/data.pkl", pickled, deflated=True, size=len(pickled) + 1), *entries()[1:]]),
        ),
        file(
            "deflated_too_long",
            "Deflated data are longer than declared.",
            zip_of([Entry("archive/data.pkl", pickled, deflated=True, size=len(pickled) - 1), *entries()[1:]]),
        ),
        file(
            "deflated_crc",
            "Deflated data have a wrong checksum.",
            zip_of([Entry("archive/data.pkl", pickled, deflated=True, crc=1), *entries()[1:]]),
        ),
        file(
            "deflated_garbage",
            "Deflated data are none.",
            zip_of([Entry("archive/data.pkl", pickled, deflated=True, raw=b"\xff" * 400), *entries()[1:]]),
        ),
        file("method_12", "data.pkl in bzip2.", zip_of(first(method=12))),
        file("stored_as_deflated", "Stored data are called deflated.", zip_of(first(method=8))),
        file(
            "sound_deflated_header_gap",
            "The directory is 1 MB behind the last entry.",
            zip_of(deflated, gap=bytes(1 << 20)),
            may_convert=True,
        ),
    ]


def lying_directories():
    """End records and counts."""
    sound = entries()
    number = len(sound)
    _, directory, _ = zip_parts(sound)
    return [
        file("count_zero", "The end record counts no entry.", zip_of(sound, count=0)),
        file("count_less", "It counts fewer entries than there are.", zip_of(sound, count=number - 1)),
        file("count_more", "It counts more.", zip_of(sound, count=number + 1)),
        file("count_most", "It counts 65,535.", zip_of(sound, count=0xFFFF)),
        file("directory_offset", "The directory lies elsewhere.", zip_of(sound, directory_offset=10)),
        file("directory_beyond", "The directory lies beyond the file.", zip_of(sound, directory_offset=0xFFFFFFF0)),
        file("directory_size", "The directory is larger than the file.", zip_of(sound, directory_size=0xFFFFFFF0)),
        file("directory_short", "The directory is a byte shorter.", zip_of(sound, directory_size=len(directory) - 1)),
        file("zip64_count", "A zip64 record counts 2^60 entries.", zip64_of(sound, count=2**60)),
        file("zip64_directory_size", "A zip64 directory of 2^63 bytes.", zip64_of(sound, directory_size=2**63)),
        file("zip64_directory_offset", "A zip64 directory at 2^64 - 1.", zip64_of(sound, directory_offset=2**64 - 1)),
        file("zip64_record_offset", "The zip64 record lies at 2^64 - 57.", zip64_of(sound, record_offset=2**64 - 57)),
        file("only_end", "An end record and nothing else.", end_record(0, 0, 0)),
        file("only_end_counted", "An end record that counts entries.", end_record(5, 230, 0)),
        file("prepended", "A megabyte before the archive.", zip_of(sound, prefix=bytes(1 << 20))),
        file("comment_length", "The comment is longer than the file.", zip_of(sound)[:-2] + b"\xff\xff"),
        file(
            "many_ends",
            "Thousands of end records, none with a comment that fits.",
            zip_of(sound) + (b"PK\5\6" + b"\xff" * 18) * 2900,
        ),
        file("many_empty_entries", "60,000 empty entries.", with_many(60_000, "archive/data/x{}"), may_convert=True),
        file("one_name", "20,000 entries of one name.", with_many(20_000, "archive/data/x")),
        file("name_of_64_kib", "An entry's name of 65,535 bytes.", with_entry(Entry("a" * 0xFFFF)), may_convert=True),
    ]


def with_many(count, name):
    return with_many_entries([Entry(name.format(index)) for index in range(count)])


def with_many_entries(more):
    """Like with_entry, for many: joined once, not one by one."""
    local, directory, offset = [], [], 0
    for entry in [*entries(), *more]:
        front, record, _ = zip_parts([entry], offset)
        local.append(front)
        directory.append(record)
        offset += len(front)
    records = b"".join(directory)
    return b"".join(local) + records + end_record(len(directory), len(records), offset)


def names():
    """Names that lead elsewhere, or stand twice."""
    climbing = [
        "../evil.txt",
        "archive/../../evil.txt",
        "/etc/evil",
        "..",
        "archive/..",
        "C:\\evil",
        "archive\\..\\..\\evil",
        "archive/\0evil",
        "archive/\x1b[31mevil",
        "",
        "archive/data/\u202egnp.exe",
    ]
    words = [
        "climbs",
        "climbs_inside",
        "absolute",
        "only_dots",
        "ends_in_dots",
        "drive",
        "backslash",
        "nul",
        "escape",
        "empty",
        "turned",
    ]
    found = [
        file(
            f"name_{word}", f"An entry named {name!r}.", with_entry(Entry(name, b"evil")), may_convert=word == "turned"
        )
        for word, name in zip(words, climbing, strict=True)
    ]
    pickled = contents()["data.pkl"]
    twins = [Entry("archive/data.pkl", pickled), *entries()]
    latin = with_entry(Entry(b"archive/\xff\xfe", b"evil"))
    return [
        *found,
        file("name_twice", "data.pkl stands twice.", zip_of(twins)),
        file(
            "name_other_case",
            "data/0 also stands as DATA/0.",
            with_entry(Entry("archive/DATA/0", b"evil")),
        ),
        file(
            "name_data_pkl_case",
            "data.pkl also stands as Data.pkl.",
            with_entry(Entry("archive/Data.pkl", b"evil")),
        ),
        file("name_not_utf8", "A name that is not UTF-8.", latin),
        file(
            "name_symlink",
            "A symbolic link to /etc/passwd in place of a storage.",
            zip_of(
                [
                    entry if entry.name != "archive/data/0" else Entry(entry.name, b"/etc/passwd", mode=0o120777)
                    for entry in entries()
                ]
            ),
        ),
        file(
            "name_folder_and_file",
            "archive/data is a file, and a folder.",
            with_entry(Entry("archive/data", b"evil")),
            may_convert=True,
        ),
        file("name_folder", "data.pkl is a folder.", zip_of([Entry("archive/data.pkl/"), *entries()[1:]])),
    ]


def zeros(name, size):
    """An entry of `size` zeros (whole MiB), deflated to a thousandth of that."""
    return dataclasses.replace(repeated(b"", bytes(1 << 20), size >> 20), name=name)


def overlapping(count, size):
    """Many entries of the directory that share one deflated body."""
    shared = zeros("archive/data/x0", size)
    front, directory, offsets = zip_parts([*entries(), shared])
    for index in range(1, count):
        more = dataclasses.replace(shared, name=f"archive/data/x{index}", offset=offsets[-1], written=False)
        directory += zip_parts([more])[1]
    return front + directory + end_record(len(entries()) + count, len(directory), len(front))


def nested_overlap():
    """Entries whose data hold the headers of the next, so that every byte is inflated many times."""
    sound = entries()
    front, directory, _ = zip_parts(sound)
    inner = Entry("archive/data/y1", b"x" * 100)
    inner_front, inner_directory, _ = zip_parts([inner], len(front) + 30 + len("archive/data/y0"))
    outer_front, outer_directory, _ = zip_parts([Entry("archive/data/y0", inner_front)], len(front))
    records = directory + outer_directory + inner_directory
    return front + outer_front + records + end_record(len(sound) + 2, len(records), len(front) + len(outer_front))


def bombs():
    """A few kilobytes that would fill a disk."""

    def with_bomb(name):
        return zip_of([zeros(name, GIB) if entry.name == name else entry for entry in entries()])

    pickle_bomb = zeros("archive/data.pkl", GIB)
    lying = dataclasses.replace(pickle_bomb, size=100)
    return [
        file("bomb_pickle", "data.pkl is 1 GiB of zeros in 1 MB.", with_bomb("archive/data.pkl")),
        file("bomb_storage", "A storage is.", with_bomb("archive/data/0")),
        file(
            "bomb_unused",
            "An entry that nobody needs is.",
            with_entry(zeros("archive/data/99", GIB)),
        ),
        file(
            "bomb_declared_small", "data.pkl inflates to 1 GiB and declares 100 bytes.", zip_of([lying, *entries()[1:]])
        ),
        file("bomb_version", "The entry version is.", with_bomb("archive/version")),
        file("bomb_overlapping", "200 entries share one body of 16 MiB.", overlapping(200, 16 << 20)),
        file("bomb_overlapping_small", "1,000 entries share one body of 1 MiB.", overlapping(1000, 1 << 20)),
        file("overlap_nested", "An entry lies in the data of another.", nested_overlap()),
        file(
            "bomb_in_bomb",
            "A zip bomb inside of a zip bomb.",
            with_entry(Entry("archive/data/99", zip_of([pickle_bomb]), deflated=True)),
            may_convert=True,
        ),
        file(
            "empty_blocks",
            "8 MB of empty deflate blocks.",
            zip_of(
                [
                    Entry(
                        "archive/data.pkl",
                        contents()["data.pkl"],
                        raw=b"\0\0\0\xff\xff" * 1_600_000 + deflate(contents()["data.pkl"]),
                        method=8,
                    ),
                    *entries()[1:],
                ]
            ),
            may_convert=True,
        ),
    ]


def files():
    """Every file of this class."""
    return [*lying_entries(), *lying_directories(), *names(), *bombs()]
