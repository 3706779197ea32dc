"""Chat Completions chunks -> deltas: OpenAI's own and those of the servers that speak its language.

A chunk names its choices, and each choice what is new in it: reasoning, text, refusal, tool calls, citations, then
log-probabilities, then perhaps why it ended; usage and errors stand beside the choices. Nothing is taken on trust:
members may be missing, null, of another type, repeated or in another place (reference, section 12; the quirk that a
line is there for stands beside it). What is unknown, but for padding and the chunk's identity, becomes ``Opaque``: the
members that were not understood, in the places where they stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwire.dialects.deltas import Failed, Finished, Opaque, Started, Usage
from tokenwire.dialects.json_text import NOTHING, loads, scrub, scrub_fields, whole
from tokenwire.dialects.numbering import Ids
from tokenwire.dialects.openai_chat.choice import NAME, ChoiceDecoder
from tokenwire.dialects.openai_chat.errors import describe_text, failed, find_error
from tokenwire.dialects.openai_chat.plain import read_plain
from tokenwire.dialects.openai_chat.usage import read_usage
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.wire.sse import Event

# Members that are understood, or that say nothing about the answer. Everything else is passed on as Opaque.
_CHUNK = frozenset({
    "id", "object", "created", "model", "choices", "usage", "error", "x_groq", "citations",
    "obfuscation", "service_tier", "system_fingerprint", "provider",
})  # fmt: skip


class Decoder:
    """Events of one chat stream -> deltas. ``feed`` never raises, whatever the data is.

    ``close`` says whether the stream was whole: after ``[DONE]``, or with a finish_reason for every choice seen (Q9).
    """

    __slots__ = (
        "_choices", "_cited", "_closed", "_done", "_failed", "_identified", "_ids", "_rest", "_started", "_torn",
    )  # fmt: skip

    def __init__(self) -> None:
        self._choices: dict[int, ChoiceDecoder] = {}
        self._started = Started()
        self._identified = False  # whether id, model and time are all known
        self._ids = Ids()
        self._cited: set[str] = set()
        self._rest: dict[str, Any] = {}
        self._torn = False
        self._done = False
        self._failed = False
        self._closed = False

    def feed(self, event: Event) -> list[Delta]:
        if self._done:
            return []  # Q10: a second [DONE], or data after the first
        try:
            chunk = read_plain(event.data)
        except (ValueError, RecursionError):
            pass
        else:
            choice = self._choices.get(chunk.choices[0].index)
            if choice is not None and (self._identified or not (chunk.id or chunk.model or chunk.created)):
                return choice.read_plain(chunk.choices[0].delta)
        return self.feed_any(event)

    def feed_any(self, event: Event) -> list[Delta]:
        """``feed`` as it is for whatever is no plain chunk; it gives the same for one that is."""
        data = event.data.strip()
        try:
            return self._feed(data, event.event)
        except RecursionError:  # nested a thousand levels deep: nobody's chunk
            return [Opaque(NAME, whole(data))]

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self._closed or self._done):
            self._end(out)
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._ids = self._ids.copy()
        twin._choices = {index: choice.copy(twin._ids) for index, choice in self._choices.items()}
        twin._started, twin._rest, twin._torn = self._started, self._rest, self._torn
        twin._identified, twin._cited = self._identified, set(self._cited)
        twin._done, twin._failed, twin._closed = self._done, self._failed, self._closed
        return twin

    def _feed(self, data: str, kind: str) -> list[Delta]:
        out: list[Delta] = []
        if data.startswith("[DONE]"):
            self._done = True
            self._end(out)
            return out
        try:
            value, self._torn = loads(data)
        except ValueError:
            if data:
                self._fail(describe_text(data), out)  # Q15
            return out
        self._read(value, kind, out)
        return [scrub_fields(delta) for delta in out] if self._torn else out

    def _end(self, out: list[Delta]) -> None:
        """[DONE], or the end of the bytes. Usage may come after the last finish_reason, so nothing ends before."""
        choices = self._choices.values()
        whole = self._done or (bool(choices) and all(choice.finished for choice in choices))
        for choice in choices:
            choice.torn = False
            whole = choice.end(out, broken=self._failed or not whole) and whole
        if not whole:
            self._fail(Failed("truncated", str(TruncatedStream(NAME)), retryable=True), out)

    def _fail(self, failure: Failed, out: list[Delta]) -> None:
        """Only the first failure is told: vLLM and OpenRouter send a chunk, an error, and then [DONE]."""
        if not self._failed:
            self._failed = True
            out.append(failure)

    def _read(self, value: Any, kind: str, out: list[Delta]) -> None:
        error = find_error(value)
        if isinstance(value, dict) and ("choices" in value or "usage" in value):
            error = self._chunk(value, out) or error
        elif error is None and kind == "error":
            error = value or "the upstream gave no reason"
        elif error is None and value not in NOTHING:
            out.append(Opaque(NAME, value, None if kind == "message" else kind))
        if error is not None:
            self._fail(failed(scrub(error) if self._torn else error), out)
            return
        for delta in out:
            if isinstance(delta, Finished) and delta.reason == "error":
                self._fail(_gave_up(delta.native_reason), out)
                return

    def _chunk(self, chunk: dict[str, Any], out: list[Delta]) -> Any:
        """One chunk. Returns an error that stands inside it, at a choice or in Groq's corner."""
        self._identify(chunk, out)
        groq = chunk.get("x_groq")
        groq = groq if isinstance(groq, dict) else {}
        error = groq.get("error")
        usage: Usage | None = None
        choices = chunk.get("choices")
        for position, fields in enumerate(choices if isinstance(choices, list) else ()):  # Q17, Q29
            if isinstance(fields, dict):
                self._choice(fields.get("index"), position, out).read(fields, out)
                usage = read_usage(fields.get("usage")) or usage
                error = fields.get("error") or error
        usage = read_usage(chunk.get("usage")) or read_usage(groq.get("usage")) or usage  # Q25
        if usage is not None:
            out.append(usage)
        if sources := chunk.get("citations"):
            self._cite(sources, out)
        if not _CHUNK.issuperset(chunk):
            self._unknown(chunk, out)
        return error or None

    def _identify(self, chunk: dict[str, Any], out: list[Delta]) -> None:
        """Ids, models and times may be empty at first (Azure, Q19) and change later (Q28): the first word counts."""
        if self._identified:
            return
        old = self._started
        id_, model, created = chunk.get("id"), chunk.get("model"), chunk.get("created")
        new = Started(
            old.id or (id_ if isinstance(id_, str) and id_ else None),
            old.model or (model if isinstance(model, str) and model else None),
            old.created or (created if isinstance(created, int | float) and created > 0 else None),
        )
        if new != old:
            self._started = new
            self._identified = bool(new.id and new.model and new.created)
            self._ids.seed = new.id or ""
            if self._choices:  # said too early, without this
                out.append(Started(new.id, new.model, new.created, next(iter(self._choices))))

    def _choice(self, named: Any, position: int, out: list[Delta]) -> ChoiceDecoder:
        """The choice of that index; of its place in the list if it has none."""
        index = named if isinstance(named, int) and not isinstance(named, bool) and named >= 0 else position
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceDecoder(index, self._ids)
            said = self._started
            out.append(Started(said.id, said.model, said.created, index))
        choice.torn = self._torn
        return choice

    def _cite(self, sources: Any, out: list[Delta]) -> None:
        """Sources beside the choices, as addresses or objects; some send the whole list again with each chunk."""
        for source in sources if isinstance(sources, list) else (sources,):
            address = source.get("url") if isinstance(source, dict) else source
            if not isinstance(address, str) or address in self._cited:
                continue
            self._cited.add(address)
            cited = source if isinstance(source, dict) else {"url": address}
            self._choice(None, 0, out).cite({"type": "url_citation", "url_citation": cited}, out)

    def _unknown(self, chunk: dict[str, Any], out: list[Delta]) -> None:
        rest = {name: value for name, value in chunk.items() if name not in _CHUNK and value not in NOTHING}
        if rest and rest != self._rest:
            self._rest = rest
            out.append(Opaque(NAME, rest))


def _gave_up(word: str | None) -> Failed:
    """A finish_reason that means failure, without an error that says more (Mistral, DeepSeek, SGLang)."""
    failure = failed({"code": word, "message": f"the provider ended the answer with finish_reason {word!r}"})
    return Failed(failure.code, failure.message, failure.retryable, failure.upstream_status)
