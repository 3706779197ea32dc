"""Responses events -> deltas (reference, section 4; the quirk of section 12 that a line is there for stands beside it).

An event says what it is in ``type``, items are told apart by ``output_index`` (their ids may change, Q28), and nothing
else is taken on trust. Messages, thoughts and function calls have deltas. All other items and events become ``Opaque``,
the whole event: built-in tools, audio, and calls of custom tools, whose input is free text and no JSON object, so that
no reader could run them as a function's call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Failed, Finished, Opaque, Started
from tokenwire.dialects.json_text import NOTHING, loads, scrub, scrub_fields, whole
from tokenwire.dialects.openai_chat.decode import Decoder as ChatDecoder
from tokenwire.dialects.openai_chat.errors import describe_text, failed, find_error
from tokenwire.dialects.openai_responses.errors import flagged
from tokenwire.dialects.openai_responses.items import NAME
from tokenwire.dialects.openai_responses.output import UNDERSTOOD, Output, list_in, object_in, whole_in
from tokenwire.dialects.openai_responses.usage import read_usage
from tokenwire.errors import TruncatedStream
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Delta, FinishReason
    from tokenwire.dialects.openai_responses.items import Item, Kind

#: The reasons of an answer that is ``incomplete``.
_INCOMPLETE: Final[dict[str, FinishReason]] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class Decoder:
    """Events of one Responses stream -> deltas. ``feed`` never raises, whatever the data is.

    Only a terminal event ends a stream: without one, ``close`` says that the answer is incomplete. Some servers answer
    with chat chunks (Q33): from the first such event on, it is a chat stream.

    Attributes:
        done: the terminal event was seen; what follows it means nothing.
    """

    __slots__ = ("_chat", "_closed", "_failed", "_output", "_started", "_torn", "done")

    def __init__(self) -> None:
        self._output = Output()
        self._chat: ChatDecoder | None = None
        self._started = False
        self._torn = False
        self._failed = False
        self._closed = False
        self.done = False

    def feed(self, event: Event) -> list[Delta]:
        if self.done:
            return []
        try:
            return self._feed(event)
        except RecursionError:  # nested a thousand levels deep: nobody's event
            return [Opaque(NAME, whole(event.data))]

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self._closed or self.done):
            if self._chat is not None:
                out = self._chat.close()
            else:
                self._output.flush(out)
                self._fail(Failed("truncated", str(TruncatedStream(NAME)), retryable=True), out)
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._output = self._output.copy()
        twin._chat = None if self._chat is None else self._chat.copy()
        twin._started, twin._torn = self._started, self._torn
        twin._failed, twin._closed, twin.done = self._failed, self._closed, self.done
        return twin

    def _feed(self, event: Event) -> list[Delta]:
        if self._chat is not None:
            self.done = event.data.lstrip().startswith("[DONE]")
            return self._chat.feed(event)
        data = event.data.strip()
        out: list[Delta] = []
        try:
            value, self._torn = loads(data)
        except ValueError:
            if event.event == "error":
                self._fail(failed(whole(data[:2000]) or None), out)
            elif data and not data.startswith("[DONE]"):  # Q33: it may stand at the end, and means nothing
                self._fail(describe_text(data), out)
            return out
        self._read(value, event, out)
        return [scrub_fields(delta) for delta in out] if self._torn else out

    def _read(self, value: Any, event: Event, out: list[Delta]) -> None:
        fields: dict[str, Any] = value if isinstance(value, dict) else {}
        said = fields.get("type")
        kind = said if isinstance(said, str) and said else event.event
        handle = _HANDLERS.get(kind)
        if handle is not None and fields:
            handle(self, fields if kind == said else {**fields, "type": kind}, out)
            return
        if "choices" in fields and not isinstance(said, str):
            self._chat = ChatDecoder()
            out += self._chat.feed(event)
            return
        error = None if kind.startswith("response.") else find_error(value)
        if error is not None:
            self._fail(failed(scrub(error) if self._torn else error), out)
        elif value not in NOTHING:
            out.append(Opaque(NAME, value, None if kind == "message" else kind))

    def _fail(self, failure: Failed, out: list[Delta]) -> None:
        """Only the first failure is told: ``error`` and ``response.failed`` bring the same (Q31)."""
        if not self._failed:
            self._failed = True
            out.append(failure)

    # ------------------------------------------------------------------ the response

    def _lifecycle(self, event: dict[str, Any], out: list[Delta]) -> None:
        self._begin(object_in(event, "response"), out)

    def _begin(self, response: dict[str, Any], out: list[Delta]) -> None:
        """What the response says of itself, the first time that it says something."""
        if self._started:
            return
        id_, model, created = response.get("id"), response.get("model"), response.get("created_at")
        started = Started(
            id_ if isinstance(id_, str) and id_ else None,
            model if isinstance(model, str) and model else None,
            created if isinstance(created, int | float) and created > 0 else None,
        )
        if started != Started():
            self._started = True
            self._output.ids.seed = started.id or ""
            out.append(started)

    def _terminal(self, event: dict[str, Any], out: list[Delta]) -> None:
        response = object_in(event, "response")
        self._begin(response, out)
        ended = str(event.get("type")).removeprefix("response.")
        status = response.get("status")
        if status not in ("completed", "incomplete", "failed", "cancelled"):
            status = ended if ended in ("completed", "incomplete", "failed") else "completed"
        output = response.get("output")
        if isinstance(output, list):
            self._output.recount(output, out)
        if status == "completed":
            self._output.end_calls(out)
        self._output.flush(out)
        usage = read_usage(response.get("usage"))
        if usage is not None:
            out.append(usage)
        if filtered := flagged(response.get("content_filters")):  # Azure
            out.append(Opaque(NAME, {"response": {"content_filters": filtered}}, f"response.{ended}"))
        if status == "cancelled":
            self._fail(Failed("cancelled", "the response was cancelled", raw=response.get("error")), out)
        elif status == "failed":
            error = response.get("error") or {"message": "the response failed, and the upstream gave no reason"}
            self._fail(failed(scrub(error) if self._torn else error), out)
        elif not self._failed:
            out.append(self._finish(status, response))
        self.done = True

    def _finish(self, status: str, response: dict[str, Any]) -> Finished:
        """There is no word for the use of tools, nor for a refusal: what was said tells it (reference, section 8)."""
        if status == "incomplete":
            word = object_in(response, "incomplete_details").get("reason")
            native = f"{status}:{word}" if isinstance(word, str) and word else status
            return Finished(_INCOMPLETE.get(str(word), "length" if self._output.cut else "unknown"), native)
        if self._output.cut:
            return Finished("length", status)
        return Finished("tool_use" if self._output.called else "refusal" if self._output.refused else "stop", status)

    # ------------------------------------------------------------------ its items

    def _item_added(self, event: dict[str, Any], out: list[Delta]) -> None:
        item = self._output.of(event, object_in(event, "item"), out, new=True)
        if item is None or item.type not in UNDERSTOOD:
            self._other(event, out)

    def _item_done(self, event: dict[str, Any], out: list[Delta]) -> None:
        fields = object_in(event, "item")
        item = self._output.of(event, fields, out)
        if item is None or item.type not in UNDERSTOOD:
            self._other(event, out)
        else:
            self._output.settle(item, fields, out)
            item.flush(out)
        if item is not None:
            item.sealed = True

    def _text_of(self, event: dict[str, Any], kind: str, out: list[Delta]) -> Item:
        """The item of that *kind* which a text belongs to: its beginning may have been left out."""
        item = self._output.of(event, {"type": kind}, out)
        assert item is not None
        return item

    # ------------------------------------------------------------------ their texts

    def _part(self, event: dict[str, Any], out: list[Delta]) -> None:
        part = object_in(event, "part")
        kind = part.get("type")
        self._output.refused = self._output.refused or kind == "refusal"
        of = "reasoning" if kind in ("reasoning_text", "summary_text") else "message"
        index = whole_in(event, "summary_index" if kind == "summary_text" else "content_index")
        if not self._text_of(event, of, out).part(index, part, self._output.blocks, out):
            self._other(event, out)

    def _delta(self, event: dict[str, Any], out: list[Delta]) -> None:
        of, kind, place, _ = _TEXTS[event["type"].rpartition(".")[0]]
        self._output.refused = self._output.refused or kind == "refusal"
        item = self._text_of(event, of, out)
        index = whole_in(event, place)
        item.say(kind, index, event.get("delta"), self._torn, self._output.blocks, out)
        if kind == "text":
            item.score(index, list_in(event, "logprobs"), self._output.blocks, out)

    def _text_done(self, event: dict[str, Any], out: list[Delta]) -> None:
        of, kind, place, member = _TEXTS[event["type"].rpartition(".")[0]]
        item = self._text_of(event, of, out)
        index = whole_in(event, place)
        item.fill(kind, index, event.get(member), self._output.blocks, out)
        if kind == "text":
            item.notes(index, event, self._output.blocks, out)

    def _annotation(self, event: dict[str, Any], out: list[Delta]) -> None:
        item = self._text_of(event, "message", out)
        item.cite(whole_in(event, "content_index"), event.get("annotation"), self._output.blocks, out)

    def _arguments(self, event: dict[str, Any], out: list[Delta]) -> None:
        """A fragment of arguments, or all of them. A call whose beginning was left out has no name: its end tells."""
        item = self._output.call(event)
        if item is not None and not item.ended:
            item.say("arguments", 0, event.get("delta"), self._torn, self._output.blocks, out)
            item.fill("arguments", 0, event.get("arguments"), self._output.blocks, out)

    # ------------------------------------------------------------------ the rest

    def _nothing(self, event: dict[str, Any], out: list[Delta]) -> None:
        """Says nothing (Q30)."""

    def _error(self, event: dict[str, Any], out: list[Delta]) -> None:
        error = event.get("error") or {name: event[name] for name in event if name != "sequence_number"}
        self._fail(failed(scrub(error) if self._torn else error), out)

    def _other(self, event: dict[str, Any], out: list[Delta]) -> None:
        kind = event.get("type")
        out.append(Opaque(NAME, event, kind if isinstance(kind, str) else None))


#: Events of a text, without their last word -> item, kind of text, the members with its number and with all of it.
_TEXTS: Final[dict[str, tuple[str, Kind, str, str]]] = {
    "response.output_text": ("message", "text", "content_index", "text"),
    "response.refusal": ("message", "refusal", "content_index", "refusal"),
    "response.reasoning_summary_text": ("reasoning", "summary", "summary_index", "text"),
    "response.reasoning_text": ("reasoning", "thought", "content_index", "text"),
}


_HANDLERS: Final[dict[str, Callable[[Decoder, dict[str, Any], list[Delta]], None]]] = {
    "response.created": Decoder._lifecycle,
    "response.queued": Decoder._lifecycle,
    "response.in_progress": Decoder._lifecycle,
    "response.completed": Decoder._terminal,
    "response.incomplete": Decoder._terminal,
    "response.failed": Decoder._terminal,
    "response.output_item.added": Decoder._item_added,
    "response.output_item.done": Decoder._item_done,
    "response.content_part.added": Decoder._part,
    "response.content_part.done": Decoder._part,
    "response.reasoning_summary_part.added": Decoder._part,
    "response.reasoning_summary_part.done": Decoder._part,
    **{f"{stem}.delta": Decoder._delta for stem in _TEXTS},
    **{f"{stem}.done": Decoder._text_done for stem in _TEXTS},
    "response.output_text.annotation.added": Decoder._annotation,
    "response.function_call_arguments.delta": Decoder._arguments,
    "response.function_call_arguments.done": Decoder._arguments,
    "keepalive": Decoder._nothing,
    "response.keep_alive": Decoder._nothing,
    "response.keepalive": Decoder._nothing,
    "ping": Decoder._nothing,
    "error": Decoder._error,
}
