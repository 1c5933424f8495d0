"""Changes to an input that leave most of its form alone: whole tokens instead of single bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

TOKEN = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w.]*|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[ \t]+|.', re.DOTALL
)
CHANGES = (1, 1, 1, 2, 3, 6)
# What readers of text stumble over: numbers beyond a type's range, what is not Unicode, endless nesting.
NASTY = (
    *(b"0", b"-1", b"-0.0", b"0.5", b"1e999", b"-1e999", b"1e-320", b"nan", b"inf", b"NaN", b"-Infinity"),
    *(
        b"9" * 30,
        b"9" * 400,
        b"9" * 5000,
        b"0x10",
        b"0x" + b"f" * 5000,
        b"2147483648",
        b"18446744073709551616",
    ),
    *(b"true", b"false", b"null", b"[]", b"{}", b"[[]]", b'""', b"1979-05-27T07:32:00Z", b"07:32:00"),
    *(b'"\\ud800"', b'"\\u0000"', b"\x00", b'"\x7f"', b"\xff", b'"\xf0\x9f\x98\x80"', b"\xe2\x80\xa8"),
    *(b"[" * 1500, b"[" * 1500 + b"]" * 1500, b'{"a":' * 1500, b"a." * 1500 + b"a", b"x" * 5000),
    *(b"\n", b"\r\n", b",", b".", b"=", b"&", b"@", b":", b"%00", b"../", b"/", b'"', b"\\", b"#"),
)


def mutated(data: bytes, draw: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one to a few tokens replaced, left out, repeated, moved, or taken from `others`."""
    tokens = TOKEN.findall(data) or [b""]
    for _ in range(draw.choice(CHANGES)):
        place = draw.randrange(len(tokens))
        change = draw.randrange(6)
        if change == 0:
            tokens[place] = draw.choice(NASTY)
        elif change == 1:
            tokens.insert(place, draw.choice(NASTY))
        elif change == 2:
            end = place + draw.randint(1, 8)
            tokens[place:end] = []
        elif change == 3:
            end = place + draw.randint(1, 16)
            tokens[end:end] = tokens[place:end] * draw.choice((1, 1, 2, 100))
        elif change == 4:
            other = draw.randrange(len(tokens))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        elif others:
            tokens[place] = draw.choice(TOKEN.findall(draw.choice(others)) or [b""])
        tokens = tokens or [b""]
    return b"".join(tokens)
