"""Configuration files that are none, or are too much."""

import json

from attacks.record import HostileFile

GROUP = "configs"


def file(name, about, data, *, may_convert=False):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return HostileFile(f"config_{name}.json", GROUP, about, raw, program="config", may_convert=may_convert)


def files():
    """Every file of this class."""
    deep = 100_000
    return [
        file("deep_arrays", "100,000 arrays inside each other.", b'{"gru":' + b"[" * deep + b"]" * deep + b"}"),
        file("deep_objects", "100,000 objects inside each other.", b'{"gru":' * deep + b"1" + b"}" * deep),
        file("deep_open", "A million brackets, never closed.", b"[" * 1_000_000),
        file("number_huge", "num_heads of 10^400.", b'{"num_heads": 1' + b"0" * 400 + b"}"),
        file("number_digits", "num_heads of a million digits.", b'{"num_heads": ' + b"7" * 1_000_000 + b"}"),
        file("number_exponent", "num_heads of 1e400.", b'{"num_heads": 1e400}'),
        file("number_negative", "num_heads of -1.", {"num_heads": -1}),
        file("number_zero", "num_heads of 0.", {"num_heads": 0}),
        file("number_most", "num_heads of 2^64.", {"num_heads": 2**64}),
        file("number_fraction", "num_heads of 1.5.", {"num_heads": 1.5}),
        file("eps_infinite", "norm_eps of 1e999.", b'{"norm_eps": 1e999}'),
        file("eps_nan", "norm_eps of NaN.", b'{"norm_eps": NaN}'),
        file("eps_negative", "norm_eps of -1.", {"norm_eps": -1}),
        file("key_long", "A key of 10 MB.", b'{"gru": {"' + b"k" * 10_000_000 + b'": 1}}'),
        file("value_long", "A family of 10 MB.", b'{"gru": "' + b"f" * 10_000_000 + b'"}'),
        file("keys_many", "200,000 models.", {f"m{i}": {"num_heads": i} for i in range(200_000)}),
        file("key_twice", "num_heads twice.", b'{"num_heads": 4, "num_heads": 0}'),
        file("wrong_types", "Lists and nulls.", {"num_heads": [4], "pooling": None}),
        file("top_array", "An array.", []),
        file("top_null", "null.", b"null"),
        file("unknown_member", "A member that may matter.", {"gru": {"hidden": 3}}),
        file("not_utf8", "Bytes that are not UTF-8.", b'{"gru": "\xff\xfe"}'),
        file("surrogate", "Half of a surrogate pair.", b'{"gru": "\\ud800"}'),
        file("escapes", "A name that moves the cursor.", {"gru": {"\x1b[2J\x1b[Hok": 1}}),
        file("nul", "A NUL byte.", b'{"gru": {}}\0'),
        file("two", "Two objects.", b"{}{}"),
        file("comment", "A comment.", b'{/* */"num_heads": 4}'),
        file("trailing_comma", "A trailing comma.", b'{"num_heads": 4,}'),
        file("truncated", "An object that breaks off.", b'{"num_heads": '),
        file("empty", "No byte.", b""),
        file("pickle", "A pickle.", b"\x80\x04}."),
        file("family_climbs", "A family named ../../evil.", {"family": "../../evil"}),
    ]
