"""wire/json_spans: what is a string body, what is JSON, and where values stand."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.wire.json_spans import Kind, Path, decode, guess, is_string_body, locate

BODIES = [
    (b"", True),
    (b"plain", True),
    (b'\\n\\t\\\\\\/\\b\\f\\r\\"', True),
    (b"\\u00e9\\uD83D", True),  # a lone surrogate, spelled out, is legal
    ("żółw 日本語 🚀".encode(), True),
    ("\u2028\u0085\x7f".encode(), True),
    (b'"', False),
    (b'a"b', False),
    (b"\\", False),
    (b"a\\", False),
    (b"\\\\\\", False),
    (b"\\\\\\\\", True),
    (b"\\x41", False),
    (b"\\u12", False),
    (b"\\u12g4", False),
    (b"\\u00\\\\e9", False),  # the pair of backslashes must leave a gap
    (b"\\ n", False),
    (b"a\nb", False),
    (b"a\rb", False),
    (b"\x00", False),
    (b"\x1f", False),
    (b"\xff", False),
    (b"\xc3", False),  # a character of two bytes, cut
    (b"\xed\xa0\xbd", False),  # a surrogate in three bytes
    (b"\xc0\xaf", False),  # overlong
    (b"\xc3\\n\xa9", False),  # without its escape this would be an e with an accent
]


@pytest.mark.parametrize(("body", "good"), BODIES)
def test_a_string_body_is_what_may_stand_between_quotes(body: bytes, good: bool) -> None:
    assert is_string_body(body) is good


@given(st.lists(st.sampled_from([b"a", b"\\", b'"', b"n", b"u00e9", b"\n", b" ", b"\xc3", b"\xa9", b"\xff"])))
def test_a_string_body_is_what_the_parser_takes(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        json.loads(b'"%b"' % body)
        good = True
    except ValueError:
        good = False
    assert is_string_body(body) is good


def test_a_body_of_escapes_costs_no_memory_per_escape() -> None:
    body = b"\\n" * 200_000
    tracemalloc.start()
    try:
        assert is_string_body(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(body)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[DONE]",
        b'{"a":1}{',
        b'{"a":NaN}',
        b"[-Infinity]",
        b'{"a":"\xff"}',
        b'{"a":1,"a":1}',
        b'{"b":[{"a":1,"\\u0061":2}]}',  # one name, spelled in two ways
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),  # json.loads would guess the encoding
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_decode_is_strict(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_decode_takes_json() -> None:
    assert decode(b' {"a":[1,-2.5e3,true,null,"\\u00e9"]} ') == {"a": [1, -2500.0, True, None, "é"]}


TEXT = (
    b'{ "a" : "x" , "b":["\\"y",{"c":7, "d":-7,"e":1.5},[],[["z"]]],"f":{"a":"x","x":null},'
    b'"g":{},"\\u0068":"","i":true,"j":[1,2] }'
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a",), b"x"),
        (("b", 0), b'\\"y'),
        (("b", 1, "c"), b"7"),
        (("b", 1, "d"), None),  # negative
        (("b", 1, "e"), None),
        (("b", 2), None),
        (("b", 2, 0), None),
        (("b", 3, 0, 0), b"z"),
        (("f",), None),
        (("f", "a"), b"x"),
        (("f", "x"), None),
        (("h",), b""),
        (("i",), None),
        (("j", 1), b"2"),
        (("j", "1"), None),
        (("k",), None),
        ((), None),
    ],
)
def test_locate_finds_strings_and_digits_by_path(path: Path, found: bytes | None) -> None:
    assert decode(TEXT)
    margin = b'"a": "not this one" '
    spans = locate(margin + TEXT + margin, len(margin), len(margin) + len(TEXT), (path,))
    if found is None:
        assert spans == {}
    else:
        ((where, (kind, start, stop)),) = spans.items()
        assert where == path
        assert (margin + TEXT)[start:stop] == found
        assert kind is (Kind.INTEGER if found.isdigit() else Kind.STRING)


def test_a_root_that_is_a_string_or_a_number_has_the_empty_path() -> None:
    assert locate(b'"ab"', 0, 4, ((),)) == {(): (Kind.STRING, 1, 3)}
    assert locate(b"12", 0, 2, ((),)) == {(): (Kind.INTEGER, 0, 2)}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    if isinstance(value, dict):
        return {at: leaf for name, inner in value.items() for at, leaf in leaves(inner, (*path, name)).items()}
    if isinstance(value, list):
        return {at: leaf for n, inner in enumerate(value) for at, leaf in leaves(inner, (*path, n)).items()}
    return {path: value}


@pytest.mark.untraced
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_locate_agrees_with_the_parser_about_every_value(value: Any, ascii_: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode("utf-8", "surrogatepass")
    every = leaves(value)
    spans = locate(text, 0, len(text), every)
    for path, leaf in every.items():
        span = spans.pop(path, None)
        if isinstance(leaf, str):
            assert span is not None
            assert json.loads(text[span.start - 1 : span.stop + 1].decode("utf-8", "surrogatepass")) == leaf
        elif type(leaf) is int and leaf >= 0:
            assert span is not None
            assert int(text[span.start : span.stop]) == leaf
        else:
            assert span is None
    assert spans == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":{"t":"x\\"y"}}', b'x\\"y'),
        (b'{"t" : "" , "tt":"z"}', b""),
        (b'{"t":"x","u":{"t":"y"}}', None),  # twice: it would be a guess indeed
        (b'{"t":7}', None),
        (b'{"u":"x"}', None),
        (b'["t","x"]', None),
    ],
)
def test_a_guess_is_the_only_string_of_that_name(text: bytes, found: bytes | None) -> None:
    spans = guess(b"margin" + text, 6, 6 + len(text), [("a", "t")])
    assert [(b"margin" + text)[span.start : span.stop] for span in spans.values()] == ([] if found is None else [found])
    assert guess(text, 0, len(text), [("a", 0)]) == {}
