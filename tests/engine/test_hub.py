"""engine/hub: all streams of one process, their bounds, and how long an ended one is kept."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.hub import Hub
from tokenwire.engine.log import RUN
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy, State
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable, Overloaded
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

CHAT = dialects.get("openai.chat")
TICK = Hub.TICK + 0.04  # and the wheel's rounding
Sinks = Callable[..., ScriptedSink]


def a_hub(clock: ManualClock, **bounds: float) -> Hub:
    return Hub(clock, Retention(**bounds))  # type: ignore[arg-type]  # two of the three are integers where given


def started(hub: Hub, *frames: bytes, owner: str = "me") -> Stream:
    policy = Policy(linger=float("inf"))
    stream = hub.open(owner=owner, dialect=CHAT, model="m", policy=policy)
    stream.connecting(ScriptedSource())
    stream.begin()
    if frames:
        stream.append(frames, hub.clock.now_ns())
    return stream


def ended(hub: Hub, *frames: bytes) -> Stream:
    stream = started(hub, *(frames or chat.answer("a")))
    stream.finish()
    return stream


def names(hub: Hub) -> list[str]:
    return [stream.id for stream in hub.mine("me")]


# -- opening and finding


def test_a_stream_is_found_by_its_owner_under_an_unguessable_name(hub: Hub) -> None:
    stream = started(hub)
    assert hub.get(stream.id, "me") is stream
    assert stream.id.startswith("st_")
    assert len(stream.id) >= 3 + 22  # 128 bits
    assert len({started(hub).id for _ in range(100)}) == 100


def test_a_strangers_stream_looks_like_none(hub: Hub) -> None:
    stream = started(hub)
    messages = []
    for stream_id, owner in ((stream.id, "you"), ("st_none", "me"), ("x" * 10_000, "me")):
        with pytest.raises(NotResumable) as caught:
            hub.get(stream_id, owner)
        assert (caught.value.status, caught.value.code) == (404, "stream_not_found")
        messages.append(str(caught.value).replace(repr(stream_id[:64]), "ID"))
    assert len(set(messages)) == 1
    assert len(messages[0]) < 100


def test_mine_are_the_callers_oldest_first(hub: Hub) -> None:
    mine = [started(hub).id for _ in range(3)]
    started(hub, owner="you")
    assert names(hub) == mine
    assert [stream.owner for stream in hub.mine("you")] == ["you"]
    assert list(hub.mine("nobody")) == []


def test_running_are_those_without_a_terminal(hub: Hub) -> None:
    over, going = ended(hub), started(hub)
    queued = hub.open(owner="me", dialect=CHAT, model="m", policy=Policy())
    assert hub.running() == [going, queued]
    assert over.terminal is not None


# -- bounds


def test_no_more_streams_run_than_the_bound(clock: ManualClock) -> None:
    hub = a_hub(clock, max_streams=2)
    first = started(hub)
    started(hub)
    for _ in range(2):
        with pytest.raises(Overloaded, match="2 streams are running") as caught:
            started(hub)
    assert (caught.value.status, hub.statistics().refused) == (503, 2)
    first.cancel()
    started(hub)  # an ended one does not count
    assert hub.statistics().running == 2


def test_ended_streams_go_oldest_first_when_memory_is_wanted(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=50_000)
    big = [chat.role(), chat.text("x" * 12_000), chat.finish(), chat.DONE]
    streams = [ended(hub, *big) for _ in range(6)]
    clock.advance(TICK)
    kept = [stream.id for stream in streams[3:]]
    assert names(hub) == kept
    assert hub.statistics().bytes_held <= 50_000
    assert hub.statistics().evicted == 3
    for stream in streams[:3]:
        with pytest.raises(NotResumable, match="no stream"):
            hub.get(stream.id, "me")


def test_it_is_the_order_of_ending_that_counts(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=50_000)
    first, second = (started(hub, *chat.answer("x" * 20_000)) for _ in range(2))
    second.finish()
    first.finish()
    started(hub, chat.text("x" * 20_000))
    clock.advance(TICK)
    assert second.id not in names(hub)
    assert first.id in names(hub)


def test_an_ended_stream_that_somebody_reads_is_not_evicted(clock: ManualClock, sink: Sinks) -> None:
    hub = a_hub(clock, max_bytes=1000, ended_seconds=10)
    stream = started(hub)
    slow = sink(high_water=0)
    reader = stream.attach(slow, CHAT, ids=False)
    reader.start()
    for frame in chat.answer("x" * 5000):
        stream.append([frame], clock.now_ns())
    stream.finish()
    clock.advance(20)
    assert names(hub) == [stream.id]
    slow.drain()
    reader.resume()
    assert slow.data == b"".join(chat.answer("x" * 5000))
    clock.advance(TICK)
    assert names(hub) == []


def test_when_only_running_streams_hold_the_memory_new_ones_are_refused(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=10_000)
    stream = started(hub, chat.text("x" * 12_000))
    clock.advance(TICK)
    with pytest.raises(Overloaded, match="all the memory"):
        started(hub)
    assert hub.statistics().refused == 1
    stream.cancel()
    started(hub)  # the ended one gives way at once
    assert hub.statistics().evicted == 1


def test_an_ended_stream_is_kept_for_its_time_and_no_longer(clock: ManualClock) -> None:
    hub = a_hub(clock, ended_seconds=60)
    first = ended(hub)
    clock.advance(30)
    second, running = ended(hub), started(hub)
    clock.advance(29.5)
    assert names(hub) == [first.id, second.id, running.id]
    clock.advance(0.5 + TICK)
    assert names(hub) == [second.id, running.id]
    clock.advance(30)
    assert names(hub) == [running.id]
    assert hub.statistics().evicted == 2


# -- packing and trimming


def long_answer(count: int = 20 * RUN) -> list[bytes]:
    return [chat.text(f"{number} ") for number in range(count)]


def packed(*streams: Stream) -> list[int]:
    return [stream.log.statistics().packed_entries for stream in streams]


def test_a_running_stream_packs_itself_run_by_run(hub: Hub) -> None:
    stream = started(hub)
    for number, frame in enumerate(long_answer(3 * RUN + 5), 1):
        stream.append([frame], hub.clock.now_ns())
        assert packed(stream) == [number // RUN * RUN]
    assert stream.transcript().choice().text.startswith("0 1 2 ")


def test_with_room_to_spare_packing_the_rest_waits_for_a_quiet_moment(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=1 << 30)
    over = started(hub)
    for frame in [*long_answer(RUN + 40), chat.finish(), chat.DONE]:
        over.append([frame], clock.now_ns())
    over.finish()
    busy = started(hub)
    for _ in range(5):
        for frame in long_answer(Hub.PACK_QUIET):
            busy.append([frame], clock.now_ns())
        clock.advance(Hub.TICK)
        assert packed(over) == [RUN]
    clock.advance(2 * TICK)
    assert packed(over) == [RUN + 42]


def test_memory_that_is_wanted_is_won_by_packing_in_portions(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=2 << 20)
    streams = [ended(hub, *long_answer(RUN - 3), chat.finish(), chat.DONE) for _ in range(100)]
    deleted = ended(hub, *long_answer(RUN - 3), chat.finish(), chat.DONE)
    busy = started(hub)
    before = hub.statistics().bytes_held
    assert 1 << 20 < before < 2 << 20
    busy.append(long_answer(Hub.PACK_QUIET), clock.now_ns())
    hub.forget(deleted)
    clock.advance(TICK)
    portions = [sum(packed(*streams))]
    assert Hub.PACK_FRAMES <= portions[0] < 2 * Hub.PACK_FRAMES
    while portions[-1] < 100 * (RUN - 1):
        clock.advance(Hub.PACK_PAUSE + 0.02)
        portions.append(sum(packed(*streams)))
    assert len(portions) > 2
    assert packed(deleted) == [0]
    for stream in streams:
        assert stream.transcript().choice().text.startswith("0 1 2 ")
    clock.advance(TICK)
    assert hub.statistics().bytes_held < before / 3


@pytest.mark.untraced
def test_a_stream_that_is_forgotten_before_it_was_packed_is_freed(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=1 << 30, ended_seconds=5)
    log = ended(hub, *long_answer(RUN - 3), chat.finish(), chat.DONE).log
    busy = started(hub)
    for _ in range(25):  # never quiet, and far from the bound: nothing is packed
        busy.append(long_answer(Hub.PACK_QUIET), clock.now_ns())
        clock.advance(Hub.TICK)
    assert len(list(hub.mine("me"))) == 1
    assert log.statistics().packed_entries == 0
    assert not [each for each in gc.get_objects() if isinstance(each, Stream) and each.log is log and each.hub is hub]


def test_ended_streams_are_packed_to_the_last_frame_but_for_short_ones(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=4 << 20)
    long = [ended(hub, *long_answer(7 * RUN + 40), chat.finish(), chat.DONE) for _ in range(3)]
    short = ended(hub)
    clock.advance(5)
    assert [stream.log.statistics().packed_entries for stream in (*long, short)] == [7 * RUN + 42] * 3 + [0]


def test_a_running_stream_gives_up_what_all_its_readers_have_had_before_the_process_bursts(
    clock: ManualClock, sink: Sinks
) -> None:
    hub = a_hub(clock, max_bytes=60_000)
    stream = started(hub)
    quick, slow = sink(), sink(high_water=1 << 20)
    stream.attach(quick, CHAT, ids=True).start()
    stream.attach(slow, CHAT, ids=True).start()
    frames = [chat.text(f"{number} ".rjust(100)) for number in range(20 * RUN)]
    for frame in frames:
        stream.append([frame], clock.now_ns())
    clock.advance(TICK)
    clock.advance(TICK)
    assert stream.log.first > RUN
    assert stream.log.first < stream.log.last
    with pytest.raises(NotResumable) as caught:
        stream.attach(sink(), CHAT, ids=True)
    assert (caught.value.status, caught.value.earliest) == (410, f"1-{stream.log.first}")
    stream.append([chat.finish(), chat.DONE], clock.now_ns())
    stream.finish()
    assert quick.data == slow.data
    assert quick.data.count(b"\n\n") == len(frames) + 2
    assert stream.state is State.COMPLETED


def test_the_largest_logs_are_trimmed_first_and_no_more_than_needed(clock: ManualClock) -> None:
    hub = a_hub(clock, max_bytes=160_000)
    small, large = started(hub), started(hub)
    for stream, runs in ((small, 8), (large, 20)):
        for number in range(runs * RUN):
            stream.append([chat.text(f"{number} ".rjust(100))], clock.now_ns())
    assert hub.statistics().bytes_held > 160_000
    clock.advance(TICK)
    assert large.log.first > 1
    assert small.log.first == 1
    started(hub)  # there is room for it at once
    assert hub.statistics().bytes_held <= 160_000


# -- forgetting and closing


def test_a_forgotten_stream_is_cancelled_and_gone(hub: Hub, sink: Sinks) -> None:
    stream, source = started(hub), ScriptedSource()
    running = hub.open(owner="me", dialect=CHAT, model="m", policy=Policy())
    running.connecting(source)
    watching = sink()
    running.attach(watching, CHAT, ids=False).start()
    hub.forget(running)
    assert (running.state, source.aborted, watching.closed) == (State.CANCELLED, True, True)
    with pytest.raises(NotResumable):
        hub.get(running.id, "me")
    stream.append(chat.answer("a"), 0)
    stream.finish()
    hub.forget(stream)
    hub.forget(stream)
    assert (stream.state, names(hub)) == (State.COMPLETED, [])
    assert hub.statistics()[:4] == (0, 0, 0, 0)


def test_a_reader_that_is_behind_still_gets_the_end_of_a_forgotten_stream(hub: Hub, sink: Sinks) -> None:
    stream = started(hub)
    slow = sink(high_water=0)
    reader = stream.attach(slow, CHAT, ids=False)
    reader.start()
    for piece in "abc":
        stream.append([chat.text(piece)], 0)
    hub.forget(stream)
    for _ in range(3):
        slow.drain()
        reader.resume()
    assert slow.data.startswith(b"".join(map(chat.text, "abc")) + b'data: {"error":')
    assert slow.closed


def test_closing_ends_every_running_stream_and_every_timer(clock: ManualClock, sink: Sinks) -> None:
    hub = a_hub(clock)
    running, over = started(hub), ended(hub)
    queued = hub.open(owner="me", dialect=CHAT, model="m", policy=Policy())
    watching = sink()
    running.attach(watching, CHAT, ids=False).start()
    hub.close()
    assert [stream.state for stream in (running, over, queued)] == [State.CANCELLED, State.COMPLETED, State.CANCELLED]
    assert (watching.closed, len(hub.wheel), clock.pending) == (True, 0, 0)


# -- figures


def test_statistics_count_streams_readers_bytes_and_ends(hub: Hub, sink: Sinks) -> None:
    running = started(hub, chat.text("a"))
    running.attach(sink(), CHAT, ids=False).start()
    running.attach(sink(), CHAT, ids=True).start()
    completed, cancelled, failed = ended(hub), started(hub), started(hub)
    cancelled.cancel()
    failed.finish()
    statistics = hub.statistics()
    held = sum(stream.log.size for stream in (running, completed, cancelled, failed))
    assert statistics == (4, 1, 2, held, 4, 1, 1, 1, 0, 0)
    assert [one.id for one in hub.stream_statistics()] == [running.id, completed.id, cancelled.id, failed.id]


class Heap:
    """A sink that takes everything, and holds nothing that could hold it."""

    terminal = None
    unsent = 0

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        return True

    def close(self, terminal: object) -> None:
        """Nothing to do."""


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_a_forgotten_stream_leaves_nothing_to_the_garbage_collector(hub: Hub, dialect: str) -> None:
    """Collecting walks over all that lives: a pause for every stream."""
    hub.open(owner="me", dialect=CHAT, model="m", policy=Policy())
    gc.collect()
    gc.disable()
    try:
        stream = started(hub)
        stream.attach(Heap(), dialects.get(dialect), ids=True).start()
        stream.append(chat.answer("a", "b"), hub.clock.now_ns())
        stream.finish()
        hub.forget(stream)
        del stream
        assert gc.collect() == 0
    finally:
        gc.enable()
