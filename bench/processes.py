"""CPU time and memory of a process and all that it started, from /proc; and how to end it. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 5.0  # arbitrary: a relay that needs longer to go is killed


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that we use (proc(5)). Times in clock ticks."""

    pid: int
    ended: bool
    """A zombie: it runs no more, and only waits to be reaped."""
    parent: int
    session: int
    own_ticks: int
    reaped_ticks: int
    """Of children that ended and were waited for, and of theirs: else their time would vanish with them."""


def parse_stat(text: str) -> Stat:
    """Read one line of /proc/PID/stat.

    The command name, in parentheses, may hold spaces and parentheses itself, so the fields are counted from
    the last closing one.
    """
    pid, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return Stat(
        pid=int(pid),
        ended=fields[0] in "ZX",
        parent=int(fields[1]),
        session=int(fields[3]),
        own_ticks=int(fields[11]) + int(fields[12]),
        reaped_ticks=int(fields[13]) + int(fields[14]),
    )


def parse_pss_kib(text: str) -> int:
    """Proportional set size in KiB, from the text of /proc/PID/smaps_rollup; 0 for a kernel thread."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def parse_busy_ticks(text: str) -> int:
    """Ticks in which any core of the machine was at work, from the text of /proc/stat (proc(5)).

    Time that the hypervisor gave to others (steal) counts as work: it was not ours to use.
    """
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split(maxsplit=9)[1:9])
    return user + nice + system + irq + softirq + steal


def machine_seconds() -> float:
    """CPU time that everything on this machine has used since it started."""
    return parse_busy_ticks(Path("/proc/stat").read_text()) / _TICKS_PER_SECOND


def _all_stats() -> Iterator[Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield parse_stat((entry / "stat").read_text(errors="replace"))
            except OSError:  # it ended while we looked
                continue


def family(root: int) -> list[Stat]:
    """*root*, its descendants, and the rest of its session.

    What was orphaned has another parent but not another session, unless it made one of its own (setsid(2)).
    """
    stats = list(_all_stats())
    members = {root}
    grown = True
    while grown:
        more = {s.pid for s in stats if s.parent in members or s.session == root}
        grown = not more <= members
        members |= more
    return [s for s in stats if s.pid in members]


def cpu_seconds(root: int) -> float:
    """CPU time that the family of *root* has used so far, its ended and reaped children included.

    Resolution is one tick, 10 ms as a rule: measure seconds of work, not milliseconds.
    """
    return sum(s.own_ticks + s.reaped_ticks for s in family(root)) / _TICKS_PER_SECOND


def pss_kib(root: int) -> int:
    """Memory of the family of *root* in KiB: pages shared by n processes count one nth in each."""
    total = 0
    for member in family(root):
        try:
            total += parse_pss_kib(Path(f"/proc/{member.pid}/smaps_rollup").read_text())
        except OSError:
            continue
    return total


def end(process: subprocess.Popen[bytes]) -> None:
    """End *process* and its family, each by its own pid: kindly, then not. Returns once none of them runs.

    The process must lead a session of its own (``start_new_session=True``).

    Raises:
        TimeoutError: One of them survived even SIGKILL for some seconds: it hangs in the kernel.
    """
    sessions = {s.pid: s.session for s in family(process.pid)} if process.poll() is None else {}
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + _END_SECONDS
    while survivors := _survivors(process.pid, sessions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ended: {survivors}")
        for pid in survivors:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)  # an orphan is not our child: there is nothing to wait() for


def _survivors(reaped: int, sessions: Mapping[int, int]) -> list[int]:
    """Who still runs of the family of *reaped*: of its session, or known by pid and session from before.

    The number of a reaped process stays taken while its session has members. If a process bears it again, the
    session was empty, and what there is now belongs to a stranger.
    """
    stats = list(_all_stats())
    if any(s.pid == reaped for s in stats):
        return []
    ours = (s for s in stats if s.session == reaped or sessions.get(s.pid) == s.session)
    return [s.pid for s in ours if not s.ended]
