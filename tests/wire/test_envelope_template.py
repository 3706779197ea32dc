"""wire/envelope_template: what is learned from a frame, and which frames it takes apart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.wire import envelope_template
from tokenwire.wire.envelope_template import MAX_FRAME, MAX_HOLES, MAX_OPEN, Template, learn, look
from tokenwire.wire.json_spans import Kind, Path, Span, is_string_body

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT: Path = ("delta", "text")

# The definition, in one pattern per kind of hole. Template.cut has to agree with it.
PATTERNS = {
    Kind.STRING: rb'((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*)',
    Kind.INTEGER: rb"(0|[1-9][0-9]*)",
    Kind.SPACES: rb"( *)",
}


def oracle(template: Template, frame: bytes) -> list[bytes] | None:
    pieces = [re.escape(template.literals[0])]
    for kind, literal in zip(template.kinds, template.literals[1:], strict=True):
        pieces += [PATTERNS[kind], re.escape(literal)]
    found = re.fullmatch(b"".join(pieces), frame, re.DOTALL)
    if found is None:
        return None
    try:
        b"".join(found.groups()).decode()
        for hole in found.groups():
            hole.decode()
    except UnicodeDecodeError:
        return None
    return list(found.groups())


def cut(template: Template, frame: bytes) -> list[bytes] | None:
    """As a codec uses it: the cut counts if all holes are bodies of strings."""
    holes = template.cut(frame)
    return list(holes) if holes is not None and all(map(is_string_body, holes)) else None


def learned(frame: bytes, paths: Sequence[Path], *, padded: bool = False) -> Template | None:
    sighting = look(frame, paths, padded=padded)
    return None if sighting is None else learn(frame, sighting)


def template_of(frame: bytes, paths: Sequence[Path], *, padded: bool = False) -> Template:
    template = learned(frame, paths, padded=padded)
    assert template is not None
    holes = cut(template, frame)
    assert holes is not None
    assert template.fill(iter(holes)) == frame
    return template


# -- learning


def find_as(monkeypatch: pytest.MonkeyPatch, find: Callable[..., dict[Path, Span]]) -> None:
    for name in ("guess", "locate"):
        monkeypatch.setattr(envelope_template, name, find)


def test_holes_are_where_the_paths_lead_and_nowhere_else() -> None:
    frame = b'data: {"id":"hi","delta":{"id":"hi","text":"hi"},"x":{"text":"hi"},"text":"hi"}\n\n'
    template = template_of(frame, (TEXT,))
    assert template.kinds == (Kind.STRING,)
    assert template.literals == (
        b'data: {"id":"hi","delta":{"id":"hi","text":"',
        b'"},"x":{"text":"hi"},"text":"hi"}\n\n',
    )


def test_holes_stand_in_the_order_of_the_bytes_not_of_the_declaration() -> None:
    frame = b'{"n":12,"pad":"zz","delta":{"text":"hi"}  }\n'
    template = template_of(frame, (TEXT, ("pad",), ("n",)), padded=True)
    assert template.kinds == (Kind.INTEGER, Kind.STRING, Kind.STRING, Kind.SPACES)
    assert cut(template, frame) == [b"12", b"zz", b"hi", b"  "]


@pytest.mark.parametrize("padded", [False, True])
def test_four_holes_at_most_and_the_first_declared_win(padded: bool) -> None:
    frame = b'{"a":"1","b":"2","c":"3","d":"4","e":"5"}\n'
    template = template_of(frame, [("e",), ("x",), ("c",), ("a",), ("d",), ("b",)], padded=padded)
    assert len(template.kinds) == MAX_HOLES
    assert cut(template, frame) == ([b"1", b"3", b"5", b""] if padded else [b"1", b"3", b"4", b"5"])


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n", b""])
@pytest.mark.parametrize("start", [b"data: ", b"data:", b"event: a\ndata: ", b"data:  ", b"x: 1\r\nid: 3\r\ndata: "])
def test_any_framing_with_one_line_of_data(start: bytes, end: bytes) -> None:
    frame = start + b'{"delta":{"text":"a\\"b"}}' + end
    assert cut(template_of(frame, (TEXT,)), frame) == [b'a\\"b']


@pytest.mark.parametrize(
    "frame",
    [
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"",
        b"\n",
        b"data\n\n",
        b"data:\n\n",
        b"event: ping\n\n",
        b'data: {"delta":{"text":"a"},\ndata: "x":1}\n\n',  # two lines, one JSON
        b'data: {"delta":{"text":"a"}}\ndata: {"delta":{"text":"a"}}\n\n',
        b'data: {"delta":{"text":"a"},"x":1,"x":1}\n\n',  # a name twice
        b'data: {"delta":{"text":"a"},"delta":{"text":"b"}}\n\n',
        b'data: {"delta":{"text":"a","t\\u0065xt":"b"}}\n\n',
        b'data: {"delta":{"text":"a"},"x":NaN}\n\n',
        b'data: {"delta":{"text":"a"}}x\n\n',
        b'data: {"delta":{"text":"a\xff"}}\n\n',
        b'data: {"delta":{"text":"a"},"x":"\xc3"}\n\n',
        b'data: {"delta":{"text":null}}\n\n',
        b'data: {"delta":{"text":true}}\n\n',
        b'data: {"delta":{"text":1.5}}\n\n',
        b'data: {"delta":{"text":7}}\n\n',  # a number alone is not worth it
        b'data: {"delta":{"text":["a"]}}\n\n',
        b'data: {"delta":"text"}\n\n',
        b'data: {"delta":["text"]}\n\n',
        b'data: ["delta","text"]\n\n',
        b'data: "delta"\n\n',
        b'xdata: {"delta":{"text":"a"}}\n\n',
        b'data: {"delta":{"text":"' + b"a" * MAX_FRAME + b'"}}\n\n',
        b'data: {"delta":{"text":"a"},"x":' + b"[" * MAX_OPEN + b"]" * MAX_OPEN + b"}\n\n",
        b'data: {"delta":{"text":"a"},"x":' + b"[" * 2000 + b"\n\n",
    ],
)
def test_frames_from_which_nothing_is_learned(frame: bytes) -> None:
    assert look(frame, (TEXT,)) is None


def test_positions_beyond_an_array_and_names_in_an_array_lead_nowhere() -> None:
    frame = b'{"c":[{"t":"a"}],"d":{"0":"b"}}\n'
    assert look(frame, [("c", 1, "t"), ("c", "0", "t"), ("d", 0), ("c", 0, "t", 0), ("c", 0, "t", "x")]) is None
    assert cut(template_of(frame, [("c", 0, "t")]), frame) == [b"a"]


def test_negative_numbers_are_no_holes() -> None:
    frame = b'{"t":"a","n":-5,"m":-0}\n'
    assert learned(frame, [("t",), ("n",)]) is not None
    assert cut(template_of(frame, [("t",), ("n",)]), frame) == [b"a"]
    # -0 is 0 for the parser, but not digits: that is for the sentinel test to refuse.
    assert look(frame, [("t",), ("m",)]) is not None
    assert learned(frame, [("t",), ("m",)]) is None


def test_frames_that_differ_in_holes_alone_have_the_same_shape() -> None:
    paths = [TEXT, ("n",)]

    def shape(frame: bytes) -> int:
        sighting = look(frame, paths)
        assert sighting is not None
        return sighting.shape

    one = shape(b'{"delta":{"text":"a"},"n":1,"m":1}')
    assert shape(b'{"delta":{"text":"\\u00e9 b"},"n":22,"m":1}') == one
    assert shape(b'{"delta":{"text":"a"},"n":1,"m":2}') != one
    assert shape(b'{"delta":{"text":"a"},"n":"1","m":1}') != one
    assert shape(b'data: {"delta":{"text":"a"},"n":1,"m":1}') != one
    assert shape(b'{"delta":{"text":"a"},"n":1,"m":1}\n') != one


# -- padding


@pytest.mark.parametrize("spaces", [0, 1, 11])
def test_padding_is_the_run_of_spaces_before_the_last_brace(spaces: int) -> None:
    frame = b'data: {"delta":{"text":"a"}%b}\n\n' % (b" " * spaces)
    template = template_of(frame, (TEXT,), padded=True)
    assert template.literals == (b'data: {"delta":{"text":"', b'"}', b"}\n\n")
    assert cut(template, frame) == [b"a", b" " * spaces]
    for other in (b"\t", b" \t", b"x", b" }", b'"}', b" \n "):
        assert cut(template, b'data: {"delta":{"text":"a"}%b}\n\n' % other) is None


def test_a_text_full_of_braces_does_not_confuse_the_padding() -> None:
    frame = b'data: {"delta":{"text":"{\\"a\\":{\\"b\\":\\"c\\"}   }"}   }\n\n'
    template = template_of(frame, (TEXT,), padded=True)
    assert cut(template, frame) == [b'{\\"a\\":{\\"b\\":\\"c\\"}   }', b"   "]


def test_padding_goes_before_trailing_space_and_needs_an_object() -> None:
    frame = b'data: {"delta":{"text":"a"}  } \t\r\n\r\n'
    assert template_of(frame, (TEXT,), padded=True).literals[-1] == b"} \t\r\n\r\n"
    assert template_of(b'data: ["a"   ]\n\n', [(0,)], padded=True).kinds == (Kind.STRING,)


def test_spaces_after_a_number_stay_literal_if_it_is_a_hole() -> None:
    # Nothing would stand between the two holes.
    template = template_of(b'{"t":"a","n":5  }', [("t",), ("n",)], padded=True)
    assert template.literals == (b'{"t":"', b'","n":', b"  }")
    assert template_of(b'{"t":"a","n":5  }', [("t",)], padded=True).literals[1:] == (b'","n":5', b"}")


# -- the sentinel test


@pytest.mark.parametrize(
    "lie",
    [
        b'"id":"hi"',  # the same text elsewhere
        b'"hi there"',  # a neighbour
        b'"text":"hi"',  # beyond the string: quotes and all
    ],
)
def test_a_span_that_is_not_the_value_is_found_out(lie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b'data: {"id":"hi","note":"hi there","delta":{"text":"hi"}}\n\n'
    sighting = look(frame, (TEXT,))
    assert sighting is not None
    start = frame.index(lie)
    span = Span(Kind.STRING, start + (lie != b'"text":"hi"'), start + len(lie) - 1)

    find_as(monkeypatch, lambda *_: {TEXT: span})
    assert learn(frame, sighting) is None


def test_a_piece_of_a_string_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b'data: {"delta":{"text":"hi there"}}\n\n'
    sighting = look(frame, (TEXT,))
    assert sighting is not None
    start = frame.index(b"there")
    find_as(monkeypatch, lambda *_: {TEXT: Span(Kind.STRING, start, start + 5)})
    assert learn(frame, sighting) is None


def test_two_spans_that_are_exchanged_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b'{"a":"x","b":"x"}\n'
    sighting = look(frame, [("a",), ("b",)])
    assert sighting is not None
    first, second = Span(Kind.STRING, 6, 7), Span(Kind.STRING, 14, 15)
    find_as(monkeypatch, lambda *_: {("a",): second, ("b",): first})
    assert learn(frame, sighting) is None
    find_as(monkeypatch, lambda *_: {("a",): first, ("b",): second})
    assert learn(frame, sighting) is not None


# -- taking apart

CHAT = template_of(
    b'data: {"id":"c","choices":[{"delta":{"content":"a"},"n":0}],"obfuscation":"x"}\n\n',
    [("choices", 0, "delta", "content"), ("obfuscation",)],
)
ONE = template_of(b'data: {"delta":{"text":"a"}}\n\n', (TEXT,))
PADDED = template_of(b'data: {"delta":{"text":"a"} }\n\n', (TEXT,), padded=True)
NUMBERED = template_of(
    b'data: {"index":0,"delta":{"text":"a"},"sequence_number":7}\n\n',
    [TEXT, ("index",), ("sequence_number",)],
)
FULL = template_of(b'{"a":"","b":"","n":1,"c": "" }\n', [("a",), ("b",), ("n",), ("c",)], padded=False)
TEMPLATES = [ONE, CHAT, PADDED, NUMBERED, FULL]

BODY_CASES = [
    (b"", True),
    (b"a", True),
    (b'\\"', True),
    (b'\\"}', True),
    (b'a\\"}}\\n\\n', True),
    (b"\\\\", True),
    (b'\\\\\\"', True),
    (b'\\\\\\\\\\"', True),
    (b"\\", False),  # would take the closing quote with it
    (b"\\\\\\", False),
    (b'"', False),
    (b'"}', False),
    (b'"}}\n\ndata: {"delta":{"text":"', False),
    (b'","obfuscation":"', False),
    (b'"},"n":0}],"obfuscation":"', None),  # in CHAT: text and padding, but then a third
    (b"a\nb", False),
    (b"\x00", False),
    (b"\xf0\x9f\x9a", False),
    (b"\xf0\x9f\x9a\x80", True),
]


@pytest.mark.parametrize(("body", "good"), BODY_CASES)
@pytest.mark.parametrize("template", [ONE, CHAT, PADDED, FULL])
def test_texts_at_the_edge(template: Template, body: bytes, good: bool | None) -> None:
    for place, kind in enumerate(template.kinds):
        holes = [b"7" if other is Kind.INTEGER else b"" for other in template.kinds]
        if kind is Kind.STRING:
            holes[place] = body
            frame = template.fill(iter(holes))
            assert cut(template, frame) == oracle(template, frame)
            if good is not None:
                assert (cut(template, frame) == holes) is good


@pytest.mark.parametrize(
    ("number", "good"),
    [
        (b"0", True),
        (b"12", True),
        (b"", False),
        (b"01", False),
        (b"-1", False),
        (b"1.0", False),
        (b"x", False),
    ],
)
def test_a_number_is_digits_as_json_writes_them(number: bytes, good: bool) -> None:
    for place in (0, 2):
        holes = [b"5", b"text", b"6"]
        holes[place] = number
        frame = NUMBERED.fill(iter(holes))
        assert (cut(NUMBERED, frame) == holes) is good


def test_ends_that_overlap_are_no_match() -> None:
    # Both ends are there, but share the quote.
    assert ONE.literals == (b'data: {"delta":{"text":"', b'"}}\n\n')
    assert ONE.cut(b'data: {"delta":{"text":"}}\n\n') is None
    assert ONE.cut(b'data: {"delta":{"text":""}}\n\n') == (b"",)


@pytest.mark.parametrize("template", [CHAT, NUMBERED, FULL])
def test_a_frame_without_one_of_the_inner_literals_is_no_match(template: Template) -> None:
    for gone in range(1, len(template.literals) - 1):
        literals = list(template.literals)
        literals[gone] = b"*" * len(literals[gone])
        frame = Template(tuple(literals), template.kinds).fill(iter([b"1"] * len(template.kinds)))
        assert template.cut(frame) is None


PIECES = st.sampled_from(
    [
        b"a",
        b" ",
        b"0",
        b"7",
        b"\\",
        b'"',
        b'\\"',
        b"\\\\",
        b"\\u00e9",
        b"}",
        b'"}',
        b"\n",
        b"\r",
        b"\xc3",
        b"\xa9",
    ]
    + [literal for template in TEMPLATES for literal in template.literals]
)
BYTES = st.lists(PIECES, max_size=6).map(b"".join)


@given(st.sampled_from(TEMPLATES), st.lists(BYTES, min_size=4, max_size=4))
def test_the_cut_agrees_with_the_plain_pattern(template: Template, holes: list[bytes]) -> None:
    frame = template.fill(iter(holes))
    found = cut(template, frame)
    assert found == oracle(template, frame)
    if found is not None:
        assert template.fill(iter(found)) == frame


@given(st.sampled_from(TEMPLATES), st.lists(st.lists(BYTES, min_size=4, max_size=4), min_size=1, max_size=5), BYTES)
def test_a_run_is_cut_as_its_frames_are(template: Template, texts: list[list[bytes]], odd: bytes) -> None:
    frames = [template.fill(iter(holes)) for holes in texts]
    cuts = [template.cut(frame) for frame in frames]
    found = template.cut_run(frames)
    if found is not None:
        assert found == [hole for holes in cuts if holes is not None for hole in holes]
        assert None not in cuts
    elif len(template.kinds) <= 2 and Kind.INTEGER not in template.kinds:
        assert None in cuts
    for place in range(len(frames) + 1):
        run = [*frames[:place], odd, *frames[place:]]
        assert template.cut_run(run) is None or template.cut(odd) is not None


@given(st.sampled_from(TEMPLATES), BYTES)
def test_the_cut_agrees_with_the_plain_pattern_on_any_bytes(template: Template, frame: bytes) -> None:
    assert cut(template, frame) == oracle(template, frame)


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


@given(st.text(), st.text(), st.booleans())
def test_a_hole_says_what_the_frame_means(text: str, noise: str, ascii_: bool) -> None:
    chunk = {
        "id": text,
        "choices": [{"delta": {"content": text}, "text": text}],
        "content": text,
        "pad": noise,
    }
    path: Path = ("choices", 0, "delta", "content")
    frame = b"data: %b\n\n" % json.dumps(chunk, ensure_ascii=ascii_).encode()
    template = learned(frame, [path, ("pad",)])
    if template is None:  # by its size alone
        assert len(frame) > MAX_FRAME or frame.count(b"{") + frame.count(b"[") > MAX_OPEN
        return
    holes = template.cut(frame)
    assert holes is not None
    assert [json.loads(b'"%b"' % hole) for hole in holes] == [text, noise]
    # And with another text in the hole, the frame means that text and nothing else has changed.
    changed = json.loads(template.fill(iter([b"other", holes[1]]))[6:])
    assert at(changed, path) == "other"
    changed["choices"][0]["delta"]["content"] = text
    assert changed == chunk
