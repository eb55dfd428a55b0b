"""Sound files with one bit turned: in the weights that goes unseen, elsewhere it is refused or means the same."""

import random

from attacks.record import HostileFile
from attacks.sound import contents, fixture

GROUP = "flipped"
SOURCES = {
    "zip": "variants/gru.pt",
    "deflated": "forms/zip_deflated.pt",
    "legacy": "forms/legacy.pt",
    "safetensors": "forms/safetensors_gru.safetensors",
}
EACH = 12


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def of(kind, source):
    """Half of the bits anywhere, half in the first and last kilobyte, where the structure is."""
    data = fixture(source)
    generator = random.Random(f"taper {kind}")
    anywhere = [generator.randrange(8 * len(data)) for _ in range(EACH // 2)]
    edge = [generator.randrange(8 * 1024) for _ in range(EACH // 4)]
    tail = [8 * len(data) - 1 - generator.randrange(8 * 1024) for _ in range(EACH // 4)]
    suffix = ".safetensors" if kind == "safetensors" else ".pt"
    return [
        HostileFile(
            f"flipped_{kind}_{bit:07}{suffix}",
            GROUP,
            f"Bit {bit % 8} of byte {bit // 8} of {source}.",
            flipped(data, bit),
            may_convert=True,
        )
        for bit in sorted({*anywhere, *edge, *tail})
    ]


def of_pickle():
    """Bits of data.pkl itself."""
    data, pickled = fixture("variants/gru.pt"), contents()["data.pkl"]
    start = data.index(pickled)
    generator = random.Random("taper pickle")
    bits = sorted(generator.sample(range(8 * len(pickled)), 2 * EACH))
    return [
        HostileFile(
            f"flipped_pickle_{bit:07}.pt",
            GROUP,
            f"Bit {bit % 8} of byte {bit // 8} of data.pkl.",
            flipped(data, 8 * start + bit),
            may_convert=True,
        )
        for bit in bits
    ]


def files():
    """Every file of this class."""
    return [made for kind, source in SOURCES.items() for made in of(kind, source)] + of_pickle()
