"""What must be true of a schedule that was played."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tests.simulation import oracle
from tests.simulation.readers import Caller, Native, Reader
from tests.simulation.relay import KEPT, OWNER, PORT
from tests.simulation.world import SECOND

from tokenwire.errors import RequestRefused
from tokenwire.gateway.variants import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.oracle import Truth, View
    from tests.simulation.schedule import Begun, Schedule

    from tokenwire.dialects.base import Dialect
    from tokenwire.gateway.app import Gateway

#: How the news begins that a reader was too slow, where that is not as in chat.
FAREWELLS = {
    "anthropic": b'event: error\ndata: {"type":"error"',
    "openai.responses": b'event: error\ndata: {"type":"error"',
    "ollama": b'{"error"',
}
_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")
#: Dialects whose runs of text are merged for readers that lag: their states are compared, not their events.
MERGED = frozenset({"native", "ui-messages", "agui"})
#: What a crash may lose, seconds: the flush, a portion of it, and the disk's own time.
WINDOW = 0.25 * 1.2 + 0.02 + 2 * 0.2


def everything(schedule: Schedule) -> None:
    """Raises ``AssertionError``."""
    settle(schedule)
    window(schedule)
    for begun in schedule.streams:
        readers(schedule, begun)
    nothing_left(schedule)


def settle(schedule: Schedule) -> None:
    """Whatever still runs comes to its end, and what is stored is looked at once more."""
    world, relay = schedule.world, schedule.relay
    schedule.heal()
    world.run(lambda: False, 0.3)  # a request may still be on its way
    assert world.run(lambda: relay.serves, 60.0), "the relay does not start"
    gateway = relay.gateway
    assert gateway is not None
    assert world.run(lambda: not gateway.hub.running(), 200.0), f"it runs for ever: {gateway.hub.running()}"
    if relay.disk is not None:
        looking = relay.process.create_task(_look(gateway, list(relay.seen)))
        assert world.run(looking.done, 60.0), "the store does not answer"
        looking.result()


async def _look(gateway: Gateway, streams: list[str]) -> None:
    for stream in streams:
        try:
            await gateway.hub.whole(await gateway.hub.find(stream, OWNER))
        except RequestRefused as error:
            if error.status not in (404, 410):
                raise


def window(schedule: Schedule) -> None:
    """What a crash lost had come within the last moments, where the disk was well."""
    relay = schedule.relay
    for crash in relay.crashes:
        if relay.disk is None or crash.at_ns - relay.disk.troubled_ns < 5 * SECOND:
            continue
        for stream in crash.running:
            later = relay.seen[stream.id]
            last = 0 if later[-1] is stream else later[-1].log.last_frame
            if later[-1] is stream and stream.id in schedule.deleted:
                continue
            if last < stream.log.last_frame:
                # What came before the first generated event is in the log only since that.
                since = max(stream.log.arrivals_ns[last], stream.generated_ns or 0)
                age = (crash.at_ns - since) / 1e9
                assert age <= WINDOW, f"entry {last + 1} of {stream.id} came {age:.3f} s before the crash, and is lost"


def readers(schedule: Schedule, begun: Begun) -> None:
    """Every reader has what the log says: as it was in the process that told it the end, or as it was found again."""
    relay = schedule.relay
    first = [objects[0] for objects in relay.seen.values()]
    ours = sorted((each for each in first if each.model.endswith(f"/{begun.model}")), key=lambda each: each.created_ns)
    for stream in ours:
        born = relay.born[stream.id]
        later = [
            each.created_ns for each in ours if each.created_ns > stream.created_ns and relay.born[each.id] is born
        ]
        answers = [
            answer
            for answer in schedule.provider.answers[begun.model]
            if answer.asker is born and stream.created_ns <= answer.at_ns and (not later or answer.at_ns < later[0])
        ]
        found = relay.seen[stream.id]
        truths = [oracle.truth(each, answers, lived=each is stream) for each in found]
        views = [oracle.View(truth) for truth in truths]
        for reader in begun.readers:
            if reader.stream == stream.id:
                if not isinstance(reader, Caller):  # they are told it as whoever asked for the stream was
                    reader.dialect = told(stream, reader.dialect.name)
                _reader(reader, views, begun)


def _reader(reader: Reader, views: list[View], begun: Begun) -> None:
    failed: AssertionError | None = None
    for view in views:
        try:
            if isinstance(reader, Native):
                _native(reader, view)
            elif isinstance(reader, Caller) and not (reader.ids and reader.connections > 1):
                _body(reader, view)
            else:
                _events(reader, view)
        except AssertionError as error:
            failed = error
            failed.add_note(f"{begun.model}: {reader}, {len(views)} truths, outcome {reader.outcome}")
        else:
            return
    assert failed is not None
    raise failed


def _native(reader: Native, view: View) -> None:
    answer, truth = reader.following.answer, view.truth
    expected = view.said(reader.dialect)
    found = oracle.said(answer.transcript)
    if reader.outcome == "over" and answer.done is not None:
        assert truth.terminal is not None
        assert answer.done.state == truth.terminal.state
        usage = truth.terminal.usage
        if usage is None or usage.estimated or truth.terminal.state != "completed":
            found["usage"] = expected["usage"]  # estimates are told beside the log
        if reader.whole:
            assert found == expected, f"{found} is not {expected}"
    _within(found, expected, whole=reader.whole)


def _within(found: dict[str, Any], expected: dict[str, Any], *, whole: bool) -> None:
    """What was read is a part of what there is: its beginning, or, for who came in its midst, anything of it."""
    theirs, ours = expected["choices"], found["choices"]
    for index, (text, reasoning, *_) in ours.items():
        all_text, all_reasoning, *_ = theirs.get(index, ("", ""))
        if whole:
            assert all_text.startswith(text), f"{text!r} does not begin {all_text!r}"
            assert all_reasoning.startswith(reasoning)
        else:
            assert text in all_text, f"{text!r} is not in {all_text!r}"
            assert reasoning in all_reasoning


def _events(reader: Reader, view: View) -> None:
    """By places and events where each event is told, by its state elsewhere."""
    dialect, truth, over = reader.dialect, view.truth, reader.outcome == "over"
    expected = view.events(dialect)
    assert not over or _ended(dialect, truth), "it was told the end, and there was none"
    if dialect.ids is None:
        given = [(each.event, each.data) for each in reader.events]
        wanted = [(each.event, each.data) for each in expected]
        if reader.begin == "now":
            assert not (over and given) or given == wanted[-len(given) :], "it is not what came since"
        elif reader.begin == "start" and not reader.resets:
            _same(given, wanted[: len(given)])
            assert not over or len(given) == len(wanted), f"{len(wanted) - len(given)} events are missing"
        return
    for each in reader.events:
        assert each.id is None or each.id.epoch in truth.epochs, f"{each.id} is of no epoch of this log"
    if dialect.name not in MERGED:
        _places(reader, expected)
    if not reader.whole:
        return
    found = oracle.said(oracle.fold(dialect, reader.events))
    said = view.said(dialect)
    if reader.condensed and said["failed"]:
        found["usage"] = said["usage"]  # of an answer that was cut, who joined late knows more
    assert not over or found == said, f"{found} is not {said}"
    _within(found, said, whole=True)


def _places(reader: Reader, expected: list[oracle.Told]) -> None:
    """Every event once, in order, each with its id."""
    came = [oracle.Told(each.id[1:], each.event, each.data) for each in reader.events if each.id is not None]
    if reader.condensed:
        came = came[1:]  # the last of its prefix
    over = reader.outcome == "over"
    if not came:
        assert not (over and expected) or reader.condensed or reader.begin == "now", "it has nothing"
        return
    places = [each.place for each in expected]
    assert came[0].place in places, f"{came[0]} is no event of the log"
    start = places.index(came[0].place)
    assert reader.condensed or reader.begin == "now" or start == 0, f"it begins with event {start}"
    _same(came, expected[start : start + len(came)])
    assert not over or start + len(came) == len(expected), f"{len(expected) - start - len(came)} events are missing"


def _same(found: Sequence[object], wanted: Sequence[object]) -> None:
    for one, other in zip_longest(found, wanted):
        assert one == other, f"{one} where there should be {other}"


def _body(reader: Caller, view: View) -> None:
    """The bytes of one answer, to the byte."""
    truth = view.truth
    if reader.status != 200:
        assert reader.status >= 400
        return
    if reader.ids:
        _events(reader, view)
        return
    assert not reader.complete or _ended(reader.dialect, truth), "it was told the end, and there was none"
    body = _less_farewell(bytes(reader.body), reader)
    heartbeat = reader.dialect.heartbeat
    if reader.dialect is truth.dialect:
        wanted = b"".join(frame for _, frame in oracle.raw(truth))
        if heartbeat:  # in Anthropic's it is a ping like the provider's; the last may have been cut
            body = body.replace(heartbeat, b"")
            wanted = wanted.replace(heartbeat, b"")
        if heartbeat and not reader.complete:
            body = body[: len(body) - _begun(heartbeat, body)]
        assert wanted.startswith(body), f"{body[-200:]!r} is not what came"
        over = reader.complete and len(body) == len(reader.body)
        assert not over or body == wanted, f"{len(wanted) - len(body)} bytes are missing"


def _less_farewell(body: bytes, reader: Caller) -> bytes:
    """*body* without what tells a reader that it was too slow: that is not of the log, and may have been cut."""
    at = body.find(b"reader_timeout")
    upto = at if at >= 0 else len(body)
    ends = [match.end() for match in _BLANK.finditer(body, 0, upto)] or [body.rfind(b"\n", 0, upto) + 1]
    rest = body[ends[-1] :]
    begins = FAREWELLS.get(reader.dialect.name, b'data: {"error"')
    cut = not reader.complete and rest and (begins.startswith(rest) or rest.startswith(begins))
    return body[: ends[-1]] if at >= 0 or cut else body


def _ended(dialect: Dialect, truth: Truth) -> bool:
    """Whether a reader of *dialect* may have been told the end. The end marker says it before the terminal does."""
    return truth.terminal is not None or (dialect is truth.dialect and truth.done is not None)


def _begun(heartbeat: bytes, body: bytes) -> int:
    """How much of a heartbeat *body* ends with."""
    return next((size for size in range(len(heartbeat) - 1, 0, -1) if body.endswith(heartbeat[:size])), 0)


def nothing_left(schedule: Schedule) -> None:
    """When everybody has gone, and time has passed, the relay is as it was in the beginning."""
    world, relay = schedule.world, schedule.relay
    schedule.client.close()
    for link in schedule.network.links:
        if link.port == PORT:
            link.near.abort()
    asleep = max(0, relay.process.suspended_ns - world.now_ns) / SECOND  # what it was sent meanwhile, it will do
    world.run(lambda: False, asleep + 0.6)
    hub = relay.gateway.hub if relay.gateway is not None else None
    assert hub is not None
    if hub.recorder is not None:
        assert world.run(lambda: not any(hub.kept()), 10.0), "not everything is stored, and the disk is well"
    # In one step: what would be done meanwhile is done late. The clock may have been set back, before a restart too.
    for seconds in (KEPT + abs(world.wall_offset) + 7200.0, 40.0):
        world.now_ns += int(seconds * SECOND)
        world.run(lambda: False, 0.6)
    schedule.complaints()
    gateway = relay.gateway
    assert gateway is not None
    figures = hub.statistics()
    assert figures.streams == 0, f"{figures.streams} streams are left"
    assert figures.readers == 0
    assert hub._bytes == 0, f"{hub._bytes} bytes are left"
    assert not len(gateway.pacing)
    assert gateway.pool.statistics().busy == 0
    assert not hub.errands
    timers = len(hub.wheel)
    assert timers <= 1, f"{timers} timers are left"
    tasks = [task for task in relay.process.unfinished if task not in gateway.tasks]
    assert not tasks, f"tasks are left: {tasks}"
    open_links = [link for link in schedule.network.links if link.port == PORT and not link.far.lost]
    assert not open_links
    if relay.disk is not None:
        kept = relay.disk.inner.figures()
        assert kept.streams == 0, f"{kept.streams} streams are left on the disk"
