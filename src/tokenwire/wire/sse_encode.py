"""Server-Sent Events, the writing half; `tokenwire.wire.sse` exports it. The format is WHATWG HTML section 9.2.5."""

from __future__ import annotations

from functools import lru_cache

from tokenwire.wire.sse_event import RETRY_DIGITS


def encode(data: str, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """One event as bytes, through its blank line. The id line stands directly before that.

    Args:
        data: any text, empty text included. Each CR, CRLF or LF begins a new data line, which readers see as LF.
            A surrogate pair becomes its character, a lone surrogate U+FFFD.
        event: its type; None or empty for the default, ``message``.
        id: its id; an empty one takes back the ids before it.
        retry: a reconnection time in milliseconds.

    Raises:
        ValueError: *event* or *id* contains CR, LF or NUL, or *retry* is not an integer of 0 to 15 digits.
    """
    if id is None and retry is None and "\n" not in data and "\r" not in data:
        return _utf8(f"{_head(event)}data: {data}\n\n")  # nearly every event
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    head, tail = _head(event), ""
    if retry is not None:
        # bool is an int to Python, but readers would ignore "True"
        if not isinstance(retry, int) or isinstance(retry, bool) or not 0 <= retry < 10**RETRY_DIGITS:
            raise ValueError(f"retry must be whole milliseconds, of {RETRY_DIGITS} digits at most, not {retry!r}")
        head += f"retry: {retry}\n"
    if id is not None:
        tail = f"id: {_one_line('id', id)}\n"
    return _utf8(f"{head}data: {data}\n{tail}\n")


def comment(text: str) -> bytes:
    """A comment, which readers ignore: a heartbeat, a note. Each CR, CRLF or LF begins a new comment line.

    It ends with one line end and no blank line: once an id was seen, some SDKs dispatch an empty event for a
    comment with a blank line (openai-python#2722). Add ``b"\\n"`` where a reader wants whole blocks.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\n: ")
    return _utf8(f": {text}\n")


@lru_cache(maxsize=256)
def _head(event: str | None) -> str:
    """The line of a type: dialects have a dozen of them, and one of those is nearly every event's."""
    return f"event: {_one_line('event', event)}\n" if event else ""


def _one_line(name: str, value: str) -> str:
    # A line end would let a value forge fields and events. Readers ignore an id with NUL: better to say so here.
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"{name} must not contain CR, LF or NUL: {value!r}")
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # JSON escapes can put half a surrogate pair into a text, and a join both halves
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


__all__ = ["comment", "encode"]
