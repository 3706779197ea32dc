"""Events of a Gemini stream -> deltas (reference, section 6).

Every event is a complete ``GenerateContentResponse`` whose parts are what is new. Nothing is taken on trust: members
may be missing, null, of another type or in another place (section 12; the quirk that a line is there for stands beside
it). What is unknown becomes ``Opaque``: the members that were not understood, in the places where they stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Failed, Finished, Opaque, Started
from tokenwire.dialects.gemini import usage
from tokenwire.dialects.gemini.candidate import NAME, CandidateDecoder
from tokenwire.dialects.gemini.errors import read_error
from tokenwire.dialects.json_text import NOTHING, loads, scrub, scrub_fields, whole
from tokenwire.dialects.numbering import Ids
from tokenwire.dialects.openai_chat.errors import describe_text, find_error
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Usage
    from tokenwire.wire.sse import Event

# Members that are understood, or that say nothing about the answer. Everything else is passed on as Opaque.
_RESPONSE: Final = frozenset({
    "candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId", "createTime", "error",
})  # fmt: skip
_OURS: Final = frozenset({"candidates", "promptFeedback", "usageMetadata"})

#: Block reasons that are none.
_NO_BLOCK: Final = ("BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


class Decoder:
    """Events of one stream -> deltas. ``feed`` never raises, whatever the data is.

    ``close`` says whether the stream was whole: with a finishReason for every candidate seen, or with a blocked prompt.
    Usage stands in nearly every event; what it says of the output is told once the candidates are finished.
    """

    __slots__ = (
        "_blocked", "_candidates", "_closed", "_failed", "_ids", "_rest", "_started", "_told", "_torn", "_usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self._candidates: dict[int, CandidateDecoder] = {}
        self._started = Started()
        self._ids = Ids()
        self._usage: dict[str, Any] | None = None
        self._told: Usage | None = None
        self._rest: dict[str, Any] = {}
        self._blocked = False
        self._failed = False
        self._closed = False
        self._torn = False

    def feed(self, event: Event) -> list[Delta]:
        data = event.data.strip()
        out: list[Delta] = []
        if data.startswith("[DONE]"):
            return out  # not this dialect's, but a gateway may say it
        try:
            value, self._torn = loads(data)
            self._read(value, None if event.event == "message" else event.event, out)
        except RecursionError:  # nested a thousand levels deep: nobody's event
            return [Opaque(NAME, whole(data))]
        except ValueError:
            if data:
                self._fail(describe_text(data), out)
            return out
        return [scrub_fields(delta) for delta in out] if self._torn else out

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if self._closed:
            return out
        self._closed = True
        finished = self._blocked or self._finished
        for candidate in self._candidates.values():
            candidate.torn = False
            candidate.end(out, broken=not candidate.finished)
        if not finished:
            self._fail(Failed("truncated", str(TruncatedStream(NAME)), retryable=True), out)
        return out

    def close_whole(self) -> list[Delta]:
        """Like ``close``, of an answer that was not streamed and cannot have been cut: what is missing of an end is
        made good."""
        out: list[Delta] = []
        for candidate in self._candidates.values():
            candidate.torn = False
            candidate.end(out, broken=self._failed)
            self._give_up(candidate, out)
        self._count({}, False, out)
        return out + self.close()

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._ids = self._ids.copy()
        twin._candidates = {index: candidate.copy(twin._ids) for index, candidate in self._candidates.items()}
        twin._started, twin._usage, twin._told = self._started, self._usage, self._told
        twin._rest, twin._torn = self._rest, self._torn
        twin._blocked, twin._failed, twin._closed = self._blocked, self._failed, self._closed
        return twin

    @property
    def _finished(self) -> bool:
        candidates = self._candidates.values()
        return bool(candidates) and all(candidate.finished for candidate in candidates)

    def _fail(self, failure: Failed, out: list[Delta]) -> None:
        """Only the first failure is told."""
        if not self._failed:
            self._failed = True
            out.append(failure)

    def _give_up(self, candidate: CandidateDecoder, out: list[Delta]) -> None:
        if candidate.failure is not None:
            self._fail(candidate.failure, out)
            candidate.failure = None

    def _read(self, value: Any, kind: str | None, out: list[Delta]) -> None:
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for each in value:  # without alt=sse, answers and errors come in an array
                self._read(each, kind, out)
            return
        ours = isinstance(value, dict) and not _OURS.isdisjoint(value)
        error = None if ours and not value.get("error") else find_error(value)
        if ours:
            self._response(value, out)
        elif error is None and kind == "error":
            error = value or "the upstream gave no reason"
        elif error is None and value not in NOTHING:
            if isinstance(value, dict) and _RESPONSE.issuperset(value):
                self._identify(value, out)
            else:
                out.append(Opaque(NAME, value, kind))
        if error is not None:
            self._fail(read_error(scrub(error) if self._torn else error), out)

    def _response(self, response: dict[str, Any], out: list[Delta]) -> None:
        self._identify(response, out)
        candidates = response.get("candidates")
        entries = [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []
        for position, fields in enumerate(entries):
            candidate = self._candidate(fields.get("index"), position, out)
            candidate.read(fields, out)
            self._give_up(candidate, out)
        if isinstance(feedback := response.get("promptFeedback"), dict):
            self._feedback(feedback, out)
        self._count(response.get("usageMetadata"), bool(entries), out)
        if not _RESPONSE.issuperset(response):
            rest = {name: each for name, each in response.items() if name not in _RESPONSE and each not in NOTHING}
            if rest and rest != self._rest:
                self._rest = rest
                out.append(Opaque(NAME, rest))

    def _identify(self, response: dict[str, Any], out: list[Delta]) -> None:
        """The first word counts, for the id and for the model."""
        old = self._started
        if old.id and old.model:
            return
        id_, model = response.get("responseId"), response.get("modelVersion")
        new = Started(
            old.id or (id_ if isinstance(id_, str) and id_ else None),
            old.model or (model if isinstance(model, str) and model else None),
        )
        if new != old:
            self._started = new
            self._ids.seed = new.id or ""
            if self._candidates:  # said too early, without this
                out.append(Started(new.id, new.model, None, next(iter(self._candidates))))

    def _candidate(self, named: Any, position: int, out: list[Delta]) -> CandidateDecoder:
        """The candidate of that index; of its place in the list if it has none (Vertex leaves out 0)."""
        index = named if isinstance(named, int) and not isinstance(named, bool) and named >= 0 else position
        candidate = self._candidates.get(index)
        if candidate is None:
            candidate = self._candidates[index] = CandidateDecoder(index, self._ids)
            out.append(Started(self._started.id, self._started.model, None, index))
        candidate.torn = self._torn
        return candidate

    def _feedback(self, feedback: dict[str, Any], out: list[Delta]) -> None:
        """A prompt that was blocked has no candidates; that is its whole answer."""
        word = feedback.get("blockReason")
        if not isinstance(word, str) or not word or word in _NO_BLOCK or self._blocked:
            return
        self._blocked = True
        candidate = self._candidate(0, 0, out)
        if not candidate.finished:
            candidate.finished = True
            out.append(Finished("content_filter", f"promptFeedback:{word}", 0))
        rest = {name: value for name, value in feedback.items() if name != "blockReason" and value not in NOTHING}
        if rest:
            out.append(Opaque(NAME, {"promptFeedback": feedback}))

    def _count(self, raw: Any, goes_on: bool, out: list[Delta]) -> None:
        """Counts so far. While the answer goes on only those of the prompt are told: the others grow with each
        event."""
        self._usage = usage.merge(self._usage, raw)
        if self._usage is None:
            return
        new = usage.read_usage(self._usage, provisional=goes_on and not self._finished)
        if new != self._told:
            self._told = new
            if new.input is not None or new.output is not None:
                out.append(new)
