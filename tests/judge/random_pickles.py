"""Random pickles: of random values, of random opcodes, and damaged."""

import collections
import decimal
import fractions
import io
import pickle
import pickletools
import random
import struct
import uuid

# ------------------------------------------------------------------------------------------------------ random values

TEXTS = [
    "",
    "a",
    "weight",
    "layers.0.bias",
    "é",
    "日本",
    "🤟",
    "\ud800",
    "a\ud83e\udd1f",
    "\x00\n\\u0041",
    "\\N'\"",
    "\u2028",
]
INTEGERS = [
    0,
    1,
    -1,
    255,
    256,
    65535,
    65536,
    -(2**31),
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64,
    -(2**200),
]
FLOATS = [0.0, -0.0, 1.5, -2e300, 5e-324, 0.1, float("inf"), float("-inf"), float("nan")]


class Plain:
    """An object with attributes."""


class Slotted:
    """An object whose state is a pair."""

    __slots__ = ("a", "b")


class Rebuilt:
    """An object that says itself how it is made."""

    def __init__(self, parts):
        self.parts = parts

    def __reduce_ex__(self, protocol):
        return tuple(self.parts)


class WithKeywords:
    """An object made with keywords."""

    def __init__(self, arguments):
        self.arguments = arguments

    def __getnewargs_ex__(self):
        return (1, "x"), {"keyword": self.arguments}


class MyDict(dict):
    """A dict with attributes."""


class MyList(list):
    """A list with attributes."""


class External:
    """Something that the pickle refers to by an id."""


def scalar(rng):
    """A random value that holds no others."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice(INTEGERS)
    if kind == 2:
        return rng.randrange(-(2 ** rng.randrange(1, 130)), 2 ** rng.randrange(1, 130))
    if kind == 3:
        return rng.choice(FLOATS)
    if kind == 4:
        return struct.unpack("<d", rng.randbytes(8))[0]
    if kind == 5:
        return rng.randbytes(rng.choice([0, 1, 3, 255, 256, 300]))
    if kind == 6:
        return bytearray(rng.randbytes(rng.choice([0, 5])))
    return rng.choice(TEXTS) * rng.choice([1, 1, 1, 2, 300])


def key(rng):
    """A random key of a dict."""
    value = scalar(rng)
    return bytes(value) if isinstance(value, bytearray) else value


def value(rng, depth=0, made=None, classes=True):
    """A random value; now and then one that was made before, so that values are shared and cycles appear."""
    made = [] if made is None else made
    if made and rng.random() < 0.2:
        return rng.choice(made)
    if depth > 5 or rng.random() < 0.4:
        result = scalar(rng)
        made.append(result)
        return result
    kind = rng.randrange(12 if classes else 6)
    child = lambda: value(rng, depth + 1, made, classes)  # noqa: E731
    count = rng.choice([0, 1, 2, 3, 4, 5, 20 if depth == 0 else 1])
    if kind in (0, 1):
        result = []
        made.append(result)  # before its items, which may refer to it
        result.extend(child() for _ in range(count))
    elif kind in (2, 3):
        result = {}
        made.append(result)
        for _ in range(count):
            result[key(rng)] = child()
    elif kind == 4:
        result = tuple(child() for _ in range(count))
    elif kind == 5:
        result = rng.choice([set, frozenset])(key(rng) for _ in range(count))
    else:
        result = instance(rng, child, made)
    made.append(result)
    return result


def instance(rng, child, made):
    """A random object."""
    kind = rng.randrange(10)
    if kind == 0:
        result = Plain()
        made.append(result)
        result.__dict__.update({rng.choice(TEXTS[1:4]): child() for _ in range(3)})
        return result
    if kind == 1:
        result = Slotted()
        result.a = child()
        return result
    if kind == 2:
        return Rebuilt([rng.choice([Plain, len, MyDict]), (child(), child())])
    if kind == 3:
        return Rebuilt([Plain, (), child() or {"x": 1}, iter([child()]), iter([(key(rng), child())])])
    if kind == 4:
        return WithKeywords(child())
    if kind == 5:
        result = rng.choice([MyDict, collections.OrderedDict])((key(rng), child()) for _ in range(3))
        made.append(result)
        result.attribute = child()
        return result
    if kind == 6:
        result = MyList(child() for _ in range(3))
        result.attribute = child()
        return result
    if kind == 7:
        return rng.choice([Plain, dict, collections.OrderedDict, len, External(), External()])
    if kind == 8:
        return collections.defaultdict(list, {key(rng): child()})
    return rng.choice(
        [1 + 2j, decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), range(3), slice(1, 2)]
    )


class Pickler(pickle.Pickler):
    """Python's pickler with persistent ids."""

    def persistent_id(self, obj):
        return "storage 0" if isinstance(obj, External) else None


class SlowPickler(pickle._Pickler):
    """The pickler written in Python, which writes some opcodes that the other does not."""

    persistent_id = Pickler.persistent_id


def dump(rng, content, protocol):
    """The pickle of a value, and sometimes bytes after it."""
    file = io.BytesIO()
    rng.choice([Pickler, Pickler, SlowPickler])(file, protocol).dump(content)
    data = file.getvalue()
    if rng.random() < 0.2:
        data = pickletools.optimize(data)
    return data + rng.choice([b"", b"", b"", b"N.", b"after"])


def of_value(rng):
    """The pickle of a random value, in any protocol."""
    while True:
        try:
            return dump(rng, value(rng), rng.randrange(6))
        except (pickle.PicklingError, AssertionError, TypeError):  # slots in protocol 0, a cycle through a reduction
            continue


# ----------------------------------------------------------------------------------------------------- random opcodes

OPCODES = {each.name: each for each in pickletools.opcodes}
# fmt: off
LINES = [
    b"builtins", b"os", b"torch._utils", b"copyreg", b"__newobj__", b"_reconstructor", b"a.b", b"caf\xc3\xa9",
    b"\xed\xa0\x80", b"\xff", b"", b"'a'", b"'\\x41\\n\\101\\q'", b"\"it's\"", b"'\\", b"'\xc3\xa9\xff'",
    b"\\u00e9\\U0001f91f", b"\\ud800", b"\\u12", b"\\U00110000", b"\\\\u0041",
]
GOOD_NUMBERS = {
    "INT": [b"0", b"1", b"00", b"01", b"-7", b"12345678901234567890", b"-9223372036854775809", b"-0"],
    "LONG": [b"0", b"5L", b"-9223372036854775808L", b"12345678901234567890123L", b"1"],
    "FLOAT": [
        b"1", b"1.0", b"0", b"1.5", b"-1e300", b"1e999", b"-1e999", b"1e-999", b"nan", b"-inf", b"Infinity", b".5",
        b"5.", b"-0",
    ],
}
NUMBERS = [
    b"0", b"1", b"00", b"01", b"-7", b"007", b"12345678901234567890", b"-9223372036854775809", b"5L", b"L", b"", b"1_0",
    b" 3", b"+4", b"0x10", b"1.5", b"-1e300", b"1e999", b"-1e999", b"1e-999", b"nan", b"-inf", b"Infinity", b"nan(1)",
    b".5", b"5.", b"1e", b"0x1p3", b"-0",
]
# fmt: on


def counted(rng, size):
    """A length and so many bytes, or nearly."""
    body = rng.choice(
        [
            b"",
            b"x",
            b"weight",
            "é🤟".encode(),
            b"\xed\xa0\x80",
            b"\xff\xfe",
            b"\x00" * 9,
            b"\xff" * 9,
            rng.randbytes(12),
        ]
    )
    length = len(body)
    if rng.random() < 0.03:
        length = rng.choice([length + 1, 0, 2 ** (8 * size) - 1, 2 ** (8 * size - 1)]) % 2 ** (8 * size)
    return length.to_bytes(size, "little") + body


def argument(rng, name, memo):
    """The bytes that follow an opcode."""
    kind = OPCODES[name].arg
    if kind is None:
        return b""
    if name == "PROTO":
        return bytes([rng.choice([0, 2, 3, 4, 5, 5, 6 if rng.random() < 0.1 else 4])])
    if name == "FRAME":
        return struct.pack("<Q", rng.choice([0, 1, 5, 5, 1000]))
    if "PUT" in name or "GET" in name:
        number = (
            rng.choice(sorted(memo))
            if "GET" in name and memo and rng.random() < 0.95
            else rng.choice([0, 1, 2, 3, 9, 200])
        )
        if "PUT" in name:
            number = 2**32 - 1 if name == "LONG_BINPUT" and rng.random() < 0.02 else number
            memo.add(number)
        return b"%d\n" % number if kind.n < 0 else (number % 256**kind.n).to_bytes(kind.n, "little")
    if kind.n == pickletools.UP_TO_NEWLINE:
        if name in GOOD_NUMBERS:
            return rng.choice(GOOD_NUMBERS[name] if rng.random() < 0.97 else NUMBERS) + b"\n"
        lines = 2 if name in ("GLOBAL", "INST") else 1
        good = [line for line in LINES if line.isascii() and b"\\" not in line]
        return b"".join(rng.choice(good if rng.random() < 0.9 else LINES) + b"\n" for _ in range(lines))
    if kind.n >= 0:
        return rng.randbytes(kind.n)
    return counted(rng, {pickletools.TAKEN_FROM_ARGUMENT1: 1}.get(kind.n, 8 if name.endswith("8") else 4))


CONTAINERS = {
    pickletools.pylist: "list",
    pickletools.pytuple: "tuple",
    pickletools.pydict: "dict",
    pickletools.pyset: "set",
}
WANTS = {"APPEND": "list", "APPENDS": "list", "ADDITEMS": "set", "SETITEM": "dict", "SETITEMS": "dict"}
CALLS = {"REDUCE": 1, "NEWOBJ": 1, "NEWOBJ_EX": 2, "BUILD": 1}


class Program:
    """A random program for the pickle machine, written opcode by opcode.

    `stack` holds what the opcodes so far left there ("mark" for marks), by what pickletools says of each, so that most
    programs get far. Nothing depends on its being right.
    """

    def __init__(self, rng):
        self.rng = rng
        self.data = b""
        self.stack = []
        self.memo = set()

    def emit(self, name):
        opcode = OPCODES[name]
        self.data += opcode.code.encode("latin-1") + argument(self.rng, name, self.memo)
        if name == "MEMOIZE":
            self.memo.add(len(self.memo))
        before = opcode.stack_before
        if pickletools.markobject in before and name != "MARK":
            while self.stack and self.stack.pop() != "mark":
                pass
            before = before[: before.index(pickletools.markobject)]
        if before:
            del self.stack[-len(before) :]
        for pushed in opcode.stack_after:
            self.stack.append("mark" if pushed is pickletools.markobject else CONTAINERS.get(pushed, self.kind(name)))

    def emit_dict(self):
        """A dict whose keys are scalars, some of them equal."""
        one = [b"I1\n", b"I01\n", b"\x88", b"G?\xf0" + bytes(6), b"\x8a\x01\x01"]
        keys = [b"N", b"\x89", b"F-0\n", b"F0.5\n", b"Fnan\n", b"C\x02aa", b"U\x02aa", b"\x8c\x02aa", *one]
        self.emit("MARK")
        for _ in range(self.rng.randrange(8)):
            self.data += self.rng.choice(keys) + b"K" + self.rng.randbytes(1)
        self.emit("DICT")

    def kind(self, name):
        """What an opcode leaves, where pickletools says only that it is any object."""
        if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD"):
            return "object"
        if name in ("GLOBAL", "STACK_GLOBAL"):
            return "class"
        if "UNICODE" in name:
            return "text"
        return "any"

    def since_mark(self):
        """How many values stand above the last mark; None if there is no mark."""
        return self.stack[::-1].index("mark") if "mark" in self.stack else None

    def fits(self, name):
        """Whether the opcode would find what it needs."""
        above = self.since_mark()
        room = len(self.stack) if above is None else above
        before = OPCODES[name].stack_before
        if name == "OBJ":
            return above and self.stack[-above] in ("class", "object")
        if name in ("APPENDS", "ADDITEMS", "SETITEMS", "DICT") and above is not None:
            if "ITEMS" in name[3:] + name[:3] and name != "ADDITEMS" and above % 2:
                return False
            if name == "DICT":
                return above % 2 == 0
            return above < len(self.stack) - 1 and self.stack[-above - 2] in (WANTS[name], "object")
        if pickletools.markobject in before and name != "MARK":
            return above is not None
        if room < len(before) or (name in ("MEMOIZE", "DUP") or "PUT" in name) and room == 0:
            return False
        if "GET" in name and not self.memo:
            return False
        if name in WANTS:
            return self.stack[-len(before)] in (WANTS[name], "object")
        if name in CALLS and self.stack[-len(before)] not in (("object",) if name == "BUILD" else ("class", "object")):
            return False
        if name in ("REDUCE", "NEWOBJ") and self.stack[-1] != "tuple":
            return False
        if name == "NEWOBJ_EX" and self.stack[-2:] != ["tuple", "dict"]:
            return False
        return name != "STACK_GLOBAL" or self.stack[-2:] == ["text", "text"]


def of_opcodes(rng):
    """A random program; one in three holds an opcode that does not fit."""
    program = Program(rng)
    wrong = rng.random() < 0.33
    names = [*OPCODES, "dict of scalars"]
    if rng.random() < 0.8:
        program.emit("MARK")  # so that all that is left in the end is part of the value
    refused = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "STOP"}
    for _ in range(rng.choice([3, 10, 30, 100])):
        name = rng.choice(names)
        if name not in OPCODES:
            program.emit_dict()
            continue
        any_goes = wrong and rng.random() < 0.03
        if any_goes or (name not in refused and program.fits(name)):
            program.emit(name)
    while "mark" in program.stack and rng.random() < 0.97:
        program.emit(rng.choice(["TUPLE", "LIST", "POP_MARK", "FROZENSET"]))
    if not program.stack and rng.random() < 0.97:
        program.emit("EMPTY_LIST")
    return program.data + (b"." if rng.random() < 0.98 else b"")


def damaged(rng):
    """A pickle with a few bytes changed, moved or cut."""
    data = bytearray(rng.choice([of_value, of_opcodes])(rng)[:4000])
    codes = [ord(each.code) for each in pickletools.opcodes]
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + 1] = [rng.choice(codes)]
        elif kind == 1:
            data[at : at + 1] = rng.randbytes(1)
        elif kind == 2:
            data[at:at] = [rng.choice(codes)]
        elif kind == 3:
            del data[at : at + rng.choice([1, 4])]
        else:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + 20]
    return bytes(data)
