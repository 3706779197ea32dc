"""Lines of NDJSON -> deltas: Ollama's, and those of servers that imitate it (reference, sections 7.5 and 12).

A line says what is new: thinking, text, tool calls, log-probabilities. The last one has ``done: true`` and says why the
answer ended and what it cost; without it, a stream was cut. Nothing is taken on trust: members may be missing, null or
of another type. What is unknown becomes ``Opaque``, in the place where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.deltas import (
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.json_text import NOTHING, loads, mend, scrub, scrub_fields, whole
from tokenwire.dialects.numbering import Blocks, Ids
from tokenwire.dialects.ollama.form import CHAT, Form
from tokenwire.dialects.ollama.times import seconds_of
from tokenwire.dialects.ollama.usage import read_usage
from tokenwire.dialects.openai_chat.errors import describe_text, failed, find_error
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason
    from tokenwire.wire.sse import Event

#: The words of ``done_reason``. Ollama itself has ``stop``, ``length``, ``load`` and ``unload``; the others are those
#: that our encoder writes where the model that answers is another vendor's.
REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop", "length": "length", "content_filter": "content_filter", "error": "error",
}  # fmt: skip


class Decoder:
    """Lines of one stream -> deltas. ``feed`` never raises, whatever the line is.

    Attributes:
        done: the last line was seen; whatever follows is nothing.
    """

    __slots__ = ("_blocks", "_called", "_closed", "_failed", "_form", "_held", "_ids", "_rest", "_started", "done")

    def __init__(self, form: Form = CHAT) -> None:
        self.done = False
        self._form = form
        self._started: Started | None = None
        self._blocks = Blocks()
        self._ids = Ids()
        self._held: dict[str, str] = {}  # half characters, by the kind of text that they ended
        self._rest: dict[str, Any] = {}  # unknown members as last seen: said again only when they change
        self._called = False
        self._failed = False
        self._closed = False

    def feed(self, event: Event) -> list[Delta]:
        text = event.data.strip(" \t\r\n")
        if self.done or not text:
            return []
        out: list[Delta] = []
        try:
            value, torn = loads(text)
            self._read(value, torn, out)
            return [scrub_fields(delta) for delta in out] if torn else out
        except RecursionError:  # nested a thousand levels deep: nobody's line
            return [Opaque(self._form.name, whole(text))]
        except ValueError:
            self._fail(describe_text(text), out)  # Q15
            return out

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self._closed or self.done):
            self._flush(out)
            self._fail(Failed("truncated", str(TruncatedStream(self._form.name)), retryable=True), out)
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder(self._form)
        twin.done, twin._started, twin._rest = self.done, self._started, self._rest
        twin._blocks, twin._ids, twin._held = self._blocks.copy(), self._ids.copy(), dict(self._held)
        twin._called, twin._failed, twin._closed = self._called, self._failed, self._closed
        return twin

    def _fail(self, failure: Failed, out: list[Delta]) -> None:
        """Only the first failure is told."""
        if not self._failed:
            self._failed = True
            out.append(failure)

    def _read(self, value: Any, torn: bool, out: list[Delta]) -> None:
        error = find_error(value)
        if isinstance(value, dict) and not self._form.marks.isdisjoint(value):
            self._line(value, torn, out)
            if error is value and isinstance(value.get("message"), dict):  # the answer's, and not the error's sentence
                error = {name: member for name, member in value.items() if name not in self._form.known - {"error"}}
        elif error is None and value not in NOTHING:
            out.append(Opaque(self._form.name, value))
        if error is not None:
            self._fail(failed(scrub(error) if torn else error), out)

    def _line(self, line: Mapping[str, Any], torn: bool, out: list[Delta]) -> None:
        self._identify(line, out)
        words, unknown = self._form.read(line)
        for kind, name in (("reasoning", "thinking"), ("text", "content")):
            text = words.get(name)
            if isinstance(text, str):
                self._say(kind, text, torn, out)
            elif text is not None:
                unknown[name] = text
        if calls := words.get("tool_calls"):
            left = [each for each in (calls if isinstance(calls, list) else [calls]) if not self._call(each, out)]
            if left:
                unknown["tool_calls"] = left
        if logprobs := line.get("logprobs"):
            if isinstance(logprobs, list):
                out.append(Logprobs(logprobs))
            else:
                unknown["logprobs"] = logprobs
        self._unknown(line, unknown, out)
        if line.get("done") is True:
            self._end(line, out)

    def _identify(self, line: Mapping[str, Any], out: list[Delta]) -> None:
        """Model and time as first told. A line has no id: the time, of nanoseconds, tells this answer's made-up ids of
        calls from those of the turns before it."""
        old = self._started
        if old is not None and old.model and old.created:
            return
        model, at = line.get("model"), line.get("created_at")
        new = Started(
            None,
            (old and old.model) or (model if isinstance(model, str) and model else None),
            (old and old.created) or (seconds_of(at) if isinstance(at, str) else None),
        )
        if new != old:
            self._started = new
            if isinstance(at, str):
                self._ids.seed = self._ids.seed or whole(at)
            out.append(new)

    def _say(self, kind: str, text: str, torn: bool, out: list[Delta]) -> None:
        if torn or self._held:
            text = mend(self._held, kind, text)
        if text:
            block = self._blocks.run(kind)
            out.append(TextDelta(text, 0, block) if kind == "text" else ReasoningDelta(text, 0, block))

    def _flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for kind in list(self._held):
            del self._held[kind]
            self._say(kind, "\ufffd", False, out)

    def _call(self, entry: Any, out: list[Delta]) -> bool:
        """One entry of ``tool_calls``, which is a whole call; False if it is none. The index is 0 for all with some
        models, and the id is often missing: neither is relied on."""
        function = entry.get("function") if isinstance(entry, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name.strip():
            return False
        assert isinstance(function, dict)
        given = entry.get("id")
        given = given if isinstance(given, str) and given.strip() else None
        block = self._blocks.fresh()
        self._called = True
        out.append(ToolCallStarted(self._ids.unique(given), name, 0, block))
        out.append(ToolCallDelta(_arguments(function.get("arguments")), 0, block))
        out.append(ToolCallEnded(0, block))
        return True

    def _unknown(self, line: Mapping[str, Any], unknown: dict[str, Any], out: list[Delta]) -> None:
        said = {name: value for name, value in unknown.items() if value not in NOTHING}
        rest: dict[str, Any] = {"message": said} if said and self._form is CHAT else said
        known = self._form.known
        if not known.issuperset(line):
            rest |= {name: value for name, value in line.items() if name not in known and value not in NOTHING}
        if rest == self._rest:
            return
        if rest:
            self._rest = rest
            out.append(Opaque(self._form.name, rest))

    def _end(self, line: Mapping[str, Any], out: list[Delta]) -> None:
        """The last line. Calls make an ordinary end a tool use: the word stays ``stop`` (Q47). Older servers say no
        reason at all (Q26)."""
        self.done = True
        self._flush(out)
        word = line.get("done_reason")
        word = word if isinstance(word, str) and word else None
        reason = REASONS.get(word or "", "unknown")
        if self._called and reason in ("stop", "unknown"):
            reason = "tool_use"
        out.append(Finished(reason, word))
        if (usage := read_usage(line)) is not None:
            out.append(usage)


def _arguments(value: Any) -> str:
    """Arguments as JSON text: an object; imitations send text, or nothing for no parameters (Q44)."""
    if isinstance(value, str):
        return whole(value) if value.strip() else "{}"
    return "{}" if value is None else msgspec.json.encode(scrub(value)).decode()
