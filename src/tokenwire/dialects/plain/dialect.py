"""The plainest form of a stream, ``/api/chat``'s: ``data: {"text":"…"}`` events, then ``data: [DONE]``.

For the dozen lines that everybody writes first, and whose two kinds this must not break: a native EventSource whose
``onmessage`` parses ``event.data``, and a fetch loop that splits at blank lines and parses what follows ``data: ``. So
an event is one data line and has no name, and there is nothing in the stream that is not an event: even the heartbeat
is one, with an empty text, for a loop that looks for no prefix throws at a comment.

Text only, of the first choice; a refusal is what the model says, so it is text as well. Private: no reader asks for it
by name, and nothing is read in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from tokenwire.dialects.base import Dialect, Frame
from tokenwire.dialects.deltas import RefusalDelta, TextDelta
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.json_text import one_line
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Failed, Terminal
    from tokenwire.dialects.transcript import Transcript

#: The event at the end of an answer that is whole. After an error it does not come.
DONE: Final = Frame(None, "[DONE]")


class Encoder:
    """Deltas -> text events. Keeps nothing: an event says what it says, wherever a reader begins."""

    def __init__(self, stream: str, created: float, model: str) -> None:
        """No event names the stream."""

    def feed(self, delta: Delta) -> list[Frame]:
        if isinstance(delta, TextDelta | RefusalDelta) and delta.choice == 0 and delta.text:
            return [_text(delta.text)]
        return []

    def prefix(self, fold: Transcript) -> list[Frame]:
        """One event with the whole text so far; none if there is none."""
        choice = fold.choice()
        text = choice.text + choice.refusal
        return [_text(text)] if text else []

    def close(self, terminal: Terminal) -> list[Frame]:
        """``[DONE]``, or the error instead of it."""
        return (
            [DONE]
            if terminal.state == "completed"
            else [Frame(None, one_line({"error": _error(failure_of(terminal))}))]
        )

    def copy(self) -> Encoder:
        return self


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body: what the error event says."""
    return one_line({"error": _error(failure)}).encode()


def _error(failure: Failed) -> dict[str, object]:
    return {"code": failure.code, "message": failure.message, "retryable": failure.retryable}


def _text(text: str) -> Frame:
    return Frame(None, one_line({"text": text}))


def _unread(*_: object) -> NoReturn:
    """Where other dialects read. Raises ``LocalProtocolError``: no provider speaks this one."""
    raise LocalProtocolError("the plain form is written, never read")


DIALECT: Final = Dialect(
    name="plain",
    framing="sse",
    content_type="text/event-stream",
    ids=True,
    heartbeat=b'data: {"text":""}\n\n',
    holes=(),
    decoder=_unread,
    encoder=Encoder,
    scan=_unread,
    look=_unread,
    decode_response=_unread,
    fold_response=_unread,
    error_body=error_body,
    describe_error=_unread,
)
