"""One choice of a chat stream: its deltas, read member by member. What is remembered of it is state, never its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import (
    Citation,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
)
from tokenwire.dialects.json_text import NOTHING, mend
from tokenwire.dialects.numbering import Blocks, Ids
from tokenwire.dialects.openai_chat.parts import content_parts, google_extra, reasoning_details
from tokenwire.dialects.openai_chat.tools import GOOGLE, End, Entry, ToolCalls
from tokenwire.dialects.signatures import unwrap

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason
    from tokenwire.dialects.openai_chat.plain import PlainDelta

NAME: Final = "openai.chat"

#: The words of ``finish_reason`` (reference, section 8, and Q27). Another word is ``unknown``, with the word beside it.
REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop", "end_turn": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop",
    "length": "length", "model_length": "length", "max_tokens": "length",
    "tool_calls": "tool_use", "function_call": "tool_use", "tool_use": "tool_use",
    "content_filter": "content_filter", "refusal": "refusal",
    "error": "error", "insufficient_system_resource": "error", "abort": "error",
}  # fmt: skip

# Members that are understood, or that say nothing about the answer. Everything else is passed on as Opaque.
_CHOICE = frozenset({
    "index", "delta", "message", "finish_reason", "logprobs", "usage", "error", "content_filter_results",
    "text", "seed",  # Together: the delta's content once more, and a constant
})  # fmt: skip
_DELTA = frozenset({
    "role", "content", "refusal", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks",
    "tool_calls", "function_call", "annotations", "index", "token_id", "extra_content",
})  # fmt: skip
_REASONING = frozenset({"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"})


class ChoiceDecoder:
    """One choice of a stream, with the *ids* that all its choices share.

    ``finished`` is set by the first finish_reason; what still comes after it is accepted (Q24).
    """

    __slots__ = ("_blocks", "_held", "_ids", "_refused", "_rest", "calls", "finished", "index", "torn")

    def __init__(self, index: int, ids: Ids) -> None:
        self.index = index
        self.calls = ToolCalls(index)
        self.finished = False
        self.torn = False  # whether the chunk being read may hold halves of characters
        self._ids = ids
        self._blocks = Blocks()
        self._refused = False
        self._held: dict[str, str] = {}  # half characters, by the kind of text that they ended
        self._rest: dict[str, Any] = {}  # unknown members as last seen: said again only when they change

    def copy(self, ids: Ids) -> ChoiceDecoder:
        twin = ChoiceDecoder(self.index, ids)
        twin.calls, twin.finished, twin.torn = self.calls.copy(), self.finished, self.torn
        twin._blocks, twin._held = self._blocks.copy(), dict(self._held)
        twin._refused, twin._rest = self._refused, self._rest
        return twin

    def read(self, fields: dict[str, Any], out: list[Delta]) -> None:
        """One entry of ``choices``: what its delta brings, then log-probabilities, then why it ended (Q22)."""
        delta = fields.get("delta")
        if not isinstance(delta, dict):
            delta = fields.get("message")  # an answer that was not streamed has the whole message in its place
        unknown: dict[str, Any] = {}
        if isinstance(delta, dict):
            unknown = self._delta(delta, out)
            rest = {} if _CHOICE.issuperset(fields) else _unknown(fields, _CHOICE)
            filters = _flagged(fields.get("content_filter_results"))
        else:  # Q18: Azure's asynchronous filter speaks of text that was sent before
            rest = _unknown(fields, _CHOICE)
            filters = fields.get("content_filter_results")
        if filters:
            rest["content_filter_results"] = filters
        if logprobs := fields.get("logprobs"):
            self._logprobs(logprobs, rest, out)
        if not self.finished and isinstance(word := fields.get("finish_reason"), str) and word:  # Q26: "" is null
            self._finish(word, out)
        if rest == self._rest:
            rest = {}
        elif rest:
            self._rest = rest
        if unknown or rest:
            said = {"index": self.index, **rest, **({"delta": unknown} if unknown else {})}
            out.append(Opaque(NAME, {"choices": [said]}, choice=self.index))

    def read_plain(self, said: PlainDelta) -> list[Delta]:
        """The same for a plain chunk: nothing stands in its choice but the delta *said*."""
        self.torn = False
        out: list[Delta] = []
        if thought := said.reasoning_content or said.reasoning:
            self._say("reasoning", thought, out)
        if said.content:
            self._say("text", said.content, out)
        if said.tool_calls:
            unknown: dict[str, Any] = {}
            self._calls("tool_calls", said.tool_calls, unknown, out)
            if unknown:
                out.append(Opaque(NAME, {"choices": [{"index": self.index, "delta": unknown}]}, choice=self.index))
        return out

    def end(self, out: list[Delta], *, broken: bool) -> bool:
        """The stream is over. Returns False if it broke off in the midst of a tool call's arguments."""
        self._flush(out)
        cut = not self.finished and self.calls.incomplete()
        over: End = "none" if broken or cut else "complete" if self.finished else "all"
        out += self.calls.finish(self._blocks, self._ids, over)
        if not (self.finished or broken or cut):  # Q11: [DONE], and nobody said why
            self.finished = True
            out.append(Finished("tool_use" if self.calls else "unknown", None, self.index))
        return not cut

    def cite(self, source: dict[str, Any], out: list[Delta]) -> None:
        out.append(Citation(source, self.index, self._blocks.last.get("text", 0)))

    def _delta(self, delta: dict[str, Any], out: list[Delta]) -> dict[str, Any]:
        """The members of a delta; returns those that are not understood."""
        unknown = {} if _DELTA.issuperset(delta) else _unknown(delta, _DELTA)
        if not _REASONING.isdisjoint(delta):
            self._reasoning(delta, unknown, out)
        google = google_extra(delta)
        content = delta.get("content")
        if isinstance(content, str):
            self._say("reasoning" if google.thought else "text", content, out)
        elif isinstance(content, list):
            self._parts("content", content_parts(content), unknown, out)
        elif content is not None:
            unknown["content"] = content
        if isinstance(refusal := delta.get("refusal"), str):  # Q20: may be false
            self._say("refusal", refusal, out)
        if calls := delta.get("tool_calls"):  # Q45: null and [] are nothing
            self._calls("tool_calls", calls, unknown, out)
        if function := delta.get("function_call"):
            self._calls("function_call", {"function": function}, unknown, out)
        if google.signature is not None:
            self._sign(google.signature, GOOGLE, out)
        if google.rest is not None:
            unknown["extra_content"] = google.rest
        sources = delta.get("annotations")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict):
                self.cite({name: value for name, value in source.items() if name != "index"}, out)
        return unknown

    def _reasoning(self, delta: dict[str, Any], unknown: dict[str, Any], out: list[Delta]) -> None:
        """Servers put the same thought into one, two or three members (Q16): the first that has it is taken."""
        thought = ""
        for name in ("reasoning_content", "reasoning"):
            value = delta.get(name)
            if isinstance(value, str):
                thought = thought or value
            elif value not in NOTHING:
                unknown[name] = value
        if thought:
            self._say("reasoning", thought, out)
        for name in ("reasoning_details", "thinking_blocks"):
            if not (details := delta.get(name)):
                continue
            parts = reasoning_details(details if isinstance(details, list) else [details])
            parts = (part for part in parts if not (thought and part[0] == "reasoning"))
            self._parts(name, parts, unknown, out)

    def _parts(self, name: str, parts: Any, unknown: dict[str, Any], out: list[Delta]) -> None:
        for kind, value in parts:
            if kind == "signature":
                self._sign(value, NAME, out)
            elif kind == "citation":
                self.cite(value, out)
            elif kind == "unknown":
                unknown.setdefault(name, []).append(value)
            else:
                self._say(kind, value, out)

    def _sign(self, signature: str, maker: str, out: list[Delta]) -> None:
        """Proof of the last thought; of one that is not shown, if there was none."""
        block = self._blocks.last.get("reasoning")
        block = self._blocks.run("reasoning") if block is None else block
        signature, maker = unwrap(signature, maker)
        out.append(ReasoningSignature(signature, self.index, block, maker))

    def _say(self, kind: str, text: str, out: list[Delta]) -> None:
        """Text of one kind: ``text``, ``reasoning`` or ``refusal``."""
        if self.torn or self._held:
            text = mend(self._held, kind, text)
        if not text:
            return
        block = self._blocks.run(kind)
        if kind == "text":
            out.append(TextDelta(text, self.index, block))
        elif kind == "reasoning":
            out.append(ReasoningDelta(text, self.index, block))
        else:
            self._refused = True
            out.append(RefusalDelta(text, self.index, block))

    def _flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for kind in list(self._held):
            del self._held[kind]
            self._say(kind, "\ufffd", out)

    def _calls(self, name: str, value: Any, unknown: dict[str, Any], out: list[Delta]) -> None:
        for fields in value if isinstance(value, list) else (value,):
            if not isinstance(fields, dict):
                unknown.setdefault(name, []).append(fields)
                continue
            entry = Entry(fields)
            deltas = self.calls.feed(entry, self._blocks, self._ids, self.torn)
            if deltas is None:
                unknown.setdefault(name, []).append(fields)
                continue
            out += deltas
            if entry.rest:
                unknown.setdefault(name, []).append({"index": entry.place, **entry.rest})

    def _logprobs(self, logprobs: Any, rest: dict[str, Any], out: list[Delta]) -> None:
        fields = logprobs if isinstance(logprobs, dict) else {}
        content, refusal = fields.get("content"), fields.get("refusal")
        content = content if isinstance(content, list) and content else None
        refusal = refusal if isinstance(refusal, list) and refusal else None
        if content or refusal:
            out.append(Logprobs(content, refusal, self.index))
        elif not {"content", "refusal"}.issuperset(fields):
            rest["logprobs"] = logprobs

    def _finish(self, word: str, out: list[Delta]) -> None:
        """The first finish_reason counts (Q23). Calls make an ordinary end a tool use, a refusal makes it a refusal."""
        self.finished = True
        reason = REASONS.get(word.lower(), "unknown")
        if reason == "stop" and self.calls:
            reason = "tool_use"
        elif reason == "stop" and self._refused:
            reason = "refusal"
        self._flush(out)
        out += self.calls.finish(self._blocks, self._ids, "all" if reason in ("stop", "tool_use") else "complete")
        out.append(Finished(reason, word, self.index))


def _unknown(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in known and value not in NOTHING}


def _flagged(filters: Any) -> Any:
    """Azure's filter results, if they say anything but that all is well: that stands in every chunk."""
    if not isinstance(filters, dict):
        return filters
    hit = any(
        result.get("filtered") or result.get("detected") for result in filters.values() if isinstance(result, dict)
    )
    return filters if hit or "error" in filters else None
