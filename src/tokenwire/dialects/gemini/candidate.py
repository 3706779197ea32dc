"""One candidate of a Gemini stream: its parts, read one by one. What is remembered of it is state, never its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.gemini import citations, logprobs
from tokenwire.dialects.gemini.calls import StreamedCall
from tokenwire.dialects.json_text import NOTHING, mend, scrub
from tokenwire.dialects.numbering import Blocks, Ids

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason

NAME: Final = "gemini"

#: The words of ``finishReason`` (reference, section 8). Another word is ``unknown``, with the word beside it.
REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length",
    **dict.fromkeys((
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION",
        "PUP_LIMITED_DISABLED",
    ), "content_filter"),
    **dict.fromkeys((
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "OTHER",
    ), "error"),
}  # fmt: skip

#: Words of protobuf clients that mean: goes on.
UNFINISHED: Final = ("", "FINISH_REASON_UNSPECIFIED")

# Members that are understood, or that say nothing about the answer. Everything else is passed on as Opaque.
_CANDIDATE: Final = frozenset({
    "index", "content", "finishReason", "finishMessage", "safetyRatings", "citationMetadata", "groundingMetadata",
    "logprobsResult", "tokenCount", "avgLogprobs",
})  # fmt: skip
_TEXT: Final = frozenset({"text", "thought", "thoughtSignature"})
_CALL: Final = frozenset({"functionCall", "thoughtSignature", "thought"})


class CandidateDecoder:
    """One candidate of a stream, with the *ids* that all share.

    Attributes:
        finished: set by the first finishReason; what still comes after it is accepted (Q60).
        failure: what the last event told that ends the stream, beside why the candidate ended.
    """

    __slots__ = (
        "_blocks", "_called", "_cited", "_grounding", "_held", "_ids", "_rest", "_said", "_streamed", "failure",
        "finished", "index", "torn",
    )  # fmt: skip

    def __init__(self, index: int, ids: Ids) -> None:
        self.index = index
        self.finished = False
        self.failure: Failed | None = None
        self.torn = False  # whether the event being read may hold halves of characters
        self._ids = ids
        self._blocks = Blocks()
        self._called = False
        self._said = False
        self._streamed: StreamedCall | None = None
        self._held: dict[str, str] = {}  # half characters, by the kind of text that they ended
        self._grounding: dict[str, Any] = {}  # the last that said something, until it is told
        self._cited: set[bytes] = set()
        self._rest: dict[str, Any] = {}  # unknown members as last seen: said again only when they change

    def copy(self, ids: Ids) -> CandidateDecoder:
        twin = CandidateDecoder(self.index, ids)
        twin.finished, twin.failure, twin.torn = self.finished, self.failure, self.torn
        twin._blocks, twin._called, twin._said = self._blocks.copy(), self._called, self._said
        twin._streamed = None if self._streamed is None else self._streamed.copy()
        twin._held, twin._cited = dict(self._held), set(self._cited)
        twin._grounding, twin._rest = self._grounding, self._rest
        return twin

    def read(self, fields: dict[str, Any], out: list[Delta]) -> None:
        """One entry of ``candidates``: its parts, log-probabilities, sources, then perhaps why it ended."""
        content = fields.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None  # Q57
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._part(part, out)
        if (result := fields.get("logprobsResult")) and (entries := logprobs.read(result)):
            out.append(Logprobs(entries, None, self.index))
        for source in self._new(citations.read_quotes(fields.get("citationMetadata"))):
            self._cite(source, out)
        grounding = fields.get("groundingMetadata")
        if isinstance(grounding, dict) and grounding:
            self._grounding = grounding
        word = fields.get("finishReason")
        if not self.finished and isinstance(word, str) and word not in UNFINISHED:
            self._finish(word, fields.get("finishMessage"), out)
        elif self.finished:
            self._ground(out)
        self._unknown(fields, out)

    def end(self, out: list[Delta], *, broken: bool) -> None:
        """The bytes are over. Where they are whole, what was not said is made good: calls end, and so does the
        candidate."""
        self._flush(out)
        if not (self.finished or broken):
            self._end_call(out)
            self.finished = True
            out.append(Finished("tool_use" if self._called else "unknown", None, self.index))
        self._ground(out)

    def _part(self, part: dict[str, Any], out: list[Delta]) -> None:
        call, text, signature = part.get("functionCall"), part.get("text"), part.get("thoughtSignature")
        known = _TEXT
        if isinstance(call, dict):
            known = _CALL
            self._call(call, signature, out)
        elif isinstance(text, str) or (signature and _TEXT.issuperset(part)):
            kind = "reasoning" if part.get("thought") is True else "text"
            self._say(kind, text or "", out)
            self._sign(kind, signature, out)
        elif part:
            known = frozenset()
        if rest := _rest(part, known):
            content = {"role": "model", "parts": [rest if known else part]}
            out.append(Opaque(NAME, {"candidates": [{"index": self.index, "content": content}]}, choice=self.index))

    def _say(self, kind: str, text: str, out: list[Delta]) -> None:
        """Text of one kind: ``text`` or ``reasoning``."""
        if self.torn or self._held:
            text = mend(self._held, kind, text)
        if not text:
            return
        self._end_call(out)
        self._said = True
        block = self._blocks.run(kind)
        if kind == "text":
            out.append(TextDelta(text, self.index, block))
        else:
            out.append(ReasoningDelta(text, self.index, block))

    def _flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for kind in list(self._held):
            del self._held[kind]
            self._say(kind, "\ufffd", out)

    def _sign(self, kind: str, signature: Any, out: list[Delta]) -> None:
        """A signature of the text or thought on whose part it stands; with an empty text, of the one before (Q56)."""
        if isinstance(signature, str) and signature:
            block = self._blocks.last.get(kind, self._blocks.last.get("reasoning"))
            block = self._blocks.run("reasoning") if block is None else block
            out.append(ReasoningSignature(signature, self.index, block, NAME))

    def _call(self, fields: dict[str, Any], signature: Any, out: list[Delta]) -> None:
        """A call: whole; or the first, a further or the last piece of one (Vertex)."""
        name, id_ = fields.get("name"), fields.get("id")
        name = name if isinstance(name, str) and name else None
        id_ = id_ if isinstance(id_, str) and id_ else None
        streamed, goes_on = self._streamed, fields.get("willContinue") is True
        if streamed is not None and (name is None or (id_ is not None and id_ == streamed.id)):
            streamed.feed(fields)
            if not goes_on:
                self._end_call(out)
            return
        self._end_call(out)
        if name is None and not (fields.get("args") or fields.get("partialArgs")):
            return  # the end of a call that is over
        self._called = True
        block = self._blocks.fresh()
        out.append(ToolCallStarted(self._ids.unique(id_), name or "", self.index, block))
        if isinstance(signature, str) and signature:
            out.append(ReasoningSignature(signature, self.index, block, NAME))
        if goes_on or fields.get("partialArgs"):
            self._streamed = StreamedCall(block, id_)
            self._streamed.feed(fields)
            if not goes_on:
                self._end_call(out)
        else:
            self._arguments(fields.get("args"), block, out)

    def _end_call(self, out: list[Delta]) -> None:
        """A streamed call is over: its last piece came, or something else (the last piece may be missing, Q62)."""
        streamed, self._streamed = self._streamed, None
        if streamed is None:
            return
        try:
            arguments = streamed.arguments()
        except ValueError as error:
            self.failure = Failed("invalid_tool_arguments", f"the arguments of a call make no object: {error}", True)
        else:
            self._arguments(arguments, streamed.block, out)

    def _arguments(self, arguments: Any, block: int, out: list[Delta]) -> None:
        """Arguments as JSON text; a call without any is one of an empty object."""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode({} if arguments is None else scrub(arguments)).decode()
        out.append(ToolCallDelta(arguments, self.index, block))
        out.append(ToolCallEnded(self.index, block))

    def _cite(self, source: dict[str, Any], out: list[Delta]) -> None:
        out.append(Citation(source, self.index, self._blocks.last.get("text", 0)))

    def _new(self, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that were not told before: some events repeat those of earlier ones."""
        new: list[dict[str, Any]] = []
        for source in sources:
            source = scrub(source) if self.torn else source
            key = msgspec.json.encode(source)
            if key not in self._cited:
                self._cited.add(key)
                new.append(source)
        return new

    def _ground(self, out: list[Delta]) -> None:
        """What the answer rests on, once it is whole: the last that was told counts, whenever it came (Q60)."""
        grounding, self._grounding = self._grounding, {}
        if not grounding:
            return
        grounding = scrub(grounding) if self.torn else grounding
        sources = citations.read_grounding(grounding)
        for place, source in enumerate(self._new(sources)):
            self._cite(source if place else citations.with_whole(source, grounding), out)
        if not sources:
            data = {"candidates": [{"index": self.index, "groundingMetadata": grounding}]}
            out.append(Opaque(NAME, data, choice=self.index))

    def _finish(self, word: str, message: Any, out: list[Delta]) -> None:
        """The first finishReason counts. Calls make an ordinary end a tool use: there is no word for that here."""
        self.finished = True
        reason = REASONS.get(word, "unknown")
        self._flush(out)
        if reason == "stop":
            self._end_call(out)
        self._streamed = None  # cut short, its arguments are not whole
        if reason == "stop" and self._called:
            reason = "tool_use"
        elif word == "OTHER" and (self._said or self._called):
            reason = "unknown"  # Google's sentence for it; that nothing was said makes it a failure
        self._ground(out)
        out.append(Finished(reason, word, self.index))
        if reason == "error" and self.failure is None:
            told = message if isinstance(message, str) and message else f"the provider ended the answer with {word}"
            self.failure = Failed(word, told, word != "MISSING_THOUGHT_SIGNATURE")

    def _unknown(self, fields: dict[str, Any], out: list[Delta]) -> None:
        word = fields.get("finishReason")
        rest = {} if _CANDIDATE.issuperset(fields) else _rest(fields, _CANDIDATE)
        if word not in (None, *UNFINISHED) and (ratings := _blocked(fields.get("safetyRatings"))):
            rest["safetyRatings"] = ratings
        if (message := fields.get("finishMessage")) not in NOTHING:
            rest["finishMessage"] = message
        if rest and rest != self._rest:
            self._rest = rest
            out.append(Opaque(NAME, {"candidates": [{"index": self.index, **rest}]}, choice=self.index))


def _rest(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in known and value not in NOTHING}


def _blocked(ratings: Any) -> Any:
    """Safety ratings, if they say anything but that all is well: that stands in every event."""
    if not isinstance(ratings, list):
        return ratings
    return ratings if any(isinstance(rating, dict) and rating.get("blocked") for rating in ratings) else None
