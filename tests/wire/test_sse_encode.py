"""Writing events and comments: exact bytes, round trips through the decoder, and no way to forge a field."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenwire.wire.sse import Decoder, Event, comment, encode

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
one_line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))


def as_read(text: str) -> str:
    """What a reader gets of *text*: LF for each line end, and only characters that UTF-8 has."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (encode("x"), b"data: x\n\n"),
        (encode(""), b"data: \n\n"),
        (encode(" x"), b"data:  x\n\n"),
        (encode("x", event="t"), b"event: t\ndata: x\n\n"),
        (encode("x", event=""), b"data: x\n\n"),
        (encode("x", id="1-2"), b"data: x\nid: 1-2\n\n"),
        (encode("x", id=""), b"data: x\nid: \n\n"),
        (encode("x", retry=0), b"retry: 0\ndata: x\n\n"),
        (encode("x", "t", "7", 1500), b"event: t\nretry: 1500\ndata: x\nid: 7\n\n"),
        (encode("a\nb\rc\r\nd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (encode("a\n"), b"data: a\ndata: \n\n"),
        (encode("\n\r"), b"data: \ndata: \ndata: \n\n"),
        (encode("a\u2028b\x0bc\u0085"), "data: a\u2028b\x0bc\u0085\n\n".encode()),
        (encode("\ufeffx"), b"data: \xef\xbb\xbfx\n\n"),
        (encode("\0"), b"data: \0\n\n"),
        (encode("\ud83d\ude00"), b"data: \xf0\x9f\x98\x80\n\n"),
        (encode("a\ud83d"), b"data: a\xef\xbf\xbd\n\n"),
        (encode("\ude00\ud83d", "\ud800", "\udfff"), "event: �\ndata: ��\nid: �\n\n".encode()),
        (comment("hb"), b": hb\n"),
        (comment(""), b": \n"),
        (comment("a\nb\r\nc\rd"), b": a\n: b\n: c\n: d\n"),
        (comment("\ud800"), b": \xef\xbf\xbd\n"),
    ],
)
def test_bytes(wire: bytes, expected: bytes) -> None:
    assert wire == expected


@settings(derandomize=True)
@given(data=any_text)
@example(data="a\r\n\r\nb\r")
@example(data="event: forged\n\ndata: forged")
@example(data="\ud83d")
def test_any_data_is_read_back(data: str) -> None:
    assert Decoder().feed(encode(data)) == [Event("message", as_read(data))]


@settings(derandomize=True)
@given(data=any_text, event=one_line, id=one_line, retry=st.integers(0, 10**15 - 1))
def test_any_event_is_read_back(data: str, event: str, id: str, retry: int) -> None:
    wire = encode(data, event, id, retry)
    assert Decoder().feed(wire) == [Event(event or "message", as_read(data), id, retry)]
    assert wire.endswith(b"id: " + id.encode() + b"\n\n")


@settings(derandomize=True)
@given(texts=st.lists(st.tuples(st.none() | one_line, any_text), max_size=8))
def test_events_in_a_row_are_read_back(texts: list[tuple[str | None, str]]) -> None:
    decoder = Decoder()
    events = decoder.feed(b"".join(encode(data, event) + b": hb\n\n" for event, data in texts))
    assert events == [Event(event or "message", as_read(data)) for event, data in texts]


@settings(derandomize=True)
@given(text=any_text)
@example(text="x\n\ndata: forged\n\n")
def test_a_comment_is_never_read(text: str) -> None:
    assert Decoder().feed(b"data: a\n" + comment(text) + b"data: b\n\n") == [Event("message", "a\nb")]


@pytest.mark.parametrize("forged", ["a\ndata: b", "a\rb", "a\r\nb", "\n", "a\0b", "\r"])
def test_a_type_or_id_cannot_forge_lines(forged: str) -> None:
    with pytest.raises(ValueError, match="event must not contain CR, LF or NUL"):
        encode("x", event=forged)
    with pytest.raises(ValueError, match="id must not contain CR, LF or NUL"):
        encode("x", id=forged)


@pytest.mark.parametrize("retry", [-1, 10**15, True, False, 1.0, "5"])
def test_a_retry_that_readers_would_ignore_is_refused(retry: int) -> None:
    with pytest.raises(ValueError, match=f"retry must be whole milliseconds, of 15 digits at most, not {retry!r}"):
        encode("x", retry=retry)
