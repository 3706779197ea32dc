"""engine/log: numbers, marks, the end, and packed runs that read like plain ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.openai_chat import dialect as openai_chat
from tokenwire.engine.log import AGAIN, LEARN, OVERHEAD, RUN, Attempt, Log, LogStatistics
from tokenwire.errors import StreamClosed
from tokenwire.testing import chat_frames as chat

DONE = Terminal(state="completed")
HOLES = openai_chat.DIALECT.holes


def filled(count: int, *, packs: bool = True, packed: bool = False) -> tuple[Log, list[bytes]]:
    """A log of *count* frames, and these; *packed* run by run, as streams do it."""
    log = Log(HOLES if packs else None)
    frames = [chat.text(f"word {number} ") for number in range(1, count + 1)]
    for number, frame in enumerate(frames):
        log.append(frame, number * 10)
        if packed and log.packable:
            log.pack()
    return log, frames


def read(log: Log, seq: int = 0, limit: int = 1024) -> list[bytes]:
    """Everything after *seq*, page by page."""
    frames: list[bytes] = []
    while page := log.after(seq, limit):
        assert len(page) <= limit
        frames += page
        seq += len(page)
    return frames


# -- numbering and arrival


def test_entries_are_numbered_from_one_without_gaps_with_their_arrival() -> None:
    log = Log()
    assert (log.last, log.last_frame, list(log.after(0))) == (0, 0, [])
    assert [log.append(b"data: %d\n\n" % number, 100 + number) for number in range(3)] == [1, 2, 3]
    assert (log.first, log.last, log.last_frame, log.epoch) == (1, 3, 3, 1)
    one = Log()
    one.append(b"data: 0\n\n", 0)
    assert log.size == 3 * one.size > 3 * 9
    assert list(log.arrivals_ns) == [100, 101, 102]
    assert [log.frame(seq) for seq in (1, 2, 3)] == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


def test_the_frames_of_one_read_are_entries_like_others() -> None:
    one_by_one, at_once = Log(), Log()
    frames = [b"data: a\n\n", b"data: bb\n\n", b"data: c\n\n"]
    for frame in frames:
        one_by_one.append(frame, 5)
    assert at_once.extend(frames[:1], 5) == 1
    assert at_once.extend(frames[1:], 5) == 2
    assert at_once.extend([], 6) == 4
    assert at_once.statistics() == one_by_one.statistics()
    assert (at_once.after(0), list(at_once.arrivals_ns)) == (frames, [5, 5, 5])


def test_after_gives_what_follows_up_to_the_limit() -> None:
    log, frames = filled(5)
    assert log.after(0) == frames
    assert log.after(2, 2) == frames[2:4]
    assert log.after(4) == frames[4:]
    assert list(log.after(5)) == list(log.after(99)) == []


@pytest.mark.parametrize("seq", [0, 6, 100])
def test_there_is_no_frame_where_no_entry_is(seq: int) -> None:
    log, _ = filled(5)
    with pytest.raises(IndexError):
        log.frame(seq)


def test_the_terminal_is_an_entry_without_a_frame_and_the_first_one_wins() -> None:
    log, frames = filled(2)
    assert log.close(DONE, 77) == 3
    assert (log.last, log.last_frame, log.terminal, list(log.arrivals_ns)) == (3, 2, DONE, [0, 10, 77])
    assert read(log) == frames
    with pytest.raises(StreamClosed, match="completed"):
        log.close(Terminal(state="cancelled"), 78)
    assert (log.last, log.terminal) == (3, DONE)


# -- marks and attempts


def test_only_marked_entries_are_notable_and_the_first_end_marker_counts() -> None:
    log, _ = filled(5)
    log.mark(2, Mark.NOTABLE)
    assert (log.notable, log.done_seq) == ({2: Mark.NOTABLE}, None)
    log.mark(4, Mark.DONE)
    log.mark(5, Mark.DONE | Mark.NOTABLE)
    assert log.done_seq == 4
    assert log.notable[5] == Mark.DONE | Mark.NOTABLE


def test_an_entry_belongs_to_the_attempt_that_began_last_before_it() -> None:
    log, _ = filled(5)
    first, second = Attempt(1, 1, "openai.chat"), Attempt(4, 2, "anthropic", True)
    log.attempts += [first, second]
    assert [log.attempt_at(seq) for seq in (1, 3, 4, 5)] == [first, first, second, second]
    assert log.attempt_at(0) == first


# -- packing


def test_a_run_is_packed_and_the_next_one_begins() -> None:
    log, frames = filled(RUN - 1)
    assert [log.packable] == [False]
    log, frames = filled(3 * RUN + 5)
    assert log.packable
    before = log.size
    saved = log.pack()
    assert log.size == before - saved
    assert log.size < before / 2
    assert log.statistics() == LogStatistics(3 * RUN + 5, 3 * RUN + 5, log.size)
    assert (log.packable, log.pack()) == (False, 0)
    assert read(log) == frames
    frames.append(chat.text("next"))
    log.append(frames[-1], 0)
    assert read(log) == frames


def test_after_the_terminal_a_short_run_is_packed_too() -> None:
    log, frames = filled(Log.FEW + 1)
    assert [log.packable] == [False]
    log.close(DONE, 0)
    assert log.packable
    assert log.pack() > 0
    assert log.statistics().packed_entries == Log.FEW + 1
    assert (log.packable, read(log)) == (False, frames)


def test_a_short_log_is_not_worth_packing() -> None:
    log, _ = filled(Log.FEW)
    log.close(DONE, 0)
    assert [log.packable] == [False]


def test_an_envelope_is_looked_for_when_there_are_enough_frames_and_again_later() -> None:
    log, _ = filled(LEARN - 1)
    assert (log.envelope(), log.curious) == (None, True)
    log.append(chat.text("more"), 0)
    envelope = log.envelope()
    assert envelope is not None
    number, template = envelope
    assert (number, template.cut(chat.text("any")), log.curious) == (0, (b"any",), False)
    odd = Log(HOLES)
    for number in range(2 * LEARN):
        odd.append(b"data: %d\n\n" % number, 0)
    assert (odd.envelope(), odd.curious) == (None, False)
    for _ in range(LEARN):
        odd.append(chat.text("late"), 0)
    assert odd.envelope() is None  # too soon after the last look
    for _ in range(LEARN):
        odd.append(chat.text("late"), 0)
    assert odd.envelope() is not None
    assert (Log(None).envelope(), Log(None).curious) == (None, False)


def test_frames_that_fit_no_more_get_another_envelope_and_may_come_back_to_the_first() -> None:
    log, frames = filled(LEARN)
    first = log.envelope()
    thoughts = [chat.text(f"t{number}").replace(b"content", b"reasoning_content") for number in range(AGAIN)]
    log.extend(thoughts, 0)
    second = log.envelope()
    assert (first is not None, second is not None) == (True, True)
    assert first != second
    words = [chat.text(f"w{number}") for number in range(2 * AGAIN)]
    log.extend(words, 0)
    assert log.envelope() == first
    assert read(log) == frames + thoughts + words
    log.pack()
    assert read(log) == frames + thoughts + words


def test_what_came_whole_is_taken_apart_as_soon_as_its_envelope_is_known() -> None:
    log = Log(HOLES)
    frames = [chat.role(), *(chat.text(f"word {number}") for number in range(LEARN))]
    log.extend(frames, 0)
    before = log.size
    assert log.envelope() is not None
    assert (len(log.run.plain), log.size < before / 2, read(log)) == (1, True, frames)


def test_a_run_that_was_begun_with_a_known_envelope_is_left_as_it_is() -> None:
    """Packed early (its reader was behind), the log knew an envelope before it was asked for one."""
    log, frames = filled(2 * LEARN)
    log.pack()
    for number in range(2 * LEARN):
        frames.append(chat.finish() if number == 3 else chat.text(str(number)))
        hole = None if number == 3 else b"%d" % number
        if hole is None:
            log.append(frames[-1], 0)
        else:
            log.run.numbers.append(0)
            log.run.holes.append(hole)
            log.arrivals_ns.append(0)
            log.last += 1
    assert log.envelope() is not None
    assert read(log) == frames


@pytest.mark.parametrize("odd", [0, 1, 30])
def test_frames_of_which_only_the_holes_are_kept_read_like_any_others(odd: int) -> None:
    log, frames = filled(LEARN)
    envelope = log.envelope()
    assert envelope is not None
    for number in range(RUN):
        frame = chat.text(f"hole {number}") if number % 31 >= odd else chat.finish()
        hole = envelope[1].cut(frame)
        if hole is None:
            log.append(frame, 0)
        else:
            log.run.numbers.append(envelope[0])
            log.run.holes += hole
            log.arrivals_ns.append(0)
            log.last += 1
            log.run_size += len(hole[0]) + OVERHEAD
        frames.append(frame)
        assert log.frame(len(frames)) == frame
    assert read(log, limit=7) == frames
    log.pack()
    assert read(log, limit=7) == frames
    assert log.envelope() is not None


def test_a_log_without_a_codec_stays_plain() -> None:
    log, frames = filled(3 * RUN, packs=False)
    assert (log.pack(), log.statistics().packed_entries, read(log)) == (0, 0, frames)


def test_what_one_run_taught_serves_the_next() -> None:
    log, frames = filled(2 * RUN)
    log.pack()
    frames += [chat.text(str(number)) for number in range(3)]  # too few to learn anything from
    for frame in frames[-3:]:
        log.append(frame, 0)
    before = log.size
    assert log.pack() > 0
    assert before - log.size > 3 * 100
    assert read(log) == frames


def test_pages_go_on_across_runs_and_into_the_plain_tail() -> None:
    log, frames = filled(3 * RUN + 5, packed=True)
    for seq in (0, 1, RUN - 1, RUN, RUN + 1, 2 * RUN - 1, 2 * RUN, 2 * RUN + 1, 3 * RUN + 4):
        assert read(log, seq) == frames[seq:]
        assert log.frame(seq + 1) == frames[seq]
    assert read(log, RUN - 3, limit=2) == frames[RUN - 3 :]


# -- trimming


def test_only_whole_packed_runs_are_trimmed_and_only_up_to_the_given_entry() -> None:
    log, frames = filled(RUN)
    assert log.trim(RUN) == 0  # nothing is packed
    log, frames = filled(4 * RUN + 5, packed=True)
    assert log.trim(RUN - 1) == 0
    before = log.size
    freed = log.trim(RUN)
    assert freed > 0
    assert (log.size, log.first, log.last) == (before - freed, RUN + 1, 4 * RUN + 5)
    assert log.trim(2 * RUN - 1) == 0
    assert read(log, RUN) == frames[RUN:]
    assert log.frame(RUN + 1) == frames[RUN]
    while log.trim(10_000):
        pass
    assert log.first == 4 * RUN + 1  # what is plain stays
    assert read(log, 4 * RUN) == frames[4 * RUN :]


def test_a_trimmed_log_goes_on() -> None:
    log, frames = filled(2 * RUN)
    log.pack()
    log.trim(RUN)
    for number in range(2 * RUN):
        frames.append(chat.text(str(number)))
        log.append(frames[-1], 0)
    log.pack()
    assert read(log, RUN) == frames[RUN:]
    log.close(DONE, 0)
    log.pack()
    assert read(log, RUN, limit=50) == frames[RUN:]


@pytest.mark.untraced
@settings(deadline=None)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 200)), max_size=10),
)
def test_packing_at_any_time_changes_nothing_that_is_read(
    batches: list[int], over: bool, reads: list[tuple[int, int]]
) -> None:
    log = Log(HOLES)
    frames: list[bytes] = []
    for batch in batches:
        for _ in range(batch):
            # Every seventh is of another shape, and is kept as it came.
            frame = chat.text(f"w{len(frames)}") if len(frames) % 7 else b": odd %d\n\n" % len(frames)
            frames.append(frame)
            log.append(frame, 0)
        log.pack()
    if over:
        log.close(DONE, 0)
        log.pack()
    assert read(log) == frames
    for seq, limit in reads:
        assert read(log, seq, limit) == frames[seq:]
        if seq < len(frames):
            assert log.frame(seq + 1) == frames[seq]
