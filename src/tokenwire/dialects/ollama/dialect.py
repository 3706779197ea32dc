"""Ollama's ``/api/chat``: what the dialect is, in one record.

The work is in the files beside this one: decode, encode, response, errors, usage. ``form`` says in what
``/api/generate`` differs, whose record (``ollama_generate``) is made here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tokenwire.dialects.base import Dialect, Mark
from tokenwire.dialects.deltas import Delta, Failed, Logprobs, ReasoningDelta, Started, TextDelta
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.ollama.decode import Decoder
from tokenwire.dialects.ollama.encode import REASONS_KEPT, Encoder
from tokenwire.dialects.ollama.errors import error_body, is_error_line
from tokenwire.dialects.ollama.form import CHAT, NAME, Form
from tokenwire.dialects.ollama.response import decode_response, fold_response
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire.sse import Event

__all__ = ["DIALECT", "NAME", "Decoder", "Encoder", "decode_response", "dialect_of", "fold_response", "look", "scan"]

#: A call is worth decoding, beside what ends an answer: the word of the last line does not tell that there was one.
_UNREMARKABLE: Final = frozenset({Started, TextDelta, ReasoningDelta, Logprobs})


class _PlainMessage(msgspec.Struct, gc=False):
    content: str = ""
    thinking: str = ""
    tool_calls: None = None


class _PlainLine(msgspec.Struct, gc=False):
    """A line as nearly all are: a piece of text or thought. Unknown members may be in it; those that are null here may
    not say anything."""

    message: _PlainMessage
    done: bool = False
    error: None = None
    done_reason: None = None


_decode_plain: Final = msgspec.json.Decoder(_PlainLine).decode


def peek(line: bytes) -> None:
    """Raises ValueError unless *line* is one plain chunk. No type of msgspec's says "false and nothing else", or this
    would be the decoder itself."""
    if _decode_plain(line).done:
        raise ValueError("the last line")


def scan(frame: bytes) -> int:
    """A cheap look at one line, the hot path. Never raises.

    Returns:
        ``PLAIN``; else ``NOTABLE``, with ``DONE`` and ``ERROR`` where they apply. An ``ERROR`` is also ``SWALLOWED`` if
        Ollama's clients would not raise it as what it is, and nothing generated is lost with it.
    """
    try:
        peek(frame)
    except (ValueError, RecursionError):
        return look(frame, Decoder())[0]
    return Mark.PLAIN


def look(frame: bytes, decoder: Decoder) -> tuple[int, list[Delta]]:
    """The plain version of ``scan``: what *decoder* makes of the line, and the mark that follows from it."""
    text = frame.decode("utf-8", "replace")
    over = decoder.done
    deltas = decoder.feed(Event(data=text.rstrip("\r\n")))
    kinds = set(map(type, deltas))
    mark: int = Mark.PLAIN if kinds <= _UNREMARKABLE else Mark.NOTABLE
    if Failed in kinds:
        swallowed = not _raises(text) and kinds.isdisjoint({TextDelta, ReasoningDelta})
        mark |= Mark.ERROR | Mark.SWALLOWED if swallowed else Mark.ERROR
    if decoder.done and not over:
        mark |= Mark.DONE
    return mark, deltas


def _raises(text: str) -> bool:
    """Whether Ollama's clients raise this line as the error that it is."""
    try:
        return is_error_line(loads(text)[0])
    except (ValueError, RecursionError):
        return False


def dialect_of(
    form: Form,
    scan: Callable[[bytes], int],
    peek: Callable[[bytes], object],
    holes: tuple[tuple[str | int, ...], ...],
) -> Dialect:
    """The record of one of the two forms."""

    def decoder() -> Decoder:
        return Decoder(form)

    def encoder(stream: str, created: float, model: str) -> Encoder:
        return Encoder(stream, created, model, form)

    return Dialect(
        name=form.name,
        framing="ndjson",
        content_type="application/x-ndjson",
        ids=None,
        heartbeat=b"",  # the stock client raises at a blank line, and nothing else means nothing
        loses={
            "several answers": "the first is told",
            "signature": "left out",
            "call signature": "left out",
            "tool results": "left out: the model's own answers have none",
            "refusal": "told as text",
            "citations": "left out",
            "cached input": "part of prompt_eval_count",
            "cache writes": "part of prompt_eval_count",
            "reasoning tokens": "part of eval_count",
        },
        reasons=REASONS_KEPT,
        holes=holes,
        decoder=decoder,
        encoder=encoder,
        scan=scan,
        look=look,
        opening=b"",
        end=b'{"done":true}\n',
        peek=peek,
        decode_response=partial(decode_response, form=form),
        fold_response=partial(fold_response, form=form),
        error_body=error_body,
        describe_error=describe_error,
    )


DIALECT: Final = dialect_of(CHAT, scan, peek, (("message", "content"), ("message", "thinking"), ("created_at",)))
