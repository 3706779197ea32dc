"""Whatever is in a log comes back from its pieces, wherever they were cut; and what is away comes back where it was."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import Mark
from tokenwire.engine.log import Log
from tokenwire.engine.pieces import pieces, take
from tokenwire.engine.sealed import Away
from tokenwire.engine.stores.port import Piece
from tokenwire.errors import StoreFailed
from tokenwire.testing import chat_frames as chat

HOLES = dialects.get("openai.chat").holes
WORDS = st.sampled_from(["", "a", " wörld", '"', "\\", "\n", "x" * 300, "\U0001f600", "\x7f"])
FRAMES = st.one_of(
    WORDS.map(chat.text),
    WORDS.map(chat.text),
    st.just(chat.usage()),
    st.just(chat.finish()),
    st.just(b": odd\n\n"),
    st.binary(min_size=1, max_size=20).map(lambda body: b"data: " + body.replace(b"\n", b"") + b"\n\n"),
)


class Step(NamedTuple):
    """Frames that come, whether the run is packed then, and whether what is new is stored."""

    frames: list[bytes]
    pack: bool
    store: bool


STEPS = st.lists(st.builds(Step, st.lists(FRAMES, max_size=30), st.booleans(), st.booleans()), max_size=12)


def written(steps: list[Step]) -> tuple[Log, list[Piece]]:
    """A log that was written in these steps, and the pieces that were stored on the way."""
    held, found, stored, clock = Log(HOLES), list[Piece](), 0, 1_000_000
    for step in [*steps, Step([], pack=False, store=True)]:
        for frame in step.frames:
            clock += 7_000_001
            held.append(frame, clock)
            if b"usage" in frame:
                held.mark(held.last, Mark.USAGE_ONLY)
        if step.pack:
            held.pack()
        if step.store:
            new = pieces(held, stored)
            found += new
            stored += sum(piece.entries for piece in new)
    return held, found


def restored(held: Log, found: list[Piece], shift_ns: int = 0) -> Log:
    again = Log(HOLES)
    again.stored(1, held.last)
    again.arrivals_ns.extend([0] * held.last)
    for taken in take(found, held.templates):
        taken.give(again, shift_ns)
        taken.mark(again)
    return again


def all_frames(held: Log) -> list[bytes]:
    return [held.frame(seq) for seq in range(1, held.last + 1)]


@given(STEPS)
def test_a_log_comes_back_from_its_pieces(steps: list[Step]) -> None:
    held, found = written(steps)
    assert [piece.first for piece in found] == [
        1 + sum(piece.entries for piece in found[:at]) for at in range(len(found))
    ]
    again = restored(held, found, 5)
    assert all_frames(again) == [frame for step in steps for frame in step.frames] == all_frames(held)
    assert [*again.arrivals_ns] == [at + 5 for at in held.arrivals_ns]
    assert again.notable == held.notable
    assert again.present


@given(STEPS, st.data())
def test_what_is_away_comes_back_where_it_was(steps: list[Step], data: st.DataObject) -> None:
    held, found = written(steps)
    held.pack()
    expected, size = all_frames(held), held.size
    for _ in range(data.draw(st.integers(1, 6))):
        freed = held.cool(data.draw(st.integers(0, size)), data.draw(st.integers(0, held.last)))
        assert freed >= 0
        for seq in range(held.last):
            while True:
                try:
                    assert held.after(seq, 1)[0] == expected[seq]
                    break
                except Away as caught:
                    away = caught
                assert away.seq == seq + 1 <= away.last <= held.last
                some = [piece for piece in found if piece.first <= away.seq < piece.first + piece.entries]
                for taken in take(some, held.templates):
                    taken.give(held, 0)
    assert held.present
    assert all_frames(held) == expected


def test_what_comes_back_may_end_in_what_is_not_packed_yet() -> None:
    """Pieces are taken together, and the newest of them are in the open run."""
    packed = Step([chat.text(f"{at}") for at in range(40)], pack=True, store=True)
    held, found = written([packed, Step([chat.text("z")] * 9, pack=False, store=True)])
    expected = all_frames(held)
    assert held.cool(0, 49) > 0
    (taken,) = take(found, held.templates)
    taken.give(held, 0)
    assert (held.present, all_frames(held)) == (True, expected)


def test_what_was_trimmed_stays_so() -> None:
    held, found = written([Step([chat.text(f"{at}")] * 40, pack=True, store=True) for at in range(4)])
    held.cool(0, 80)
    while held.trim(80):
        pass
    assert (held.first, held.present) == (81, True)
    again = Log(HOLES)
    again.stored(81, 160)
    assert not again.present
    assert not again.whole
    again.arrivals_ns.extend([0] * 160)
    for taken in take([piece for piece in found if piece.first > 80], held.templates):
        taken.give(again, 0)
    assert [again.frame(seq) for seq in range(81, 161)] == [held.frame(seq) for seq in range(81, 161)]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x95\xc4\x01\x00\xc4\x00\x90\xc4\x00\x90"])
def test_what_is_no_piece_is_told(data: bytes) -> None:
    with pytest.raises(StoreFailed, match="entry 7"):
        list(take([Piece(7, 1, data)], ()))
