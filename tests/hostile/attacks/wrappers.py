"""A pickle that calls, in archives made so that scanners and loaders read different things."""

import bz2
import gzip
import io
import json
import struct
import tarfile
import zlib

from attacks.archive import Entry, deflate, end_record, zip64_of, zip_of, zip_parts
from attacks.assemble import called, whole
from attacks.record import SHELL, HostileFile
from attacks.sound import beside, contents, entries, fixture, weights

GROUP = "wrappers"
RUN = called("posix:system", SHELL)
SYSTEM = ("posix.system",)
EVIL = beside(RUN)
CLEAN = contents()["data.pkl"]


def file(name, about, data, runs=SYSTEM, *, proof=True, suffix=".pt", may_convert=False):
    return HostileFile(f"wrapper_{name}{suffix}", GROUP, about, data, runs, proof, may_convert=may_convert)


def changed(**fields):
    """The evil checkpoint with fields of the entry data.pkl changed."""
    made = entries(data_pkl=EVIL)
    for key, given in fields.items():
        setattr(made[0], key, given)
    return zip_of(made)


def with_fields_changed():
    """What strict readers of zip files refuse and PyTorch does not look at."""
    return [
        file("wrong_crc", "A wrong checksum of data.pkl.", changed(crc=0x12345678)),
        file(
            "encrypted_flag", "Marked as encrypted in the directory.", changed(flags=1, local_flags=0), (), proof=False
        ),
        file("encrypted_flag_local", "Marked as encrypted in its own header.", changed(local_flags=1)),
        file("encrypted_flag_both", "Marked as encrypted.", changed(flags=1), (), proof=False),
        file("strange_flags", "Reserved flag bits.", changed(flags=0xD780)),
        file("local_name", "Another name in its own header.", changed(local_name="archive/readme.m")),
        file("local_name_longer", "A longer name in its own header.", changed(local_name="archive/readme.markdown")),
        file("local_size", "Another size in its own header.", changed(local_size=1)),
        file("local_method", "Another method in its own header.", changed(local_method=8)),
        file("unknown_method", "Method 93 in its own header.", changed(local_method=93)),
        file("directory_attribute", "Marked as a folder.", changed(mode=0o040755)),
        file("symlink_attribute", "Marked as a symbolic link.", changed(mode=0o120777)),
        file(
            "local_extra",
            "A long extra field in its own header.",
            changed(local_extra=struct.pack("<HH", 0x4142, 4000) + bytes(4000)),
        ),
    ]


def with_names_changed():
    """Where scanners may not look for a pickle."""
    made = entries(data_pkl=EVIL)

    def renamed(rule):
        return [Entry(rule(entry.name), entry.body) for entry in made]

    hidden = [Entry("archive/data.pkl", EVIL, deflated=True), *made[1:]]
    twins = [Entry("archive/data.pkl", CLEAN), *made]
    twins_reversed = [*made, Entry("archive/data.pkl", CLEAN)]
    other_case = [*entries(), Entry("archive/DATA.PKL", EVIL)]
    other_case_first = [Entry("archive/DATA.PKL", EVIL), *entries()]
    extension = [*entries(), Entry("archive/extra.txt", whole(RUN))]
    in_storage = [entry if entry.name != "archive/data/11" else Entry(entry.name, whole(RUN)) for entry in entries()]
    jit = [*made, Entry("archive/constants.pkl", whole(RUN)), Entry("archive/code/__torch__.py", b"")]
    jit_constants = [*entries(), Entry("archive/constants.pkl", whole(RUN))]
    folders = [*entries(), *[Entry(entry.name.replace("archive/", "brchive/"), entry.body) for entry in made]]
    return [
        file("deflated", "data.pkl is deflated.", zip_of(hidden)),
        file(
            "top_folder",
            "The top folder is called a.txt.",
            zip_of(renamed(lambda name: name.replace("archive/", "a.txt/"))),
        ),
        file(
            "deep_top_folder",
            "Two top folders.",
            zip_of(renamed(lambda name: name.replace("archive/", "a/b/"))),
            (),
            proof=False,
        ),
        file(
            "no_top_folder",
            "No top folder.",
            zip_of(renamed(lambda name: name.replace("archive/", ""))),
            (),
            proof=False,
        ),
        file("twin_first_clean", "Two entries data.pkl, the first clean.", zip_of(twins), (), proof=False),
        file("twin_last_clean", "Two entries data.pkl, the last clean.", zip_of(twins_reversed)),
        file("other_case", "DATA.PKL calls, data.pkl is clean.", zip_of(other_case), (), proof=False),
        file("other_case_first", "The same in other order: PyTorch loads DATA.PKL.", zip_of(other_case_first)),
        file("two_archives", "Two top folders, the second calls.", zip_of(folders), (), proof=False),
        file(
            "extra_pickle", "A pickle that nobody loads, as .txt.", zip_of(extension), (), proof=False, may_convert=True
        ),
        file("in_storage", "A pickle in place of a storage.", zip_of(in_storage), (), proof=False, may_convert=True),
        file("torchscript", "A TorchScript archive whose data.pkl calls.", zip_of(jit), (), proof=False),
        file(
            "torchscript_constants",
            "A TorchScript archive whose constants.pkl calls.",
            zip_of(jit_constants),
            (),
            proof=False,
        ),
        file("zip64", "With zip64 records.", zip64_of(made)),
        file(
            "no_version",
            "Without the entry version.",
            zip_of([entry for entry in made if not entry.name.endswith("version")]),
            (),
            proof=False,
        ),
        file(
            "in_zip", "A checkpoint inside of a zip file.", zip_of([Entry("model.pt", zip_of(made))]), (), proof=False
        ),
    ]


def two_directories():
    """One file, two archives: readers choose by the end record they find."""
    clean, evil = zip_of(entries()), entries(data_pkl=EVIL)
    front, directory, _ = zip_parts(evil, len(clean))
    behind = clean + front + directory + end_record(len(evil), len(directory), len(clean) + len(front))
    length = struct.pack("<H", min(len(behind) - len(clean), 0xFFFF))
    in_comment = behind[: len(clean) - 2] + length + behind[len(clean) :]
    clean_front, clean_directory, _ = zip_parts(entries(), 0)
    evil_front, evil_directory, _ = zip_parts(evil, len(clean_front))
    first = end_record(len(evil), len(evil_directory), len(clean_front) + len(evil_front))
    middle = clean_front + evil_front + evil_directory + first
    last = clean_directory + end_record(len(evil), len(clean_directory), len(middle))
    fake_end = end_record(0, 0, 0)
    return [
        file("appended_archive", "A clean archive, then one that calls.", behind),
        file("archive_in_comment", "The second archive is the comment of the first.", in_comment),
        file(
            "clean_end_last",
            "The directory that calls comes first, the clean one last.",
            middle + last,
            (),
            proof=False,
            may_convert=True,
        ),
        file(
            "end_in_comment",
            "The comment holds an end record of an empty archive.",
            zip_of(evil, comment=fake_end),
            (),
            proof=False,
        ),
        file("appended_text", "Text behind the end record.", zip_of(evil) + b"# end\n" * 10),
        file("prepended_text", "Text before the archive.", zip_of(evil, prefix=b"# a script\n"), (), proof=False),
        file(
            "pickle_before_zip",
            "A pickle that calls before a clean archive.",
            whole(RUN) + zip_of(entries(), base=len(whole(RUN))),
        ),
    ]


def tar_of(bodies):
    """The format of PyTorch before 0.1.10."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, body in bodies.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()


def numpy_object_array(pickled):
    """A .npy file of dtype object."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + pickled


def pickle_and_safetensors():
    """Sound safetensors with a header that is also the start of a pickle.

    The header's length is BINBYTES to pickle, with a length of its own; a UNICODE inside of the metadata skips the
    rest of the header up to its last byte, a newline; what follows is data to one reader and opcodes to the other.
    """
    evil = b"0" + RUN + b"."
    for length in range(64, 4096):
        size = 0x42 + 256 * length
        start = length + 5 - 8  # of what follows the BINBYTES, in the header
        note = b'{"__metadata__":{"a":"'
        if start < len(note):
            continue
        tail = (
            b'"},"x":'
            + json.dumps({"dtype": "U8", "shape": [len(evil)], "data_offsets": [0, len(evil)]}).encode()
            + b"}"
        )
        header = note + b"-" * (start - len(note)) + b"V" + tail
        if size >= len(header) + 1:
            return struct.pack("<Q", size) + header + b" " * (size - len(header) - 1) + b"\n" + evil
    raise AssertionError("no length fits")


def other_wrappers():
    """Formats other than zip."""
    evil, plain = zip_of(entries(data_pkl=EVIL)), whole(RUN)
    nothing = {"storages": whole(0) + whole([]), "tensors": whole(0), "pickle": whole({})}
    parts, main = nothing | {"storages": plain}, nothing | {"pickle": plain}
    compressed_pickle = zlib.compress(plain)
    return [
        file("gzip", "A checkpoint in gzip.", gzip.compress(evil, mtime=0), (), proof=False),
        file("bzip2", "A checkpoint in bzip2.", bz2.compress(evil), (), proof=False),
        file("zlib_joblib", "A pickle in zlib, as joblib writes it.", compressed_pickle, (), proof=False),
        file("seven_zip", "The magic of a 7z archive, then a pickle.", b"7z\xbc\xaf\x27\x1c" + plain, (), proof=False),
        file("tar_storages", "The tar format; the list of storages calls.", tar_of(parts)),
        file("tar_pickle", "The tar format; the main pickle calls.", tar_of(main)),
        file("npy", "A NumPy array of objects as a checkpoint.", numpy_object_array(plain), (), proof=False),
        file(
            "npz",
            "An .npz with such an array as a checkpoint.",
            zip_of([Entry("a.npy", numpy_object_array(plain))]),
            (),
            proof=False,
        ),
        file(
            "safetensors_polyglot",
            "Valid safetensors, and a pickle that calls.",
            pickle_and_safetensors(),
            suffix=".pt",
        ),
        file(
            "safetensors_appended",
            "A pickle behind sound safetensors.",
            fixture("forms/safetensors_gru.safetensors") + plain,
            (),
            proof=False,
            suffix=".safetensors",
        ),
        file("storage_as_pickle", "A raw deflate stream.", deflate(plain), (), proof=False),
        file("bom", "A byte order mark before the pickle.", b"\xef\xbb\xbf" + plain, (), proof=False),
        file(
            "weights_then_pickle",
            "Raw opcodes without a frame, as .pth.",
            b"]0" + RUN + b"0" + weights() + b".",
            suffix=".pth",
        ),
    ]


def files():
    """Every file of this class."""
    return [*with_fields_changed(), *with_names_changed(), *two_directories(), *other_wrappers()]
