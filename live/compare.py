"""What a provider sent that our reference does not have, or does not have so: a list of sentences."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Finished, Opaque
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from live.cases import Speech
    from live.reading import Reading
    from live.record import Recording

FIXTURES: Final = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

#: Headers of every web server and of what stands before it; they say nothing of the dialect.
_USUAL: Final = frozenset({
    "access-control-allow-origin", "access-control-expose-headers", "alt-svc", "cache-control", "cf-cache-status",
    "cf-ray", "connection", "content-encoding", "content-length", "content-security-policy", "content-type", "date",
    "keep-alive", "nel", "permissions-policy", "referrer-policy", "report-to", "reporting-endpoints", "server",
    "server-timing", "set-cookie", "strict-transport-security", "transfer-encoding", "vary", "via",
    "x-content-type-options", "x-frame-options", "x-robots-tag",
})  # fmt: skip


def differences(case: str, recording: Recording, reading: Reading, speech: Speech, folder: str) -> list[str]:
    """In the order of a stream: answer, headers, framing, events, end. Empty: as we know it."""
    if recording.status != 200:
        failed = reading.failed
        assert failed is not None  # an HTTP error is one
        return [f"status {recording.status}: {failed.code}: {failed.message}"]
    found = [*_transport(case, recording), *_headers(recording, folder), *_framing(recording.body)]
    found += [*_unknown(reading), *_fields(reading, speech), *_end(case, reading, speech)]
    return found


def _transport(case: str, recording: Recording) -> Iterator[str]:
    kind = dict(recording.headers).get(b"content-type", b"").decode("latin-1")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        yield f"content-type is {kind or 'missing'!r}"
    wanted = "cancelled" if case == "cancelled" else "complete"
    if recording.how != wanted:
        yield f"the answer should have been {wanted}, and was: {recording.how}"


def _headers(recording: Recording, folder: str) -> Iterator[str]:
    known = known_headers(folder)
    if not known:
        return
    names = {name.decode("latin-1").lower() for name, _ in recording.headers}
    if new := sorted(names - known - _USUAL):
        yield f"headers new to us: {', '.join(new)}"
    if missing := sorted(known - names - _USUAL):
        yield f"headers that were not there: {', '.join(missing)}"


def _framing(body: bytes) -> Iterator[str]:
    lines = body.splitlines()
    for what, count in (
        ("lines end in CR", body.count(b"\r")),
        ("comments", sum(line.startswith(b":") for line in lines)),
        ("id lines", sum(line.startswith(b"id:") for line in lines)),
        ("retry lines", sum(line.startswith(b"retry:") for line in lines)),
        ("data lines without a space", sum(line.startswith(b"data:") and line[5:6] != b" " for line in lines)),
    ):
        if count:
            yield f"framing: {what} ({count})"


def _unknown(reading: Reading) -> Iterator[str]:
    opaque = [delta for delta in reading.deltas if isinstance(delta, Opaque)]
    counts = Counter((delta.event, _shape(delta.data)) for delta in opaque)
    for (event, shape), count in counts.items():
        yield f"not understood ({count}): {event or 'a part'} {shape}"
    for delta in reading.deltas:
        if isinstance(delta, Finished) and delta.reason == "unknown" and delta.native_reason is not None:
            yield f"finish reason {delta.native_reason!r} is not known"


def _fields(reading: Reading, speech: Speech) -> Iterator[str]:
    known = known_fields(speech.folders)
    for path, count in Counter(fields_of(reading.events)).items():
        if path not in known:
            yield f"field new to us ({count}): {path}"


def _end(case: str, reading: Reading, speech: Speech) -> Iterator[str]:
    choice = reading.fold.choice()
    cut = case == "cancelled"
    if not reading.generated:
        yield "nothing was generated"
    if case == "tool-call":
        calls = list(choice.tool_calls.values())
        if not calls:
            yield "no tool was called"
        for call in calls:
            try:
                json.loads(call.arguments)
            except ValueError:
                yield f"the arguments of {call.name} are no JSON: {call.arguments[:100]!r}"
    if cut:
        return
    if reading.failed is not None:
        yield f"it failed: {reading.failed.code}: {reading.failed.message}"
    if choice.native_reason is None:
        yield "no finish reason came"
    if reading.fold.usage is None:
        yield "no usage came"
    last = reading.events[-1] if reading.events else None
    if speech.marker is not None and (last is None or speech.marker not in (last.data, last.event)):
        yield f"the end marker {speech.marker} is not the last event"


# ---------------------------------------------------------------------- the reference


@cache
def known_fields(folders: tuple[str, ...]) -> frozenset[str]:
    """Every field of every event in the fixtures of *folders*."""
    bodies = [path.read_bytes() for folder in folders for path in sorted((FIXTURES / folder).glob("*.sse"))]
    return frozenset(path for body in bodies for path in fields_of(_events(body)))


@cache
def known_headers(folder: str) -> frozenset[str]:
    """The response headers in the streamed fixtures of *folder*."""
    names: set[str] = set()
    for path in (FIXTURES / folder).glob("*.expected.json"):
        told = json.loads(path.read_text("utf-8"))
        if told["http"]["status"] == 200:
            names |= {name.lower() for name in told["http"]["headers"]}
    return frozenset(names)


def fields_of(events: Iterable[sse.Event]) -> Iterator[str]:
    """Each field of each event as ``event: a.b[].c: kind``; null is no kind, for any field may be null some day."""
    for event in events:
        try:
            value = json.loads(event.data)
        except ValueError:
            continue
        for path in sorted(set(_paths(value, ""))):
            yield f"{event.event}: {path}" if event.event != "message" else path


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _paths(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{path}[]")
    elif value is not None:
        kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
        yield f"{path}: {kind}"


def _events(body: bytes) -> list[sse.Event]:
    if body.startswith(b"{"):  # Ollama's lines
        return [sse.Event(data=line.decode()) for line in body.splitlines()]
    parser = sse.Decoder()
    return parser.feed(body) + parser.close(lenient=True)


def _shape(data: Any) -> str:
    return "{" + ", ".join(map(str, data)) + "}" if isinstance(data, dict) else repr(data)[:100]
