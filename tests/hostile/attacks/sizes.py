"""Pickles that are cyclic, deep, or large in effect: what costs an unwary reader its stack, its memory or its time."""

import dataclasses
import random
import struct

from attacks.archive import Entry, repeated, zip_of
from attacks.assemble import Code, called, get, named, put, text, value
from attacks.record import HostileFile
from attacks.sound import beside, entries, weights

GROUP = "sizes"
DEEP = 100_000
MILLION = 1_000_000


def compressed(pickled, padding=0):
    """A zip checkpoint whose data.pkl (a pickle, or an entry) is deflated; `padding` makes the archive larger."""
    entry = pickled if isinstance(pickled, Entry) else Entry("", pickled, deflated=True)
    more = [Entry("archive/data/99", random.Random("taper padding").randbytes(padding))] if padding else []
    return zip_of([dataclasses.replace(entry, name="archive/data.pkl"), *entries()[1:], *more])


def file(name, about, pickled, *, may_convert=False):
    return HostileFile(f"size_{name}.pt", GROUP, about, compressed(pickled), may_convert=may_convert)


def aside(name, about, code):
    """Beside sound weights: who never looks at it may convert."""
    return file(name, about, beside(Code(code)), may_convert=True)


def cycles():
    """Values that hold themselves."""
    module = named("torch.nn.modules.container:Sequential") + b")\x81" + put(9000)
    child = value(
        {"training": False, "_parameters": {}, "_buffers": {}, "_modules": Code(b"}" + text("0") + get(9000) + b"s")}
    )
    tuple_cycle = b"(]" + put(9001) + b"t" + put(9002) + b"0" + get(9001) + get(9002) + b"a"
    return [
        file(
            "dict_in_itself",
            "The state dict is in itself.",
            b"\x80\x02}" + put(1) + text("state_dict") + get(1) + b"s.",
        ),
        file(
            "state_dict_in_itself",
            "A sound state dict that also holds itself.",
            b"\x80\x02" + weights() + put(9000) + text("self") + get(9000) + b"s.",
        ),
        file(
            "two_dicts",
            "Two dicts hold each other.",
            b"\x80\x02}" + put(1) + text("model") + b"}" + put(2) + text("model") + get(1) + b"ss.",
        ),
        file("module_in_itself", "A module is its own child.", b"\x80\x02" + module + child + b"b."),
        file("modules_in_a_ring", "Modules are each other's children.", b"\x80\x02" + ring_of_modules(50) + b"."),
        aside("list_in_itself", "A list in itself.", b"]" + put(9000) + get(9000) + b"a"),
        aside("tuple_cycle", "A tuple in a list in that tuple.", tuple_cycle),
        aside(
            "object_state_itself",
            "An object is its own state.",
            named("argparse:Namespace") + b")\x81" + put(9000) + value({"a": Code(get(9000))}) + b"b",
        ),
        aside(
            "key_cycle",
            "A tuple that is the key of a dict that is in the tuple.",
            b"(}" + put(9000) + b"t" + put(9001) + b"0" + get(9000) + get(9001) + b"Ns",
        ),
    ]


def ring_of_modules(count):
    cls = named("torch.nn.modules.container:Sequential")
    made = b"".join(cls + b")\x81" + put(9000 + index) + b"0" for index in range(count))
    states = b""
    for index in range(count):
        child = Code(b"}" + text("next") + get(9000 + (index + 1) % count) + b"s")
        state = value({"training": False, "_parameters": {}, "_buffers": {}, "_modules": child})
        states += get(9000 + index) + state + b"b0"
    return made + states + get(9000)


def depths():
    """100,000 levels."""
    nested_modules = b""
    cls = named("torch.nn.modules.container:Sequential")
    tail = b""
    for _ in range(2000):
        nested_modules += (
            cls
            + b")\x81("
            + value("_parameters")
            + b"}"
            + value("_buffers")
            + b"}"
            + value("_modules")
            + b"}"
            + value("0")
        )
        tail += b"sdb"
    dicts = (b"}" + text("model")) * DEEP + b"}" + b"s" * DEEP
    return [
        file("deep_dicts", "100,000 dicts under the key `model`.", b"\x80\x02" + dicts + b"."),
        file("deep_modules", "2,000 modules inside each other.", b"\x80\x02" + nested_modules + b"N" + tail + b"."),
        aside("deep_lists", "100,000 lists inside each other.", b"]" * DEEP + b"a" * (DEEP - 1)),
        aside("deep_tuples", "100,000 tuples inside each other.", b")" + b"\x85" * DEEP),
        aside("deep_dicts_aside", "100,000 dicts inside each other.", (b"}N") * DEEP + b"N" + b"s" * DEEP),
        aside("deep_sets", "100,000 frozen sets inside each other.", b"(" * DEEP + b"\x91" * DEEP),
        aside(
            "deep_calls",
            "100,000 calls, each the argument of the next.",
            named("collections:OrderedDict")
            + put(9000)
            + b"0"
            + get(9000) * DEEP
            + b")"
            + b"R\x85" * (DEEP - 1)
            + b"R",
        ),
        aside(
            "deep_states",
            "100,000 states inside each other.",
            named("argparse:Namespace") + put(9000) + b"0" + (get(9000) + b")\x81") * DEEP + b"b" * (DEEP - 1),
        ),
        aside("deep_persistent", "100,000 persistent ids inside each other.", b"N" + b"Q" * DEEP),
        aside("called_results", "100,000 times the result is called.", named("functools:partial") + b")R" * DEEP),
        aside("deep_marks", "100,000 marks, each closed to a tuple.", b"(" * DEEP + b"t" * DEEP),
        file("open_marks", "A million marks, never closed.", b"\x80\x02" + b"(" * MILLION + b"."),
    ]


def laughs():
    """Shared values, each holding the last one many times: small in memory, endless to walk."""
    tuples = b"N" + b"2\x86" * 200
    lists = b"]" + b"".join(put(9000 + i) + b"](" + get(9000 + i) * 10 + b"e" for i in range(60)).replace(b"](", b"0](")
    dicts = value({}) + b"".join(
        put(9000 + i) + b"0" + value({"a": Code(get(9000 + i)), "b": Code(get(9000 + i))}) for i in range(120)
    )
    doubled_models = value({}) + b"".join(
        put(9000 + i) + b"0" + value({"model": Code(get(9000 + i)), "state_dict": Code(get(9000 + i))})
        for i in range(60)
    )
    modules = b"".join(
        named("torch.nn.modules.container:Sequential")
        + b")\x81"
        + value(
            {
                "training": False,
                "_parameters": {},
                "_buffers": {},
                "_modules": {"a": Code(get(9000 + i)), "b": Code(get(9000 + i))} if i else {},
            }
        )
        + b"b"
        + put(9001 + i)
        + b"0"
        for i in range(60)
    )
    return [
        aside("laughs_tuples", "200 times a pair of the last pair.", tuples),
        aside("laughs_lists", "60 times a list of ten times the last list.", lists),
        aside("laughs_dicts", "120 times a dict of the last dict, twice.", dicts),
        file("laughs_models", "60 levels of {model, state_dict}, both the same.", b"\x80\x02" + doubled_models + b"."),
        file(
            "laughs_modules",
            "60 levels of modules, each with the last one as two children.",
            b"\x80\x02" + modules + get(9060) + b".",
        ),
        file(
            "laughs_config",
            "Hyper-parameters of endless walks beside the weights.",
            b"\x80\x02}" + text("state_dict") + weights() + b"s" + text("config") + dicts + b"s.",
        ),
        file(
            "laughs_args",
            "The same in a Namespace.",
            b"\x80\x02}"
            + text("state_dict")
            + weights()
            + b"s"
            + text("args")
            + named("argparse:Namespace")
            + b")\x81"
            + dicts
            + b"bs.",
        ),
    ]


def lengths():
    """Numbers that claim more than the file has."""
    return [
        file("long4_huge", "LONG4 of 2^31 - 1 bytes.", b"\x80\x02\x8b\xff\xff\xff\x7f."),
        file("long4_negative", "LONG4 of -1 bytes.", b"\x80\x02\x8b\xff\xff\xff\xff."),
        file("text8_huge", "BINUNICODE8 of 2^63 bytes.", b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc."),
        file("text8_most", "BINUNICODE8 of 2^64 - 1 bytes.", b"\x80\x04\x8d" + b"\xff" * 8 + b"abc."),
        file("bytes8_huge", "BINBYTES8 of 2^62 bytes.", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc."),
        file("bytearray_huge", "BYTEARRAY8 of 2^40 bytes.", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."),
        file("string_negative", "BINSTRING of -1 bytes.", b"\x80\x02T\xff\xff\xff\xff."),
        file("frame_most", "FRAME of 2^64 - 1 bytes.", b"\x80\x04\x95" + b"\xff" * 8 + b"}."),
        file("memo_most", "Memo number 2^32 - 1.", b"\x80\x02}r\xff\xff\xff\xff."),
        file("memo_text_most", "PUT 99999999999999999999.", b"\x80\x02}p99999999999999999999\n."),
        file(
            "memo_creeping", "Memo numbers that double.", b"\x80\x02}" + b"".join(put(2**i) for i in range(32)) + b"."
        ),
        aside("called_bytearray", "bytearray(2^40).", called("builtins:bytearray", 2**40)),
        aside("called_range", "A list of a range of 2^50.", called("builtins:list", called("builtins:range", 2**50))),
        aside("called_storage", "A storage of 2^50 elements, made by a call.", called("torch:FloatStorage", 2**50)),
        aside(
            "called_power",
            "Numbers to the power of numbers.",
            called("operator:pow", 10, called("operator:pow", 10, 9)),
        ),
        aside("called_zlib", "A codec that inflates.", called("_codecs:decode", b"x\x9c\x03\0\0\0\0\1", "zlib_codec")),
    ]


def masses():
    """Millions of small things."""
    eight = 8 << 20
    key = text("k")
    long_key = text("k" * 1000) + put(9000) + b"0"
    return [
        aside("many_marks", "A million marks and POP_MARKs.", b"(1" * MILLION + b"N"),
        aside("many_nones", "A million values dropped.", b"N0" * MILLION + b"N"),
        aside("nones_at_once", "Eight million values in a tuple.", b"(" + b"N" * (eight - 2000) + b"t"),
        file("too_many_values", "Twelve million values.", b"\x80\x02(" + b"N" * (12 << 20) + b"t."),
        file("lists_to_the_limit", "Eight million empty lists.", b"\x80\x02(" + b"]" * (eight - 100) + b"t."),
        file("dicts_to_the_limit", "Eight million empty dicts.", b"\x80\x02(" + b"}" * (eight - 100) + b"t."),
        file("tuples_to_the_limit", "Eight million tuples of one.", b"\x80\x02N" + b"\x85" * (eight - 100) + b"."),
        file(
            "objects_to_the_limit",
            "Four million calls.",
            b"\x80\x02" + named("collections:OrderedDict") + put(1) + b"(" + (b"h\1)R") * (4 << 20) + b"t.",
        ),
        file("globals_to_the_limit", "Two million globals.", b"\x80\x02(" + b"ca\nb\n" * (2 << 20) + b"t."),
        HostileFile(
            "size_objects_with_items.pt",
            GROUP,
            "Eight million objects, each with an item and an entry, in 1.3 MB.",
            compressed(objects_with_items(83), 1_100_000),
        ),
        HostileFile(
            "size_padded_bomb.pt",
            GROUP,
            "A pickle of 512 MiB, paid for by an entry of 8 MB that nobody needs.",
            compressed(repeated(b"\x80\x02", b"N0" * (1 << 19), 512, b"}."), 8_000_000),
        ),
        aside("many_duplicates", "A million DUPs.", b"N" + b"2" * MILLION + b"0" * MILLION),
        aside("same_key", "One key a million times.", b"}(" + (key + b"N") * MILLION + b"u"),
        aside(
            "same_long_key",
            "A key of 1,000 bytes half a million times.",
            long_key + b"}(" + (get(9000) + b"N") * (MILLION // 2) + b"u",
        ),
        aside(
            "tuple_keys",
            "Keys that are deep tuples, all of one value.",
            b"}" + (b"(" + b")\x85\x85\x85\x85" + b"Nu") * 100_000,
        ),
        aside(
            "many_builds", "A million states of one object.", named("argparse:Namespace") + b")\x81" + (b"}b") * MILLION
        ),
        aside("one_by_one", "A list appended to a million times.", b"]" + b"Na" * MILLION),
        file(
            "many_tensors", "100,000 records of tensors over one storage.", b"\x80\x02" + many_tensors(100_000) + b"."
        ),
        file(
            "long_names",
            "100 keys of 100,000 bytes each in the state dict.",
            b"\x80\x02" + weights() + b"".join(text(f"{i}" * 50_000) + b"Ns" for i in range(10, 110)) + b".",
        ),
        file(
            "long_integer",
            "An integer of a million bytes as a weight.",
            b"\x80\x02"
            + weights()
            + text("gru1.weight_ih_l0")
            + b"\x8b"
            + struct.pack("<i", MILLION)
            + b"\x7f" * MILLION
            + b"s.",
        ),
        file(
            "long_decimal",
            "An integer of a million digits as a weight.",
            b"\x80\x02" + weights() + text("gru1.weight_ih_l0") + b"L" + b"7" * MILLION + b"L\ns.",
        ),
        file(
            "long_escapes",
            "A text of a million escapes.",
            b"\x80\x02" + weights() + b"V" + b"\\u0041" * MILLION + b"\nNs.",
            may_convert=True,
        ),
        aside(
            "surrogates",
            "A text of a million lone surrogates.",
            b"X" + struct.pack("<I", 3 * MILLION) + b"\xed\xa0\x80" * MILLION,
        ),
    ]


def objects_with_items(count):
    """What costs a reader of plain data the most memory for its bytes: `count` times 100,000 of it."""
    kept = named("taper:Thing") + b"q\1)q\2Nq\x03000"
    return repeated(b"\x80\x02" + kept + b"(", b"h\1h\2Rh\3ah\3h\3s" * 100_000, count, b"t.")


def many_tensors(count):
    storage = Code(value(("storage", named("torch:FloatStorage"), "0", "cpu", 432)) + b"Q")
    arguments = value((storage, 0, (36, 12), (12, 1), False, called("collections:OrderedDict")))
    head = named("torch._utils:_rebuild_tensor_v2") + put(1) + b"0" + arguments + put(2) + b"0}("
    return head + b"".join(text(f"w{i}") + b"h\1h\2R" for i in range(count)) + b"u"


def files():
    """Every file of this class."""
    return [*cycles(), *depths(), *laughs(), *lengths(), *masses()]
