"""Tensors whose numbers lie: sizes, strides, offsets, storages and dtypes."""

import struct

from attacks.archive import zip_of
from attacks.assemble import Code, called, named, value
from attacks.positions import legacy_parts
from attacks.record import HostileFile
from attacks.sound import contents, entries, weights

GROUP = "tensors"
REBUILD = "torch._utils:_rebuild_tensor_v2"
KEY = "gru1.weight_ih_l0"
HOOKS = called("collections:OrderedDict")
HUGE = 2**62


def storage(kind="torch:FloatStorage", key="0", location="cpu", count=432):
    """A reference to a storage."""
    return Code(value(("storage", named(kind), key, location, count)) + b"Q")


def with_weight(code, protocol=2):
    """The sound state dict, then one weight replaced by `code`."""
    pickled = b"\x80" + bytes([protocol]) + weights() + value(KEY) + value(code) + b"s."
    return zip_of(entries(data_pkl=pickled))


def tensor(*numbers, of=None, hooks=HOOKS):
    """A rebuilt tensor: offset, size, stride."""
    return called(REBUILD, storage() if of is None else of, *numbers, False, hooks)


def file(name, about, code, *, mentions=(), may_convert=False):
    return HostileFile(f"tensor_{name}.pt", GROUP, about, with_weight(code), mentions=mentions, may_convert=may_convert)


def lying_numbers():
    """A sound storage of 36 x 12 float32, described wrongly."""
    return [
        file("beyond_storage", "Reads beyond its storage.", tensor(1, (36, 12), (12, 1))),
        file("negative_offset", "Starts before its storage.", tensor(-1, (36, 12), (12, 1))),
        file("huge_offset", "Starts at 2^62.", tensor(HUGE, (36, 12), (12, 1))),
        file("offset_beyond_int64", "Starts at 2^64.", tensor(2**64, (36, 12), (12, 1))),
        file("offset_overflow", "Its offset in bytes overflows.", tensor(2**63 - 1, (1, 1), (1, 1))),
        file("negative_size", "A negative size.", tensor(0, (-36, 12), (12, 1))),
        file("two_negative_sizes", "Two negative sizes, whose product is right.", tensor(0, (-36, -12), (12, 1))),
        file("zero_size", "No element, sizes of 2^62 beside the zero.", tensor(0, (0, HUGE, HUGE), (1, 1, 1))),
        file("size_overflow", "The product of the sizes is 2^64.", tensor(0, (2**32, 2**32), (2**32, 1))),
        file(
            "size_overflow_small",
            "The product of the sizes overflows to a small number.",
            tensor(0, (2**61, 8, 54), (1, 1, 1)),
        ),
        file("bytes_overflow", "The number of elements fits 64 bits, the bytes don't.", tensor(0, (2**62,), (1,))),
        file("size_beyond_int64", "A size of 2^70.", tensor(0, (2**70, 12), (12, 1))),
        file("expanded_huge", "Stride 0: one element shown as 2^50 of them.", tensor(0, (2**50,), (0,))),
        file("expanded_shape", "Stride 0 in a matrix of 2^20 x 2^20.", tensor(0, (2**20, 2**20), (0, 0))),
        file("negative_stride", "Runs backwards.", tensor(431, (36, 12), (-12, -1))),
        file("huge_stride", "Strides of 2^62.", tensor(0, (36, 12), (HUGE, 1))),
        file("stride_overflow", "Sizes times strides overflow to a small number.", tensor(0, (5, 12), (2**62, 1))),
        file("few_strides", "Fewer strides than sizes.", tensor(0, (36, 12), (1,))),
        file("many_dimensions", "100,000 dimensions.", tensor(0, (1,) * 100_000, (1,) * 100_000)),
        file("sizes_are_texts", "Sizes that are texts.", tensor(0, ("36", "12"), (12, 1))),
        file("sizes_are_fractions", "Sizes that are fractions.", tensor(0, (36.5, 12.0), (12, 1))),
        file("sizes_are_bools", "Sizes that are bools.", tensor(False, (True, True), (True, True))),
        file("sizes_nested", "Sizes that are tuples.", tensor(0, ((36,), (12,)), (12, 1))),
        file("sizes_are_a_dict", "A dict stands for the sizes.", tensor(0, {36: 12}, (12, 1))),
        file("no_arguments", "A tensor without arguments.", called(REBUILD)),
    ]


def lying_storages():
    """References to storages that are not what they say."""
    sizes = (0, (36, 12), (12, 1))
    parameter = called("torch._utils:_rebuild_parameter", 5, True, HOOKS)
    numpy_array = called("numpy._core.multiarray:_reconstruct", named("numpy:ndarray"), (0,), b"b")
    dtype = called("numpy:dtype", "f4", False, True)
    numpy_state = (1, (HUGE, 12), dtype, False, b"\0" * 16)
    return [
        file("storage_missing", "A storage that is not in the archive.", tensor(*sizes, of=storage(key="99"))),
        file(
            "storage_climbs",
            "The key of a storage climbs out: ../../etc/passwd.",
            tensor(*sizes, of=storage(key="../../../../../etc/passwd")),
        ),
        file(
            "storage_absolute",
            "The key of a storage is an absolute path.",
            tensor(*sizes, of=storage(key="/etc/passwd")),
        ),
        file("storage_is_pickle", "The key leads to data.pkl itself.", tensor(*sizes, of=storage(key="../data.pkl"))),
        file(
            "storage_longer",
            "The storage claims 2^40 elements.",
            tensor(*sizes, of=storage(count=2**40)),
            may_convert=True,
        ),
        file(
            "storage_shorter",
            "The storage claims fewer elements than its tensor needs.",
            tensor(*sizes, of=storage(count=4)),
            may_convert=True,
        ),
        file(
            "storage_negative",
            "The storage claims -1 elements.",
            tensor(*sizes, of=storage(count=-1)),
            may_convert=True,
        ),
        file(
            "storage_other_type",
            "The same storage as float32 and as float64.",
            tensor(0, (18, 12), (12, 1), of=storage("torch:DoubleStorage")),
        ),
        file("storage_unknown_type", "A storage of an unknown type.", tensor(*sizes, of=storage("torch:TaperStorage"))),
        file(
            "storage_not_a_type", "A function stands for the storage's type.", tensor(*sizes, of=storage("torch:add"))
        ),
        file("storage_long_key", "A key of a million bytes.", tensor(*sizes, of=storage(key="9" * 1_000_000))),
        file(
            "storage_id_short",
            "The id of a storage has one member.",
            tensor(*sizes, of=Code(value(("storage",)) + b"Q")),
        ),
        file("storage_id_text", "The id of a storage is a text.", tensor(*sizes, of=Code(value("storage") + b"Q"))),
        file("storage_id_nested", "The id of a storage is a storage.", tensor(*sizes, of=Code(storage() + b"Q"))),
        file("meta_device", "A tensor without data.", tensor(*sizes, of=storage(location="meta")), may_convert=True),
        file("parameter_of_number", "A parameter of a number.", parameter),
        file("numpy_lies", "A NumPy array of 2^62 rows in 16 bytes.", Code(numpy_array + value(numpy_state) + b"b")),
        file(
            "quantised",
            "A quantised tensor with a scale of 0.",
            called(
                "torch._utils:_rebuild_qtensor",
                storage("torch:QInt8Storage"),
                *sizes,
                (named("torch:per_tensor_affine"), 0.0, 0),
                False,
                HOOKS,
            ),
        ),
        file(
            "sparse",
            "A sparse tensor with indices beyond its size.",
            called(
                "torch._utils:_rebuild_sparse_tensor",
                named("torch:sparse_coo"),
                (tensor(*sizes), tensor(*sizes), (1, 1), True),
            ),
        ),
        file("tensor_of_tensor", "A tensor whose storage is a tensor.", tensor(*sizes, of=tensor(*sizes))),
        file("hooks_are_a_number", "A number stands for the hooks.", tensor(*sizes, hooks=value(7)), may_convert=True),
    ]


def changed_storages():
    """Storages that are shorter, longer, or named twice."""
    sound = entries()

    def changed(name, body):
        made = [entry for entry in sound if entry.name != f"archive/data/{name}"]
        return zip_of([*made, *([type(sound[0])(f"archive/data/{name}", body)] if body is not None else [])])

    first = contents()["data/0"]
    parts, storages = legacy_parts()
    head, elements = b"".join(parts), struct.unpack("<q", storages[:8])[0]
    return [
        HostileFile("tensor_storage_empty.pt", GROUP, "A storage of no byte.", changed("0", b""), mentions=(KEY,)),
        HostileFile(
            "tensor_storage_odd.pt",
            GROUP,
            "A storage of a number of bytes that is no multiple of 4.",
            changed("0", first[:-3]),
            mentions=(KEY,),
        ),
        HostileFile(
            "tensor_storage_absent.pt", GROUP, "A storage is not there.", changed("0", None), mentions=("data/0",)
        ),
        HostileFile(
            "tensor_storage_too_long.pt",
            GROUP,
            "A storage is longer than it should be.",
            changed("0", first * 2),
            may_convert=True,
        ),
        *[
            HostileFile(
                f"tensor_legacy_count_{word}.pt",
                GROUP,
                f"A storage of the legacy format claims {number} elements.",
                head + struct.pack("<q", number) + storages[8:],
            )
            for word, number in [
                ("minus_one", -1),
                ("zero", 0),
                ("huge", 2**60),
                ("overflow", 2**61 + 1),
                ("most", 2**63 - 1),
                ("one_more", elements + 1),
            ]
        ],
    ]


def files():
    """Every file of this class."""
    return [*lying_numbers(), *lying_storages(), *changed_storages()]
