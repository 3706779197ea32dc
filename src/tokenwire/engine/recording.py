"""A finished stream's log, kept to be told again: frames in packed form, arrival times, and what it used.

It shares the packed runs with the log that it was taken from; they never change. What it says of a provider's answer is
all that a log says: whoever stores it elsewhere needs no more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Usage
    from tokenwire.engine.stream import Stream
    from tokenwire.wire.envelope import Packed

#: Bytes that a recording takes beside its runs and times: itself, its key, its places in two tables.
OVERHEAD: Final = 1024
#: Frames that are rebuilt at a time: a run can be as long as one read of the provider's was.
PORTION: Final = 512
#: Why an answer ended that would end so again. Not what a filter cut, what pauses to be gone on with, what failed, and
#: what says nothing of it.
WHOLE: Final = frozenset({"stop", "length", "tool_use", "refusal", "context_window"})


class Recording(Struct, frozen=True, kw_only=True):
    """One whole answer.

    Attributes:
        dialect: that its frames are in.
        model: UPSTREAM/MODEL that gave it.
        unary: it is one body, and no stream.
        runs: its frames, in order.
        arrivals_ns: when each entry came, since the first.
        opened: number of the first generated entry.
        usage: what it used, estimated where the provider did not tell, and cost.
        notes: what of the request was not carried as it came (``X-Tokenwire-Translation``).
        size: bytes of memory.
    """

    dialect: str
    model: str
    unary: bool
    runs: tuple[Packed, ...]
    arrivals_ns: array[int]
    opened: int
    usage: Usage | None
    notes: str
    size: int

    def frames(self) -> Iterator[bytes]:
        """Every frame, byte for byte as it came."""
        for run in self.runs:
            for start in range(0, len(run), PORTION):
                yield from run.slice(start, start + PORTION)

    def times(self, longest_gap_ns: int) -> array[int]:
        """When each entry is due, told again at its own pace: what came up to the first generated one at once, the
        others as they came, but no gap longer than that."""
        due = array("q")
        now = before = 0
        for seq, arrived in enumerate(self.arrivals_ns, 1):
            if seq > self.opened:
                now += min(max(arrived - before, 0), longest_gap_ns)
            before = arrived
            due.append(now)
        return due


def record(stream: Stream, most_bytes: int) -> Recording | None:
    """What *stream*, which has its terminal, is told again from. None unless the answer is whole in every sense:
    completed, ended by the model (``WHOLE``), none of it trimmed or away, *most_bytes* at most."""
    held, terminal, generated_ns = stream.log, stream.terminal, stream.generated_ns
    if terminal is None or terminal.state != "completed" or terminal.reason not in WHOLE or generated_ns is None:
        return None
    if not held.whole or len(held.attempts) != 1 or held.size > most_bytes:
        return None
    stream.hub.pack(stream)
    runs = held.packed
    came = held.arrivals_ns[: held.last_frame]
    arrivals = array("q", [each - came[0] for each in came])
    settled = stream.settled
    notes = stream.meta.get("notes")
    size = OVERHEAD + sum(run.size for run in runs) + 8 * len(arrivals)
    if size > most_bytes:
        return None
    return Recording(
        dialect=stream.dialect.name,
        model=stream.model,
        unary=stream.unary,
        runs=runs,
        arrivals_ns=arrivals,
        opened=bisect_left(came, generated_ns) + 1,
        usage=None if settled is None else settled.usage,
        notes=notes if isinstance(notes, str) else "",
        size=size,
    )


def without_cost(usage: Usage) -> Usage:
    """The same counts, of an answer that cost nothing this time."""
    return structs.replace(usage, cost_usd=0.0)
