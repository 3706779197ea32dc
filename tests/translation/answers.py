"""Recorded answers, and what of an answer a translation must keep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenwire import dialects
from tokenwire.dialects.base import Aspect, Dialect, Frame, encode_frames
from tokenwire.dialects.deltas import Delta, Terminal, Usage
from tokenwire.dialects.signatures import unwrap
from tokenwire.dialects.transcript import Choice, Transcript
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import ndjson, sse

FIXTURES = Path(__file__).parents[1] / "fixtures"

#: The folders of fixtures that are not named after their dialect.
_CHAT = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")
_FOLDERS = {**dict.fromkeys(_CHAT, "openai.chat"), "openai-responses": "openai.responses"}

STREAM, CREATED, MODEL = "st_1", 1794000000.0, "up/model"


class Case(NamedTuple):
    """A recorded body: ``folder/name.suffix``, and the dialect that it is in."""

    path: str
    dialect: str

    @property
    def body(self) -> bytes:
        return (FIXTURES / self.path).read_bytes()

    @property
    def expected(self) -> dict[str, Any]:
        path = FIXTURES / self.path
        loaded: dict[str, Any] = json.loads(path.with_name(path.stem + ".expected.json").read_text("utf-8"))
        return loaded


def _cases(*suffixes: str) -> list[Case]:
    found = []
    for path in sorted(FIXTURES.glob("*/*")):
        name = _FOLDERS.get(path.parent.name, path.parent.name)
        if name in dialects.names() and path.name.endswith(suffixes) and ".expected." not in path.name:
            found.append(Case(f"{path.parent.name}/{path.name}", name))
    return found


STREAMS: Final = _cases(".sse", ".ndjson")
ERRORS: Final = _cases(".json")


def _read(name: str) -> bool:
    """Whether answers are read in that dialect, too: some are only written."""
    try:
        dialects.get(name).decoder()
    except LocalProtocolError:
        return False
    return True


#: The dialects into which answers are translated, and from which they are read again.
TARGETS: Final = [name for name in dialects.names() if _read(name)]


def events_of(dialect: Dialect, chunks: Iterable[bytes]) -> list[sse.Event]:
    """What a decoder of *dialect* is fed of a body that arrives in *chunks*."""
    if dialect.framing == "ndjson":
        lines = ndjson.Decoder()
        found = [line for chunk in chunks for line in lines.feed(chunk)] + lines.close(lenient=True)
        return [sse.Event(data=line) for line in found]
    parser = sse.Decoder()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.close(lenient=True)


def decode(dialect: Dialect, chunks: Iterable[bytes]) -> list[Delta]:
    """The deltas of a whole body."""
    return [delta for deltas in decode_each(dialect, events_of(dialect, chunks)) for delta in deltas]


def decode_each(dialect: Dialect, events: Sequence[sse.Event]) -> list[list[Delta]]:
    """The deltas of each event, and of the end."""
    decoder = dialect.decoder()
    return [*[decoder.feed(event) for event in events], decoder.close()]


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def fold(deltas: Iterable[Delta]) -> Transcript:
    transcript = Transcript()
    for delta in deltas:
        transcript.apply(delta)
    return transcript


def terminal_of(end: Transcript) -> Terminal:
    """How the engine would end the stream."""
    choice = end.choice()
    if end.failed is not None:
        return Terminal("failed", choice.reason, choice.native_reason, end.failed, end.usage)
    return Terminal("completed", choice.reason, choice.native_reason, None, end.usage)


def encode(dialect: Dialect, deltas: Sequence[Delta]) -> bytes:
    """The body of an answer in *dialect* that brings *deltas*."""
    encoder = dialect.encoder(STREAM, CREATED, MODEL)
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return wire(dialect, frames + encoder.close(terminal_of(fold(deltas))))


def wire(dialect: Dialect, frames: Sequence[Frame]) -> bytes:
    if dialect.framing == "ndjson":
        return b"".join(ndjson.encode(frame.data) for frame in frames)
    return encode_frames(frames)


# ---------------------------------------------------------------------------------------------- what must be kept


def arguments(text: str) -> Any:
    """Arguments as JSON; those that are none as they are."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def calls_of(choice: Choice) -> list[Any]:
    """The calls that are whole."""
    return [(call.name, arguments(call.arguments)) for call in choice.tool_calls.values() if call.ended]


def address(source: dict[str, Any]) -> str | None:
    """Where a citation points: what all dialects have in common, if it points anywhere."""
    for name in ("url_citation", "web", "retrievedContext"):
        inner = source.get(name)
        source = inner if isinstance(inner, dict) else source
    found = source.get("url") or source.get("uri")
    return found if isinstance(found, str) else None


def told(choice: Choice) -> str:
    """Text and refusals, as they came."""
    return "".join(segment.text for segment in choice.segments() if segment.kind in ("text", "refusal"))


def signatures(choice: Choice, *, of_calls: bool = False) -> list[tuple[str, str]]:
    """Of thoughts, or of calls: as their makers made them, whatever they were wrapped in, and the makers."""
    return [
        unwrap(segment.text, segment.dialect)
        for segment in choice.segments()
        if segment.kind == "signature" and (segment.block in choice.tool_calls) is of_calls
    ]


def logprobs(choice: Choice) -> list[Any]:
    """Tokens, their log-probabilities and those of their alternatives: not all vendors tell the bytes of a token."""
    told = choice.logprobs
    entries = [] if told is None else [*(told.content or []), *(told.refusal or [])]
    return [
        [(one.get("token"), one.get("logprob")) for one in (entry, *(entry.get("top_logprobs") or []))]
        for entry in entries
    ]


def differences(source: Transcript, again: Transcript, target: Dialect) -> list[str]:
    """What *again*, the translation of *source* into *target*, says otherwise, less what *target* declares."""
    loses = target.loses
    indices = sorted(source.choices) or [0]
    indices = indices[:1] if "several answers" in loses else indices
    found = [each for index in indices for each in _of_choice(source.choice(index), again.choice(index), target)]
    extra = sorted(set(again.choices) - set(indices) - {0})
    found += [f"choice {index} was invented" for index in extra]
    return found + _of_usage(source.usage, again.usage, loses)


def _of_choice(source: Choice, again: Choice, target: Dialect) -> list[str]:
    loses = target.loses
    text = {source.text, told(source)} if "refusal" in loses else {source.text}
    kept: list[tuple[str, Any, Any]] = [("calls", calls_of(source), calls_of(again))]
    if "refusal" not in loses:
        kept.append(("refusal", source.refusal, again.refusal))
    if "reasoning" not in loses:
        kept.append(("reasoning", source.reasoning, again.reasoning))
    if "signature" not in loses:
        kept.append(("signatures", signatures(source), signatures(again)))
    elif not set(signatures(again)) <= set(signatures(source)):
        kept.append(("invented signatures", [], signatures(again)))
    if "call signature" not in loses:
        kept.append(("call signatures", signatures(source, of_calls=True), signatures(again, of_calls=True)))
    if "call ids" not in loses:
        ids = [[call.id for call in each.tool_calls.values() if call.ended] for each in (source, again)]
        kept.append(("call ids", ids[0], ids[1]))
    if "citations" not in loses:
        cited = [sorted(filter(None, (address(one.data) for one in each.citations))) for each in (source, again)]
        kept.append(("citations", cited[0], cited[1]))
    if "logprobs" not in loses:
        kept.append(("logprobs", logprobs(source), logprobs(again)))
    found = [f"{name}: {was!r} became {now!r}" for name, was, now in kept if was != now]
    if again.text not in text:
        found.append(f"text: {source.text!r} became {again.text!r}")
    reason = source.reason
    if reason is not None and again.reason not in (reason, target.reasons.get(reason)):
        found.append(f"reason: {reason} became {again.reason}")
    return found


_COUNTS: Final[dict[str, Aspect]] = {
    "input": "usage", "output": "usage", "cached_input": "cached input", "cache_write": "cache writes",
    "reasoning": "reasoning tokens",
}  # fmt: skip


def _of_usage(source: Usage | None, again: Usage | None, loses: Any) -> list[str]:
    """Counts that were not told may be 0 where the dialect says that it has no other way."""
    if "usage" in loses and again is None:
        return []
    found = []
    for name, aspect in _COUNTS.items():
        was, now = getattr(source, name, None), getattr(again, name, None)
        lost = aspect in loses and (now in (None, 0) if was is not None else now == 0)
        if was != now and not lost:
            found.append(f"usage.{name}: {was} became {now}")
    return found
