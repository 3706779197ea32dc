"""What is kept of a stream beside its entries, as bytes for a store, and back.

Times are microseconds since the stream's creation, which is the only moment told by the clock on the wall:
CLOCK_MONOTONIC means nothing to another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct, structs

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed, Terminal
from tokenwire.engine.log import Attempt
from tokenwire.engine.record import AttemptRecord
from tokenwire.engine.states import State
from tokenwire.errors import RequestRefused, StoreFailed
from tokenwire.wire.envelope_template import Template
from tokenwire.wire.json_spans import Kind

if TYPE_CHECKING:
    from tokenwire.engine.registry import Registry
    from tokenwire.engine.states import Policy
    from tokenwire.engine.stores.port import Head
    from tokenwire.engine.stream import Stream

#: Of this layout. One that is higher was written by a newer release, and is not read.
VERSION: Final = 1
#: What of ``Stream.meta`` is kept. The rest is of use while the stream runs (the provider's header fields tell of
#: limits at that time), or found again in its entries.
KEPT: Final = frozenset({"cache", "metadata", "notes", "question", "session", "spoken", "tickets", "told", "upstream"})


class _Made(Struct, array_like=True):
    upstream: str
    model: str
    dialect: str
    started: int
    ended: int | None
    status: int | None
    error: Failed | None


class HeadData(Struct, omit_defaults=True):
    """*linger* and what else a policy says is not kept: a restored stream is over.

    Attributes:
        marks: of the notable entries; complete only once the stream is over. Before, the pieces have them.
        created_ns: the creation, on the writer's own CLOCK_MONOTONIC: its pieces have such times.
        templates: what the numbers in the pieces mean: literals, and kinds of holes.
    """

    version: int
    dialect: str
    model: str
    created: float
    created_ns: int
    state: str
    hide_usage: bool = False
    sent: bool = False
    epochs: list[tuple[int, int]] = []
    attempts: list[tuple[int, int, str, bool]] = []
    made: list[_Made] = []
    marks: list[tuple[int, int]] = []
    generated: int | None = None
    ended: int | None = None
    newest: int | None = None
    terminal: Terminal | None = None
    templates: list[tuple[list[bytes], list[str]]] = []
    meta: dict[str, Any] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HeadData).decode


def head_of(stream: Stream) -> bytes:
    """*stream* as it is now. 10 us."""
    held, base = stream.log, stream.created_ns
    terminal = held.terminal if held.terminal is None or stream.estimates else stream.settled
    data = HeadData(
        version=VERSION,
        dialect=stream.dialect.name,
        model=stream.model,
        created=stream.created,
        created_ns=base,
        state=stream.state.value,
        hide_usage=stream.hide_usage,
        sent=stream.sent,
        epochs=[*held.epochs],
        attempts=[(each.first_seq, each.number, each.dialect, each.unary) for each in held.attempts],
        made=[
            _Made(
                made.upstream,
                made.model,
                made.dialect,
                (made.started_ns - base) // 1000,
                _since(base, made.ended_ns),
                made.status,
                made.error,
            )
            for made in stream.attempts
        ],
        marks=[] if terminal is None else [*held.notable.items()],
        generated=_since(base, stream.generated_ns),
        ended=_since(base, stream.ended_ns),
        newest=_since(base, held.arrivals_ns[-1] if held.last else None),
        terminal=terminal,
        templates=[([*template.literals], [kind.value for kind in template.kinds]) for template in held.templates],
        meta={
            name: [*value] if name == "tickets" and isinstance(value, dict) else value
            for name, value in stream.meta.items()
            if name in KEPT and value is not None
        },
    )
    try:
        return _encode(data)
    except (OverflowError, TypeError, msgspec.MsgspecError):
        # What a provider or a caller has said in JSON can be more than these bytes can hold: a number of thirty digits.
        return _encode(_without_what_others_said(data))


def _without_what_others_said(data: HeadData) -> HeadData:
    terminal = data.terminal
    if terminal is not None:
        error = None if terminal.error is None else structs.replace(terminal.error, raw=None)
        usage = None if terminal.usage is None else structs.replace(terminal.usage, raw=None)
        terminal = structs.replace(terminal, error=error, usage=usage)
    made = [structs.replace(each, error=each.error and structs.replace(each.error, raw=None)) for each in data.made]
    meta = {name: value for name, value in data.meta.items() if name != "metadata"}
    return structs.replace(data, terminal=terminal, made=made, meta=meta)


def read_head(data: bytes) -> HeadData:
    """Raises ``StoreFailed`` for what is no head, or one of a newer release."""
    try:
        head = _decode(data)
    except msgspec.MsgspecError as error:
        raise StoreFailed(f"a stored stream cannot be read: {error}") from error
    if head.version > VERSION:
        raise StoreFailed(f"a stored stream is of a newer release (layout {head.version}; this one knows {VERSION})")
    return head


def templates_of(head: HeadData) -> tuple[Template, ...]:
    """What the numbers in the stream's pieces mean."""
    return tuple(Template(tuple(literals), tuple(map(Kind, kinds))) for literals, kinds in head.templates)


def stream_of(hub: Registry, stored: Head, head: HeadData, policy: Policy) -> Stream:
    """The stream that is *stored*; all of its entries are away. One that has a terminal is over; one that has none is
    as it was, without a source. Raises ``StoreFailed``."""
    from tokenwire.engine.stream import Stream

    try:
        dialect = dialects.get(head.dialect)
    except RequestRefused as error:
        raise StoreFailed(f"a stored stream cannot be read: {error}") from error
    stream = Stream(
        hub, stored.stream, owner=stored.owner, dialect=dialect, model=head.model, policy=policy, hide=head.hide_usage
    )
    # As if this process had seen it begin: durations and order are right, and nobody sees the absolute value.
    stream.created = head.created
    stream.created_ns = base = hub.clock.now_ns() - int(max(0.0, hub.wall() - head.created) * 1e9)
    stream.sent = head.sent
    stream.generated_ns = _at(base, head.generated)
    stream.attempts = [
        AttemptRecord(
            upstream=made.upstream,
            model=made.model,
            dialect=made.dialect,
            started_ns=base + made.started * 1000,
            ended_ns=_at(base, made.ended),
            status=made.status,
            error=made.error,
        )
        for made in head.made
    ]
    stream.meta = dict(head.meta)
    if isinstance(used := stream.meta.get("tickets"), list):
        stream.meta["tickets"] = dict.fromkeys(used)
    held = stream.log
    held.attempts = [Attempt(*attempt) for attempt in head.attempts]
    held.epochs = tuple((number, first) for number, first in head.epochs)
    held.epoch = held.epochs[-1][0]
    held.stored(stored.first, stored.last, templates_of(head))
    held.arrivals_ns.extend([_at(base, head.newest) or base] * stored.last)
    for seq, mark in head.marks:
        held.mark(seq, mark)
    stream.state = State(head.state)
    if head.terminal is not None:
        stream.restore_end(head.terminal, base + (head.ended or 0) * 1000)
    return stream


def _since(base_ns: int, at_ns: int | None) -> int | None:
    return None if at_ns is None else (at_ns - base_ns) // 1000


def _at(base_ns: int, microseconds: int | None) -> int | None:
    return None if microseconds is None else base_ns + microseconds * 1000
