"""The simulation finds bugs: an engine that is broken on purpose is caught within a few hundred schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
from tests.simulation.disk import Handle
from tests.simulation.play import Failure, played

from tokenwire.engine import trial
from tokenwire.engine.archive import Archive
from tokenwire.engine.folded import Fold
from tokenwire.engine.log import Log
from tokenwire.engine.reader import Reader
from tokenwire.engine.recorder import Recorder
from tokenwire.engine.sealed import Sealed
from tokenwire.engine.view import View

#: Schedules within which each must be caught.
WITHIN = 400

Patch = pytest.MonkeyPatch


def lost_at_the_seam(patch: Patch) -> None:
    """Who becomes live misses what comes next."""
    join = View.join

    def joined(view: View, reader: Reader) -> None:
        join(view, reader)
        write = reader.write

        def swallow(data: bytes, chunk: bytes | None = None) -> bool:
            reader.write = write
            return True

        reader.write = swallow

    patch.setattr(View, "join", joined)


def delivered_twice(patch: Patch) -> None:
    """One delivery in twenty."""
    deliver, times = View.deliver, count()

    def delivered(view: View, data: bytes, chunk: bytes | None, last_seq: int) -> None:
        deliver(view, data, chunk, last_seq)
        if next(times) % 20 == 0:
            deliver(view, data, chunk, last_seq)

    patch.setattr(View, "deliver", delivered)


def out_of_order(patch: Patch) -> None:
    """What an attempt brought before its first token."""
    write = trial.Trial._write

    def written(self: trial.Trial, held: Log) -> list[bytes]:
        self._reads.reverse()
        return write(self, held)

    patch.setattr(trial.Trial, "_write", written)


def a_wrong_id(patch: Patch) -> None:
    """Of one entry in ten, in another dialect."""
    encoded = Fold._encoded

    def wrong(fold: Fold, frames: list[Any], skip: int) -> bytes:
        seq, fold.seq = fold.seq, fold.seq - (fold.seq % 10 == 9)
        try:
            return encoded(fold, frames, skip)
        finally:
            fold.seq = seq

    patch.setattr(Fold, "_encoded", wrong)


def no_terminal(patch: Patch) -> None:
    """Who reads live is not told how it ended."""
    patch.setattr(View, "end", lambda view: [reader.end(b"") for reader in list(view.live)])


def no_epochs(patch: Patch) -> None:
    """After a crash whatever a reader has is continued, also what the store never had."""
    patch.setattr(Log, "continues", lambda log, epoch, seq: True)


def a_timer_left(patch: Patch) -> None:
    """A reader that is over still has its heartbeat."""
    end = Reader._end

    def ended(reader: Reader) -> None:
        reader._idle_timer, timer = None, reader._idle_timer
        end(reader)
        reader._idle_timer = timer

    patch.setattr(Reader, "_end", ended)
    patch.setattr(Reader, "_beat", lambda reader: reader.stream.wheel.after(1.0, reader._beat))


def a_batch_lost(patch: Patch) -> None:
    """The store forgets one write in ten, and says that it did not."""
    write, times = Handle.write, count()

    async def lost(handle: Handle, appends: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        if next(times) % 10 != 3:
            await write(handle, appends, notes)

    patch.setattr(Handle, "write", lost)


def never_flushed(patch: Patch) -> None:
    """What runs is stored when it begins and when it ends."""
    patch.setattr(Recorder, "_tick", lambda recorder: None)


def cooled_too_soon(patch: Patch) -> None:
    """Memory lets go of what the store does not have yet."""
    cool = Sealed.cool
    patch.setattr(Sealed, "cool", lambda runs, keep, upto: cool(runs, 0, runs.entries))


def orphans_are_complete(patch: Patch) -> None:
    """What was cut by a crash is taken for the whole answer."""
    restore = Archive._restore

    async def restored(archive: Archive, head: Any) -> Any:
        return await restore(archive, head._replace(running=False))

    patch.setattr(Archive, "_restore", restored)


MUTATIONS: list[Callable[[Patch], None]] = [
    lost_at_the_seam, delivered_twice, out_of_order, a_wrong_id, no_terminal, no_epochs, a_timer_left, a_batch_lost,
    never_flushed, cooled_too_soon, orphans_are_complete,
]  # fmt: skip


@pytest.mark.untraced
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_what_is_broken_on_purpose_is_caught(mutation: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutation(monkeypatch)
    failures: list[Failure] = played(range(WITHIN), most=1)
    assert failures, f"{mutation.__name__} was not found in {WITHIN} schedules"
