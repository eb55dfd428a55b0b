"""Sound files that end too early: at every boundary of their structure."""

import pickletools
import struct

from attacks.positions import legacy_parts
from attacks.record import HostileFile
from attacks.sound import checkpoint, contents, fixture

GROUP = "truncated"


def file(kind, length, about, data, suffix=".pt"):
    return HostileFile(
        f"truncated_{kind}_{length:06}{suffix}", GROUP, f"{about}: {length} of {len(data)} bytes.", data[:length]
    )


def zip_boundaries(data):
    """Where headers, names, data, records of the directory and its end start, and a few bytes past the start."""
    found, position = {}, 0
    records = {
        b"PK\3\4": "an entry's header",
        b"PK\1\2": "a record of the directory",
        b"PK\5\6": "the end record",
        b"PK\6\6": "the zip64 record",
        b"PK\6\7": "the zip64 locator",
    }
    while (position := data.find(b"PK", position)) >= 0:
        about = records.get(data[position : position + 4])
        if about:
            found[position] = f"Ends before {about}"
            found[position + 9] = f"Ends in {about}"
        if about == "an entry's header":
            names, extra = struct.unpack_from("<HH", data, position + 26)
            found[position + 30 + names + extra] = "Ends before an entry's data"
        position += 2
    return found


def of_zip():
    """A zip checkpoint: every boundary of the first three entries, of the directory's first three and of the end."""
    data = fixture("variants/gru.pt")
    cuts = zip_boundaries(data) | {4: "Ends after the first signature", len(data) - 1: "Lacks its last byte"}
    kinds = {}
    for length, about in sorted(cuts.items()):
        kinds.setdefault(about, []).append(length)
    chosen = [(length, about) for about, lengths in kinds.items() for length in {*lengths[:4], *lengths[-2:]}]
    return [file("zip", length, about, data) for length, about in sorted(chosen) if 0 < length < len(data)]


def of_pickle():
    """data.pkl itself, in a sound archive: every eleventh opcode."""
    pickled = contents()["data.pkl"]
    cuts = [position for _, _, position in pickletools.genops(pickled)][1::11]
    return [
        HostileFile(
            f"truncated_pickle_{length:06}.pt",
            GROUP,
            f"data.pkl ends after {length} of {len(pickled)} bytes.",
            checkpoint(pickled[:length]),
        )
        for length in cuts
    ]


def of_legacy():
    """The legacy format: each pickle, each storage."""
    data = fixture("forms/legacy.pt")
    parts, _ = legacy_parts()
    cuts, position = {}, 0
    for part in parts:
        cuts[position + len(part) // 2] = "Ends in one of the pickles"
        position += len(part)
        cuts[position] = "Ends after one of the pickles"
    for step in range(1, 6):
        cuts[position + (len(data) - position) * step // 6] = "Ends among the storages"
    cuts[len(data) - 1] = "Lacks its last byte"
    return [file("legacy", length, about, data) for length, about in sorted(cuts.items())]


def of_safetensors():
    """Length, header, data."""
    data = fixture("forms/safetensors_gru.safetensors")
    header = 8 + struct.unpack("<Q", data[:8])[0]
    cuts = {
        0: "Empty",
        7: "Ends in the length",
        8: "Ends after the length",
        9: "Ends after the first byte of the header",
        header // 2: "Ends in the header",
        header - 1: "Lacks the header's last byte",
        header: "Has no data",
        header + 4: "Has one number",
        len(data) - 1: "Lacks its last byte",
    }
    return [file("safetensors", length, about, data, ".safetensors") for length, about in cuts.items()]


def files():
    """Every file of this class."""
    return [*of_zip(), *of_pickle(), *of_legacy(), *of_safetensors()]
