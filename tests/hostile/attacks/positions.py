"""A call at a place that a reader may not reach: before damage, after the end, in another of the file's pickles."""

import dataclasses
import pickle
import pickletools
import struct

from attacks.archive import repeated, zip_of
from attacks.assemble import Code, called, named, text, whole
from attacks.record import SHELL, HostileFile
from attacks.sound import checkpoint, entries, fixture, weights

GROUP = "positions"
RUN = called("posix:system", SHELL)
SYSTEM = ("posix.system",)


def file(name, about, data, runs=SYSTEM, *, proof=True, suffix=".pt", mentions=(), may_convert=False):
    return HostileFile(
        f"position_{name}{suffix}", GROUP, about, data, runs, proof, may_convert=may_convert, mentions=mentions
    )


def before_damage():
    """Python calls while it reads: what comes later can't undo it."""
    head = b"\x80\x04" + weights() + b"0" + RUN + b"0"
    endings = [
        ("truncated", "The pickle ends after the call.", b""),
        ("unknown_opcode", "A byte that is no opcode follows.", b"\xfe"),
        ("empty_stack", "POP on an empty stack follows.", b"0000."),
        ("missing_memo", "A memo number that was never set follows.", b"h\xff."),
        ("bad_utf8", "A text that is not UTF-8 follows.", b"X\2\0\0\0\xff\xfe."),
        ("bad_number", "INT that is no number follows.", b"Ifive\n."),
        ("long_number", "LONG with 10,000 digits follows, which Python refuses.", b"L" + b"9" * 10_000 + b"L\n."),
        ("huge_text", "A text longer than the file follows.", b"\x8d" + b"\xff" * 7 + b"\x7f."),
        ("unknown_protocol", "PROTO 200 follows.", b"\x80\xc8."),
        ("unknown_class", "A class of a module that doesn't exist follows.", b"cno_such_module\nThing\n."),
        ("open_mark", "STOP with an open mark follows.", b"(."),
        ("two_values", "STOP with a further value on the stack follows.", b"NN."),
        ("second_proto", "PROTO of another protocol follows.", b"\x80\x02" + weights() + b"."),
    ]
    return [file(f"before_{name}", about, checkpoint(head + ending)) for name, about, ending in endings]


def after_the_end():
    """Behind STOP, where PyTorch reads nothing."""
    return [
        file(
            "after_stop",
            "A second pickle after STOP, which nobody loads.",
            checkpoint(b"\x80\x02" + weights() + b"." + whole(RUN)),
            (),
            proof=False,
            may_convert=True,
        ),
        file(
            "after_frame",
            "A frame that ends before the call.",
            checkpoint(b"\x80\x04\x95\2\0\0\0\0\0\0\0N0" + RUN + b"."),
            proof=True,
        ),
        file(
            "in_empty_frame",
            "Frames of no byte around the call.",
            checkpoint(b"\x80\x04\x95" + bytes(8) + RUN + b"\x95" + bytes(8) + b"."),
            proof=True,
        ),
        file(
            "in_huge_frame",
            "A frame of 2^62 bytes.",
            checkpoint(b"\x80\x04" + RUN + b"0\x95" + struct.pack("<Q", 2**62) + b"N."),
        ),
    ]


def legacy_parts():
    """The legacy format: three small pickles, the main one, the list of storages, then the storages."""
    data = fixture("forms/legacy.pt")
    parts, start = [], 0
    for _ in range(5):
        end = stop_of(data, start)
        parts.append(data[start:end])
        start = end
    return parts, data[start:]


def stop_of(data, start):
    """Where the pickle at `start` ends."""
    *_, (_, _, position) = pickletools.genops(data[start:])
    return start + position + 1


def in_legacy_files():
    """Each pickle of a legacy file with the call before its value."""
    names = ["magic", "protocol", "system", "main", "storages"]
    parts, storages = legacy_parts()
    found = []
    for index, name in enumerate(names):
        changed = list(parts)
        changed[index] = parts[index][:2] + RUN + b"0" + parts[index][2:]
        found.append(
            file(f"legacy_{name}", f"In the legacy format's pickle of the {name}.", b"".join(changed) + storages)
        )
    more = b"".join(parts) + whole(RUN) + storages
    found.append(file("legacy_sixth", "A sixth pickle, where storages should start.", more, (), proof=False))
    found.append(
        file(
            "legacy_behind",
            "A pickle behind the last storage.",
            b"".join(parts) + storages + whole(RUN),
            (),
            proof=False,
            may_convert=True,
        )
    )
    number = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    computed = b"\x80\x02" + RUN + b"0" + number[2:]
    found.append(file("legacy_only_magic", "The call, then the magic number, then nothing.", computed))
    return found


def plain_pickles():
    """Pickles without PyTorch's frame, under any name: torch.load looks into the file, not at its name."""
    system, shell = named("posix:system"), SHELL.encode()
    protocol_0 = b"cposix\nsystem\n(S'" + shell + b"'\ntR."
    return [
        file("plain_protocol_0", "A text file by its looks.", protocol_0),
        file("plain_after_number", "It starts as a number.", b"I119547037146038801333356\n0" + protocol_0),
        file(
            "plain_after_magic",
            "It starts with PyTorch's magic number in decimal.",
            b"L119547037146038801333356L\n0" + protocol_0,
        ),
        file("plain_dict", "It starts with an empty dict.", b"}0" + protocol_0),
        file("plain_inst", "INST first.", b"(S'" + shell + b"'\niposix\nsystem\n."),
        file("plain_newline", "It starts with a text.", b"Vversion https://git-lfs.github.com/spec/v1\n0" + protocol_0),
        file("plain", "Protocol 2.", whole(RUN), suffix=".bin"),
        file("plain_protocol_4", "Protocol 4.", pickle_4(system), suffix=".ckpt"),
        file("plain_pth", "Protocol 4, as .pth.", pickle_4(system), suffix=".pth"),
        file("plain_pkl", "Protocol 2, as .pkl.", whole(RUN), suffix=".pkl"),
        file("named_safetensors", "Protocol 2, named .safetensors.", whole(RUN), suffix=".safetensors", proof=False),
        file("named_png", "Protocol 2, named .png.", whole(RUN), suffix=".png"),
        file(
            "sound_dict_in_plain",
            "The call, then a state dict, in a plain pickle.",
            b"\x80\x02" + RUN + b"0" + weights() + b".",
        ),
        file("empty_first", "An empty pickle, then one that calls.", b"\x80\x02}." + whole(RUN), (), proof=False),
    ]


def lookalikes():
    """Pickles whose first opcode makes them look like other files."""
    plain = b"0cposix\nsystem\n(S'" + SHELL.encode() + b"'\ntR."
    tar = b"\x80\2X" + struct.pack("<I", 400) + (b"x" * 250 + b"ustar").ljust(400, b"x")
    starts = {
        "gguf": b"GGUF" + bytes(5),  # BINFLOAT
        "tflite": b"N0N0TFL3\0" + bytes(0x334C46),  # BINSTRING
        "bzip2": b"BZh\0\0" + bytes(0x685A),  # BINBYTES
        "zeros": b"B\0\x10\0\0" + bytes(4096),
        "tar": tar,
        "sentence": b"S'These are not the weights.'\n",
        "json": b"]",
    }
    return [file(f"like_{word}", f"It looks like {word}.", start + plain) for word, start in starts.items()]


def far_away():
    """Behind much that does nothing."""

    def behind(mebibytes):
        idle = repeated(b"\x80\2", b"N0" * (1 << 19), mebibytes, RUN + b"0" + weights() + b".")
        return zip_of([dataclasses.replace(idle, name="archive/data.pkl"), *entries()[1:]])

    return [
        file(f"behind_{size}_mib", f"The call comes after {size} MiB of opcodes.", behind(size)) for size in (60, 100)
    ]


def pickle_4(system):
    return b"\x80\x04" + Code(system + text(SHELL) + b"\x85R") + b"."


def files():
    """Every file of this class."""
    return [*before_damage(), *after_the_end(), *in_legacy_files(), *plain_pickles(), *lookalikes(), *far_away()]
