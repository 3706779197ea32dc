"""wire/envelope: what is packed, what is kept plain, and what comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.wire import envelope, envelope_template
from tokenwire.wire.envelope import MAX_ATTEMPTS, MAX_TEMPLATES, NEVER_HOLES, PADDING, Codec, Statistics
from tokenwire.wire.envelope_template import MAX_FRAME
from tokenwire.wire.json_spans import Kind, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.wire.json_spans import Path

HOLES: tuple[Path, ...] = (("choices", 0, "delta", "content"), ("obfuscation",))


def chat(text: bytes, obfuscation: bytes = b"x", *, index: int = 0) -> bytes:
    return (
        b'data: {"id":"the","choices":[{"index":%d,"delta":{"content":"%b"},"finish_reason":null}],'
        b'"obfuscation":"%b"}\n\n' % (index, text, obfuscation)
    )


def ready(*frames: bytes, holes: tuple[Path, ...] = HOLES) -> Codec:
    """A codec that has learned the envelopes of *frames*."""
    codec = Codec(holes)
    for frame in frames:
        codec.pack([frame, frame])
    assert codec.statistics().templates == len(frames)
    return codec


def hits(codec: Codec, frames: Sequence[bytes]) -> int:
    """How many of *frames* are packed into a template. All must come back."""
    before = codec.statistics()
    assert codec.pack(frames).unpack() == list(frames)
    after = codec.statistics()
    assert after.hits + after.misses == before.hits + before.misses + len(frames)
    return after.hits - before.hits


def test_the_public_names() -> None:
    assert set(envelope.__all__) == {
        "MAX_ATTEMPTS", "MAX_TEMPLATES", "NEVER_HOLES", "PADDING", "PLAIN", "Codec", "Group", "Packed", "Statistics"
    }  # fmt: skip


# -- reading back


def test_a_run_comes_back_whole_in_part_and_one_by_one() -> None:
    frames = [chat(b"a"), b": odd\n\n", chat(b"b", b""), chat(b"", index=1), b"data: [DONE]\n\n", chat(b"c")]
    codec = ready(chat(b""), chat(b"", index=1))
    packed = codec.pack(frames)
    assert len(packed) == 6
    assert packed.unpack() == frames
    for start in range(-8, 9):
        for stop in range(-8, 9):
            assert packed.slice(start, stop) == frames[start:stop]
    assert [packed.frame(index) for index in range(6)] == frames
    for index in (-1, 6):
        with pytest.raises(IndexError):
            packed.frame(index)


def test_a_run_of_nothing() -> None:
    packed = Codec(HOLES).pack([])
    assert (len(packed), packed.unpack(), packed.slice(0, 1)) == (0, [], [])


def test_a_single_empty_hole_is_not_taken_for_no_hole() -> None:
    frame = b'{"t":""}\n'
    codec = ready(frame, holes=(("t",),))
    assert codec.pack([frame]).unpack() == [frame]
    assert codec.pack([frame, frame]).slice(1, 2) == [frame]
    assert codec.pack([b"x"]).unpack() == [b"x"]


def test_a_run_outlives_what_its_codec_learns_later() -> None:
    codec = ready(chat(b""))
    packed = codec.pack([chat(b"a"), chat(b"b")])
    assert hits(codec, [chat(b"a", index=1)] * 4) == 3
    assert packed.unpack() == [chat(b"a"), chat(b"b")]


# -- what is packed


def test_the_second_frame_of_a_kind_is_packed_and_all_that_follow() -> None:
    codec = Codec(HOLES)
    frames = [chat(b"%d" % number, b"x" * number) for number in range(10)]
    assert hits(codec, frames) == 9
    assert hits(codec, frames) == 10
    assert codec.statistics() == Statistics(hits=19, misses=1, templates=1, attempts=2)


def test_kinds_that_take_turns_are_learned_each() -> None:
    codec = Codec(HOLES)
    frames = [chat(b"%d" % number, index=number % 3) for number in range(12)]
    assert hits(codec, frames) == 9
    assert codec.statistics().templates == 3


def test_frames_that_come_once_take_no_template() -> None:
    role = chat(b"").replace(b'"delta":{', b'"delta":{"role":"assistant",')
    last = chat(b"").replace(b'"content":""', b"").replace(b"null", b'"stop"')
    codec = Codec(HOLES)
    assert hits(codec, [role, chat(b"a"), chat(b"b"), chat(b"c"), last, b"data: [DONE]\n\n"]) == 2
    assert codec.statistics().templates == 1


@pytest.mark.parametrize(
    "text",
    [
        b"the",  # also the id
        b"data: ",
        b"choices",
        b"",
        b" ",
        b'\\"',
        b'\\"\\"',
        b"\\\\",
        b'\\\\\\"',
        b"\\\\\\\\",
        b'\\"},\\"finish_reason\\":null}],\\"obfuscation\\":\\"',  # a literal, escaped
        b"\\n\\u00e9\\/",
        b"}\\n\\n",
        "żółw 🚀\u2028".encode(),
        b"\\ud83d",
    ],
)
def test_texts_that_are_packed(text: bytes) -> None:
    codec = ready(chat(b"a"))
    frames = [chat(b"b"), chat(text), chat(b"c", text), chat(text, text)]
    assert hits(codec, frames) == 4
    for frame in codec.pack(frames).unpack():
        json.loads(frame[6:])


@pytest.mark.parametrize(
    "text",
    [
        b"\\",  # takes the closing quote with it
        b"\\\\\\",
        b'"',
        b'a"b',
        b'"},"finish_reason":null}],"obfuscation":"',  # the literal: then the obfuscation has a quote
        b"\\x",
        b"\\u12",
        b"a\nb",  # an end of the line
        b"a\rb",
        b"\n",
        b"\n\n",
        b"\x00",
        b"\t",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_texts_that_are_kept_plain_and_do_not_harm_their_neighbours(text: bytes, place: int) -> None:
    codec = ready(chat(b"a"))
    frames = [chat(b"%d" % number, b"y\\n") for number in range(6)]
    frames[place] = chat(text)
    assert hits(codec, frames) == 5
    frames[place] = chat(b"x", text)
    assert hits(codec, frames) == 5


def test_neighbours_do_not_complete_each_other() -> None:
    codec = ready(b'{"t":""}\n', holes=(("t",),))
    for left, right in [(b"\xc3", b"\xa9"), (b"\\", b"n"), (b"\\u00", b"e9"), (b'\\"', b'"'), (b"\\", b"\\")]:
        frames = [b'{"t":"%b"}\n' % left, b'{"t":"%b"}\n' % right]
        fine = sum(text in (b"n", b"e9", b'\\"') for text in (left, right))
        assert hits(codec, frames) == fine


@pytest.mark.parametrize(
    "frame",
    [
        chat(b"a").replace(b"data: ", b"data:"),
        chat(b"a").replace(b"\n", b"\r\n"),
        b"event: message\n" + chat(b"a"),
        b"id: 7\n" + chat(b"a"),
        chat(b"a") + b"\n",
        chat(b"a")[:-1],
        chat(b"a")[1:],
        chat(b"a").replace(b'"content":"a"', b'"content":"a","content":"b"'),
        chat(b"a").replace(b'"content":"a"', b'"content":null'),
        chat(b"a").replace(b"null", b'"stop"'),
        chat(b"a").replace(b',"obf', b',\ndata: "obf'),
        chat(b"a").replace(b'"id":"the"', b'"id":"a"'),
    ],
)
def test_frames_that_differ_elsewhere_are_kept_plain(frame: bytes) -> None:
    assert hits(ready(chat(b"a")), [chat(b"b"), frame, chat(b"c")]) == 2


def test_the_same_name_elsewhere_is_no_hole() -> None:
    frame = b'{"content":"a","choices":[{"content":"a","delta":{"content":"a"}},{"delta":{"content":"a"}}]}\n'
    codec = ready(frame)
    assert hits(codec, [frame.replace(b'delta":{"content":"a"}},', b'delta":{"content":"b"}},')]) == 1
    assert hits(codec, [frame.replace(b'{"content":"a","choices', b'{"content":"b","choices')]) == 0
    assert hits(codec, [frame.replace(b'"a"}}]', b'"b"}}]')]) == 0


def test_padding_and_numbers() -> None:
    def block(index: int, text: bytes, spaces: int) -> bytes:
        return b'data: {"index":%d,"delta":{"text":"%b"}%b}\n\n' % (index, text, b" " * spaces)

    codec = ready(block(0, b"", 0), holes=(("delta", "text"), ("index",), PADDING))
    frames = [block(number // 5, b'{\\"a\\":\\"}  }\\"', number % 12) for number in range(60)]
    assert hits(codec, frames) == 60
    assert hits(codec, [block(-1, b"a", 1), block(7, b'"} ', 1), block(7, b"\n", 2)]) == 0


# -- bounds


@pytest.mark.parametrize("name", sorted(NEVER_HOLES))
def test_what_a_reader_must_see_is_never_a_hole(name: str) -> None:
    for path in ((name,), ("choices", 0, name), (name, "content", 0, "token")):
        with pytest.raises(ValueError, match=name):
            Codec((("text",), path))


def test_the_root_is_no_hole() -> None:
    with pytest.raises(ValueError, match="hole"):
        Codec(((),))


def test_a_path_declared_twice_is_one_hole() -> None:
    assert hits(ready(b'{"t":""}', holes=(("t",), ("t",))), [b'{"t":"a"}']) == 1


def test_four_templates_a_stream() -> None:
    codec = Codec(HOLES)
    for index in range(MAX_TEMPLATES + 3):
        hits(codec, [chat(b"a", index=index)] * 5)
    assert codec.statistics() == Statistics(hits=16, misses=19, templates=4, attempts=8)
    assert hits(codec, [chat(b"z", index=index) for index in range(9)]) == MAX_TEMPLATES


def test_attempts_end_if_nothing_comes_of_them() -> None:
    codec = Codec(HOLES)
    hits(codec, [chat(b"a", index=index) for index in range(100)])  # of the right kind, but never twice
    assert codec.statistics() == Statistics(hits=0, misses=100, templates=0, attempts=MAX_ATTEMPTS)
    assert hits(codec, [chat(b"a")] * 3) == 0


def test_attempts_start_anew_with_each_template_and_are_bounded_still() -> None:
    codec = Codec(HOLES)
    for index in range(20):
        hits(codec, [b"data: [DONE]\n\n"] * (MAX_ATTEMPTS - 3) + [chat(b"a", index=index)] * 2)
    assert codec.statistics().templates == MAX_TEMPLATES
    assert codec.statistics().attempts <= MAX_TEMPLATES * MAX_ATTEMPTS


def test_no_attempt_is_made_for_frames_that_fit() -> None:
    codec = ready(chat(b"a"))
    hits(codec, [chat(b"b")] * 100)
    assert codec.statistics().attempts == 2


def test_a_template_that_fails_the_sentinel_test_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b'{"id":"hi","t":"hi"}\n'
    for find in ("guess", "locate"):
        monkeypatch.setattr(envelope_template, find, lambda *_: {("t",): Span(Kind.STRING, 7, 9)})
    codec = Codec((("t",),))
    assert hits(codec, [frame] * 5) == 0
    assert hits(codec, [frame] * 50) == 0
    assert codec.statistics().templates == 0


# Kinds of frames in a run: letters are texts in one envelope, digits stand for others.
@pytest.mark.parametrize(
    ("kinds", "packed"),
    [
        ("a" * 40, 40),
        ("1" + "a" * 40, 40),
        ("12" + "a" * 40 + "345", 40),
        ("123" + "a" * 40 + "456", 40),  # one by one
        ("a" * 10 + "1" + "a" * 30, 40),
        ("1" * 20, 19),
        ("123456789" * 2, 4),
    ],
)
def test_long_runs_are_learned_from_and_packed_at_once(kinds: str, packed: int) -> None:
    frames = [chat(kind.encode(), index=int(kind) if kind.isdigit() else 0) for kind in kinds]
    codec = Codec(HOLES)
    run = codec.pack(frames)
    assert run.unpack() == frames
    assert [run.slice(at, at + 1) for at in range(len(frames))] == [[frame] for frame in frames]
    assert codec.statistics().hits >= packed
    assert codec.pack(frames).unpack() == frames


@pytest.mark.parametrize("text", [b'"', b"\n", b"\\", b"\xff", b"\x00"])
def test_one_bad_text_in_a_long_run_is_kept_plain(text: bytes) -> None:
    frames = [chat(b"a")] * 10 + [chat(text)] + [chat(b"b")] * 30
    codec = Codec(HOLES)
    assert codec.pack(frames).unpack() == frames
    assert codec.statistics().hits == 40


def test_huge_frames_are_not_learned_from_but_packed_all_the_same() -> None:
    huge = b"a" * MAX_FRAME
    assert hits(Codec(HOLES), [chat(huge)] * 3) == 0
    assert hits(ready(chat(b"a")), [chat(huge), chat(b"\\n" * 300_000)]) == 2


def test_deep_nesting_is_kept_plain() -> None:
    deep = b'{"t":"a","x":' + b"[" * 1900 + b"]" * 1900 + b"}\n"
    assert hits(Codec((("t",),)), [deep] * 3) == 0


# -- any bytes

SYNTAX = [b"\\", b'"', b'\\"', b"\\u00e9", b"}", b"\n", b"\r\n", b"\xc3", b"\xa9", b"\x00"]
WORDS = [b"a", b" ", b"the", b"data: ", "żółw".encode()]
LITERALS = chat(b"|", b"|").split(b"|")
PIECES = st.sampled_from(SYNTAX + WORDS + LITERALS)
TEXTS = st.lists(PIECES, max_size=5).map(b"".join)
FRAMES = st.one_of(
    st.builds(chat, TEXTS, TEXTS, index=st.integers(0, 6)),
    st.builds(chat, TEXTS, TEXTS).map(lambda frame: frame.replace(b"\n", b"\r\n")),
    TEXTS,
    st.binary(max_size=40),
)


@pytest.mark.untraced
@given(st.lists(st.lists(FRAMES, max_size=12), max_size=4))
def test_whatever_the_bytes_they_come_back(runs: list[list[bytes]]) -> None:
    codec = Codec(HOLES)
    packed = [codec.pack(run) for run in runs]
    assert [one.unpack() for one in packed] == runs
    found = codec.statistics()
    assert found.hits + found.misses == sum(map(len, runs))
    assert found.templates <= MAX_TEMPLATES
    assert found.attempts <= MAX_TEMPLATES * MAX_ATTEMPTS


@given(st.lists(TEXTS, max_size=20))
def test_a_frame_is_packed_exactly_if_its_text_is_a_string_body(texts: list[bytes]) -> None:
    codec = ready(chat(b"a"))
    good = 0
    for text in texts:
        try:
            good += json.loads(b'["%b"]' % text) == [json.loads(b'"%b"' % text)]
        except ValueError:
            pass
    assert hits(codec, [chat(text, b"") for text in texts]) == good
