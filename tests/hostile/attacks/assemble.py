"""An assembler for pickles: expressions are bytes that leave one value on the pickle machine's stack."""

import pickle
import struct


class Code(bytes):
    """An assembled expression, as opposed to a bytes object to be pickled."""


def text(value):
    """A str."""
    raw = value.encode("utf-8", "surrogatepass")
    return Code(pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw)


def integer(value):
    """An int of any size."""
    if -(2**31) <= value < 2**31:
        return Code(pickle.BININT + struct.pack("<i", value))
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return Code(pickle.LONG1 + bytes([len(raw)]) + raw)


def value(thing):
    """Plain data; what is assembled already stands for itself."""
    if isinstance(thing, Code):
        return thing
    if thing is None:
        return Code(pickle.NONE)
    if isinstance(thing, bool):
        return Code(pickle.NEWTRUE if thing else pickle.NEWFALSE)
    if isinstance(thing, int):
        return integer(thing)
    if isinstance(thing, float):
        return Code(pickle.BINFLOAT + struct.pack(">d", thing))
    if isinstance(thing, str):
        return text(thing)
    if isinstance(thing, bytes):
        return Code(pickle.BINBYTES + struct.pack("<I", len(thing)) + thing)
    if isinstance(thing, tuple):
        return Code(pickle.MARK + b"".join(map(value, thing)) + pickle.TUPLE)
    if isinstance(thing, list):
        return Code(pickle.MARK + b"".join(map(value, thing)) + pickle.LIST)
    if isinstance(thing, dict):
        return Code(pickle.MARK + b"".join(value(key) + value(item) for key, item in thing.items()) + pickle.DICT)
    raise TypeError(f"no opcodes for {thing!r}")


def named(path):
    """The class or function `module:name`, by GLOBAL. Dots in the name need protocol 4."""
    module, name = path.split(":")
    return Code(pickle.GLOBAL + f"{module}\n{name}\n".encode())


def called(callee, *arguments):
    """The result of calling `callee` (a path, or an expression) by REDUCE."""
    function = callee if isinstance(callee, Code) else named(callee)
    return Code(function + value(arguments) + pickle.REDUCE)


def put(number):
    """Keeps the top of the stack in the memo."""
    return pickle.LONG_BINPUT + struct.pack("<I", number)


def get(number):
    """What the memo holds."""
    return Code(pickle.LONG_BINGET + struct.pack("<I", number))


def whole(code, protocol=2):
    """A pickle of one value."""
    return pickle.PROTO + bytes([protocol]) + value(code) + pickle.STOP


def framed(body):
    """`body` in a FRAME of its own."""
    return pickle.FRAME + struct.pack("<Q", len(body)) + body
