"""The push parser beside `json.loads`: the same value, the same verdict, wherever the text is cut."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import jiter
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenwire.errors import IncompleteJson, InvalidJson, LocalProtocolError
from tokenwire.wire.json_events import Completed, PathEvent, Started, StringDelta
from tokenwire.wire.partial_json import PartialJson

VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TEXTS = st.builds(json.dumps, VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
#: Texts that are nearly JSON: pieces of it in any order, and whole ones with a few characters changed.
PIECES = st.sampled_from([
    "{", "}", "[", "]", ",", ":", '"', '"a"', '"b":', "1", "-", "0", ".5", "e", "E+1", "12", "true", "fals", "null",
    " ", "\n", "\t", "\\", "\\n", "\\u00e4", "\\ud83d", "\\ude00", "\\u12", "\x00", "\x1f", "é", "\ud83d", "NaN",
    "\ufeff",
])  # fmt: skip
NEARLY = st.lists(PIECES, max_size=9).map("".join)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def read(*pieces: str) -> tuple[Any, list[PathEvent]]:
    parser = PartialJson()
    events = [event for piece in pieces for event in parser.feed(piece)]
    events += parser.close()
    assert parser.complete
    return parser.value(), events


def scrubbed(value: Any) -> Any:
    """What `json.loads` gave, with half characters replaced as the house has it."""
    return json.loads(
        re.sub(
            "[\ud800-\udfff]",
            "\ufffd",
            json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
        )
    )


def same(a: Any, b: Any) -> bool:
    """Equal in value, type, and order of names."""
    return repr(a) == repr(b)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 1000), max_size=12))
def test_the_value_is_that_of_json_loads_wherever_the_text_is_cut(text: str, cuts: list[int]) -> None:
    value, events = read(*pieces_of(text, cuts))
    assert same(value, json.loads(text))
    last = events[-1]
    assert isinstance(last, Completed)
    assert last.pointer == ""
    assert same(last.value, value)


@pytest.mark.untraced
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    text=NEARLY | TEXTS.flatmap(lambda text: st.integers(0, len(text)).map(lambda i: text[:i] + "," + text[i + 1 :]))
)
@example('"\\ud83d')
@example("[1,]")
@example('{"a":1,"a":"x"}')
def test_it_refuses_what_json_loads_refuses_at_one_place_however_it_is_cut(text: str) -> None:
    at_once, piecemeal = outcome([text]), outcome(list(text))
    assert same(at_once, piecemeal) or str(at_once) == str(piecemeal)
    try:
        expected = json.loads(text, parse_constant=int)  # NaN is no JSON: int("NaN") is a ValueError
    except ValueError:
        assert isinstance(at_once, InvalidJson)
        lines = text[: at_once.offset].split("\n")
        assert (at_once.line, at_once.column) == (len(lines), len(lines[-1]) + 1)
        assert at_once.character is None or at_once.character == text[at_once.offset]
        assert isinstance(at_once, IncompleteJson) is (at_once.offset == len(text))
    else:
        assert same(at_once, scrubbed(expected))


def outcome(pieces: list[str]) -> Any:
    try:
        return read(*pieces)[0]
    except InvalidJson as wrong:
        return wrong


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=TEXTS.filter(lambda text: text[0] in '{["'))
def test_the_growing_value_agrees_with_jiter_and_never_changes_its_type(text: str) -> None:
    parser = PartialJson()
    before: Any = None
    for end, char in enumerate(text, 1):
        parser.feed(char)
        now = parser.value()
        assert _grew(before, now)
        before = parser.snapshot()
        assert same(before, now)
        # jiter shows a number before it is over, and an escape only when the whole of a pair is there.
        theirs = jiter.from_json(text[:end].encode("utf-8", "replace"), partial_mode="trailing-strings")
        assert _within(now, theirs)
    assert same(now, json.loads(text))


def _grew(before: Any, now: Any) -> bool:
    if before is None:
        return True
    if type(before) is not type(now):
        return False
    if isinstance(now, dict):
        return all(
            name in now and ((item is None and now[name] is None) or _grew(item, now[name]))
            for name, item in before.items()
        )
    if isinstance(now, list):
        return len(before) <= len(now) and all(map(_grew, before, now))
    return now.startswith(before) if isinstance(now, str) else bool(now == before)


def _within(ours: Any, theirs: Any) -> bool:
    """Each finished part of *theirs* is in *ours*, but for the last member of what is open."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        missing = list(theirs.keys() - ours.keys())
        return len(missing) <= 1 and all(_within(ours[name], item) for name, item in theirs.items() if name in ours)
    if isinstance(ours, list):
        return len(theirs) - 1 <= len(ours) and all(_within(a, b) for a, b in zip(ours, theirs, strict=False))
    return ours.startswith(theirs) or theirs.startswith(ours) if isinstance(ours, str) else bool(ours == theirs)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (['"\\ud83d', '\\ude00"'], "😀"),
        (['"\\u', "d83", 'd\\ude00"'], "😀"),
        (['"\ud83d', '\ude00"'], "😀"),
        (['"\ud83d\\ude00"'], "😀"),
        (['"\\ud83d"'], "\ufffd"),
        (['"\\ud83d', "a", '\\ude00b"'], "\ufffda\ufffdb"),
        (['["', '\\ud83d\\ud83d\\ude00"]'], ["\ufffd😀"]),
        (['{"\ud83d', '":1}'], {"\ufffd": 1}),
    ],
)
def test_halves_of_characters_are_joined_and_lone_ones_replaced(pieces: list[str], expected: object) -> None:
    value, events = read(*pieces)
    assert value == expected
    assert not any("\ud800" <= char <= "\udfff" for event in events for char in getattr(event, "text", ""))


def test_each_value_is_told_with_its_path() -> None:
    text = '{"items": [{"name": "Zoë", "n": 1.50}, null], "a/b~": true}'
    _, events = read(*(text[i : i + 4] for i in range(0, len(text), 4)))
    told = [(type(event).__name__, event.pointer) for event in events if not isinstance(event, StringDelta)]
    assert told == [
        ("Started", ""),
        ("Started", "/items"),
        ("Started", "/items/0"),
        ("Started", "/items/0/name"),
        ("Completed", "/items/0/name"),
        ("Completed", "/items/0/n"),
        ("Completed", "/items/0"),
        ("Completed", "/items/1"),
        ("Completed", "/items"),
        ("Completed", "/a~1b~0"),
        ("Completed", ""),
    ]
    deltas = [event for event in events if isinstance(event, StringDelta)]
    assert "".join(event.text for event in deltas) == "Zoë"
    assert {event.path for event in deltas} == {("items", 0, "name")}
    assert repr(deltas[0]) == "StringDelta('/items/0/name', text='Zoë')"
    assert [event.kind for event in events if isinstance(event, Started)] == ["object", "array", "object", "string"]
    assert [event.value for event in events if event.path == ("items", 0, "n") and isinstance(event, Completed)] == [
        1.5
    ]


def test_nothing_is_shown_of_a_number_or_a_literal_that_may_go_on() -> None:
    parser = PartialJson()
    assert parser.value(default="nothing") == "nothing"
    for piece, shown in [
        ("[", []), ("-", []), ("1", []), ("2", []), ("e", []), ("1", []), (",", [-120.0]), ("tru", [-120.0]),
        ("e", [-120.0, True]), (', {"a"', [-120.0, True, {}]), (": 0", [-120.0, True, {}]),
        ('}, "\\ud83d', [-120.0, True, {"a": 0}, ""]), ("\\ud", [-120.0, True, {"a": 0}, ""]),
        ('e00!"', [-120.0, True, {"a": 0}, "😀!"]),
    ]:  # fmt: skip
        parser.feed(piece)
        assert same(parser.value(), shown), piece
    assert not parser.complete


def test_a_number_alone_is_complete_with_what_follows_or_the_end() -> None:
    parser = PartialJson()
    assert parser.feed(" 12") == []
    assert parser.value() is None
    assert parser.close() == [Completed((), 12)]
    assert parser.complete
    assert parser.close() == []
    with pytest.raises(LocalProtocolError, match="after close"):
        parser.feed(" ")
    assert PartialJson().feed("12 ") == [Completed((), 12)]


def test_a_value_kept_from_before_stays_when_it_was_a_snapshot() -> None:
    parser = PartialJson()
    parser.feed('{"a": [1, 2], "b": [{"c": "x')
    live, still = parser.value(), parser.snapshot()
    assert live["a"] is still["a"]  # finished parts are shared
    parser.feed('y"}, 3')
    parser.feed("]}")
    assert still == {"a": [1, 2], "b": [{"c": "x"}]}
    assert parser.value() is live
    assert live == {"a": [1, 2], "b": [{"c": "xy"}, 3]} == parser.snapshot()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 01}', "line 1, column 8 (offset 7): expected ',' or '}', not '1'"),
        ('[\n "a\nb"]', "line 2, column 4 (offset 5): a control character in a string has to be escaped, not '\\n'"),
        ('"\\x"', "expected one of \"\\/bfnrtu after \\, not 'x'"),
        ('"\\u12g4"', "(offset 5): expected four hexadecimal digits after \\u, not 'g'"),
        ("[NaN]", "expected a value or ']', not 'N'"),
        ("[ 1, ]", "expected a value, not ']'"),
        ("[nul", "the text ended inside the value"),
        ("[nulL]", "column 5 (offset 4): expected 'l', not 'L'"),
        ("\ufeff1", "offset 0): expected a value, not '\\ufeff'"),
        ("{,", "expected a name in quotes or '}', not ','"),
        ('{"a" 1', "expected ':', not '1'"),
        ("[1.x", "expected a digit, not 'x'"),
        ("{} \n x", "line 2, column 2 (offset 5): expected nothing after the value, not 'x'"),
        ('{"a": [{"b": "x', "(offset 15): the text ended inside /a/0/b"),
        ('{"a": [tr', "the text ended inside /a"),
        ("", "line 1, column 1 (offset 0): the text ended before a value"),
        ("12e", "the text ended before a value"),
        ('"\\', "(offset 2): the text ended inside the value"),
    ],
)
def test_an_error_names_the_place_and_the_character(text: str, said: str) -> None:
    parser = PartialJson()
    with pytest.raises(InvalidJson, match=re.escape(said) + "$") as first:
        _feed_and_close(parser, text)
    for again in (parser.close, lambda: parser.feed(" ")):
        with pytest.raises(InvalidJson) as second:
            again()
        assert second.value is first.value


def _feed_and_close(parser: PartialJson, text: str) -> None:
    parser.feed(text)
    parser.close()


def test_depth_size_and_digits_are_bounded() -> None:
    assert read("[" * 256 + "]" * 256)[0]
    with pytest.raises(InvalidJson, match=r"column 257 .* nested deeper than 256 levels$"):
        read("[" * 300)
    small = PartialJson(max_size=8, max_depth=1)
    small.feed('["123456')
    with pytest.raises(InvalidJson, match="longer than 8 characters"):
        small.feed("7")
    with pytest.raises(InvalidJson, match="more digits"):
        read("[" + "1" * 5000 + "]")
    assert same(read("[" + "1" * 4000, "2]")[0], [int("1" * 4000 + "2")])
    assert same(read("[1e99", "9, -0, -0.0, 1E-2]")[0], [float("inf"), 0, -0.0, 0.01])


def test_many_escapes_in_one_piece_are_read_in_runs() -> None:
    text = json.dumps({'k"' * 300: '\n"\\ü😀' * 1000})
    assert read(text)[0] == json.loads(text)


def test_a_string_grows_where_it_is_and_no_piece_is_read_twice() -> None:
    parser = PartialJson()
    parser.feed('{"text": "')
    identities = set()
    for _ in range(5000):
        parser.feed("abcd")
        identities.add(id(parser.value()["text"]))
    # A copy for each piece would be at another address nearly each time.
    assert len(identities) < 2500
    assert parser.value()["text"] == "abcd" * 5000
    assert parser.offset == 10 + 20_000
