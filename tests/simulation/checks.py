"""What must be true of a schedule that was played."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from tests.simulation import oracle
from tests.simulation.readers import Caller, Native, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.oracle import Truth
    from tests.simulation.schedule import Begun, Schedule

#: Dialects whose runs of text are merged for readers that lag: their states are compared, not their events.
MERGED = frozenset({"native", "ui-messages", "agui"})
#: Longer than anything is kept.
KEPT = 60.0


def readers(schedule: Schedule) -> None:
    """Every reader has what the log says."""
    for begun in schedule.streams:
        stream = begun.held
        if stream is None:
            continue
        if stream.terminal is None:  # it lingers, or finishes for nobody
            schedule.world.run(lambda: stream.terminal is not None, 120.0)  # noqa: B023  # called at once
        truth = oracle.truth(stream, schedule.provider.answers[begun.model])
        for reader in begun.readers:
            try:
                _reader(reader, truth, begun)
            except AssertionError as error:
                error.add_note(f"{begun.model}: {reader}")
                raise


def _reader(reader: Reader, truth: Truth, begun: Begun) -> None:
    if isinstance(reader, Native):
        _native(reader, truth)
    elif isinstance(reader, Caller) and not (reader.ids and reader.connections > 1):
        _body(reader, truth)
    else:
        _events(reader, truth)


def _native(reader: Native, truth: Truth) -> None:
    answer = reader.following.answer
    expected = oracle.said(oracle.fold(reader.dialect, oracle.events(truth, reader.dialect)))
    found = oracle.said(answer.transcript)
    if reader.outcome == "over" and answer.done is not None:
        assert answer.done.state == truth.terminal.state
        if reader.whole:
            assert found == expected, f"{found} is not {expected}"
    _within(found, expected, whole=reader.whole)


def _within(found: dict[str, object], expected: dict[str, object], *, whole: bool) -> None:
    """What was read is a part of what there is: its beginning, or, for who came in its midst, anything of it."""
    theirs, ours = expected["choices"], found["choices"]
    assert isinstance(theirs, dict)
    assert isinstance(ours, dict)
    for index, (text, reasoning, *_) in ours.items():
        all_text, all_reasoning, *_ = theirs[index]
        if whole:
            assert all_text.startswith(text), f"{text!r} does not begin {all_text!r}"
            assert all_reasoning.startswith(reasoning)
        else:
            assert text in all_text, f"{text!r} is not in {all_text!r}"
            assert reasoning in all_reasoning


def _events(reader: Reader, truth: Truth) -> None:
    """By ids and events where each event is told, by its state elsewhere."""
    dialect = reader.dialect
    expected = oracle.events(truth, dialect)
    seen = reader.events
    if dialect.ids is None:
        given = [(each.event, each.data) for each in seen]
        wanted = [(each.event, each.data) for each in expected]
        if reader.begin == "now":
            assert not given or given == wanted[len(wanted) - len(given) :] or reader.outcome != "over"
        elif reader.begin == "start" and not reader.resets:
            _same(given, wanted[: len(given)])
            assert reader.outcome != "over" or len(given) == len(wanted)
        return
    if dialect.name not in MERGED:
        numbered = [(each.id, each.event, each.data) for each in seen if each.id is not None]
        wanted3 = [(each.id, each.event, each.data) for each in expected]
        if reader.condensed:
            numbered = numbered[1:]  # the last of its prefix
        if numbered:
            places = [each[0] for each in wanted3]
            assert numbered[0][0] in places, f"{numbered[0]} is no event of the log"
            start = places.index(numbered[0][0])
            assert reader.condensed or reader.begin == "now" or start == 0, f"it begins with event {start}"
            _same(numbered, wanted3[start : start + len(numbered)])
            assert reader.outcome != "over" or start + len(numbered) == len(wanted3)
        elif reader.outcome == "over" and not reader.condensed and reader.begin != "now":
            assert not wanted3
    found = oracle.said(oracle.fold(dialect, seen)) if reader.whole else None
    if found is not None:
        said = oracle.said(oracle.fold(dialect, expected))
        if reader.condensed and said["failed"]:
            found["usage"] = said["usage"]  # of an answer that was cut, who joined late knows more
        if reader.outcome == "over":
            assert found == said, f"{found} is not {said}"
        _within(found, said, whole=True)


def _same(found: Sequence[object], wanted: Sequence[object]) -> None:
    for one, other in zip_longest(found, wanted):
        assert one == other, f"{one} where there should be {other}"


def _body(reader: Caller, truth: Truth) -> None:
    """The bytes of one answer, to the byte."""
    if reader.status != 200:
        assert reader.status >= 400
        return
    if reader.ids:
        _events(reader, truth)
        return
    body = bytes(reader.body)
    heartbeat = reader.dialect.heartbeat
    if reader.dialect is truth.dialect:
        wanted = b"".join(frame for _, frame in oracle.raw(truth))
        if heartbeat:  # in Anthropic's it is a ping like the provider's; the last may have been cut
            body = body.replace(heartbeat, b"")
            wanted = wanted.replace(heartbeat, b"")
            body = body[: len(body) - _begun(heartbeat, body)]
        assert wanted.startswith(body), f"{body[-200:]!r} is not what came"
        assert not reader.complete or body == wanted, f"{len(wanted) - len(body)} bytes are missing"


def _begun(heartbeat: bytes, body: bytes) -> int:
    """How much of a heartbeat *body* ends with."""
    return next((size for size in range(len(heartbeat) - 1, 0, -1) if body.endswith(heartbeat[:size])), 0)


def nothing_left(schedule: Schedule) -> None:
    """When everybody has gone, and time has passed, the relay is as it was in the beginning."""
    schedule.client.close()
    for link in schedule.network.links:
        link.near.abort() if link.port == 8787 else None
    schedule.world.run(lambda: False, KEPT)
    schedule._raise()
    gateway = schedule.relay.gateway
    assert gateway is not None
    figures = gateway.hub.statistics()
    assert figures.streams == 0, f"{figures.streams} streams are left"
    assert figures.readers == 0
    assert gateway.hub._bytes == 0, f"{gateway.hub._bytes} bytes are left"
    timers = len(gateway.hub.wheel)
    assert timers <= 1, f"{timers} timers are left"
    assert not len(gateway.pacing)
    assert gateway.pool.statistics().busy == 0
    tasks = schedule.relay.process.unfinished
    assert not tasks, f"tasks are left: {tasks}"
    open_links = [link for link in schedule.network.links if link.port == 8787 and not link.far.lost]
    assert not open_links
