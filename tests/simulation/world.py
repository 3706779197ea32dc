"""Virtual time, and the event loops of several processes that share it.

A ``Process`` is an asyncio event loop without threads, selectors or sockets. All of them lie in one ``World``, which
has one queue of what is due and one generator of random numbers: the same seed gives the same run, to the byte. Time
passes only when nobody has anything left to do, and a process can be killed between any two of its callbacks.

Within one process callbacks run in the order that asyncio promises (``call_soon`` in turn, timers by their time). Where
asyncio promises nothing, the dice decide: which process goes first, and whether what is due now, a read for instance,
gets its place before or after the callbacks that wait already.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.simulation.disk import Disk
    from tests.simulation.network import Network

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Not 0, so that a forgotten default shows.
BEGAN_NS = 1_000_000_000_000
#: The time of day at that moment, seconds since 1970.
WALL = 1_763_600_000.0
SECOND = 1_000_000_000
#: More callbacks than this at one instant: something arms itself again and again without delay.
MOST_AT_ONCE = 200_000


class Livelock(AssertionError):
    """Callbacks that never rest."""


class World:
    """What all processes of one schedule share.

    Attributes:
        random: the only source of chance.
        now_ns: CLOCK_MONOTONIC of this machine.
        wall_offset: what the time of day has jumped by, seconds.
        steps: callbacks that were run.
        processes: all that there ever were.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ns = BEGAN_NS
        self.wall_offset = 0.0
        self.steps = 0
        self.network: Network
        self.disk: Disk
        self._due: list[tuple[int, int, int, Process, asyncio.Handle]] = []
        self._asked = 0
        self._busy: list[Process] = []
        self.processes: list[Process] = []
        self._running: Process | None = None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return (self.now_ns - BEGAN_NS) / 1e9

    def wall(self) -> float:
        return WALL + self.seconds + self.wall_offset

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Go on until *until* says so, or *limit* seconds of virtual time are over, or nothing is left to be done.
        Whether *until* said so."""
        end = self.now_ns + int(limit * SECOND)
        due, busy, chance = self._due, self._busy, self.random.random
        at_once = 0
        try:
            while not until():
                now = self.now_ns
                while due and due[0][0] <= now and (not busy or chance() < 0.5):
                    _, _, _, process, handle = heapq.heappop(due)
                    process.ready_now(handle)
                if busy:
                    at_once += 1
                    if at_once > MOST_AT_ONCE:
                        raise Livelock(f"{MOST_AT_ONCE} turns at one instant, the next one {busy[0].ready[0]!r}")
                    self._turn(busy[0] if len(busy) == 1 else busy[int(chance() * len(busy))])
                elif not due or due[0][0] > end:
                    self.now_ns = end
                    return False
                else:
                    at_once = 0
                    self.now_ns = max(now, due[0][0])
        finally:
            if self._running is not None:
                self._running = None
                asyncio._set_running_loop(None)
        return True

    def _turn(self, process: Process) -> None:
        """A turn of its loop, or a part of it: whoever kills it does so between two callbacks."""
        if process is not self._running:  # each call is a system call
            self._running = process
            asyncio._set_running_loop(process)
        ready, chance = process.ready, self.random.random
        count = len(ready)
        if count > 1 and chance() < 0.3:
            count = 1 + int(chance() * count)
        for _ in range(count):
            if not ready:  # it was killed, or suspended
                break
            handle = ready.popleft()
            if not handle._cancelled:  # as asyncio's own loop looks at it
                self.steps += 1
                handle._run()
        if not ready and process in self._busy:
            self.rests(process)

    def at(self, when_ns: int, process: Process, handle: asyncio.Handle, *, jitter: int = 0) -> None:
        """Run *handle* in *process* then. Equal moments keep their order, but for *jitter* places."""
        self._asked += 1
        order = self._asked + (int(self.random.random() * jitter) if jitter else 0)
        heapq.heappush(self._due, (max(when_ns, process.suspended_ns), order, self._asked, process, handle))

    def busy(self, process: Process) -> None:
        if process not in self._busy:
            self._busy.append(process)

    def rests(self, process: Process) -> None:
        self._busy.remove(process)

    def forget(self, process: Process) -> None:
        """Nothing of *process* is run any more."""
        process.ready.clear()
        if process in self._busy:
            self.rests(process)
        self._due[:] = [each for each in self._due if each[3] is not process]  # ``run`` holds this very list
        heapq.heapify(self._due)


class Process(asyncio.BaseEventLoop):
    """One process: an event loop.

    Attributes:
        complaints: what its exception handler was told.
        dead: it was killed: nothing of it runs any more.
        tasks: all that were made.
    """

    def __init__(self, world: World, name: str) -> None:  # not super().__init__: it is for what is not used here
        world.processes.append(self)
        self.world = world
        self.name = name
        self.dead = False
        self.ready: deque[asyncio.Handle] = deque()
        self.complaints: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.suspended_ns = 0

    def __repr__(self) -> str:
        return self.name

    def kill(self) -> None:
        """kill -9. Its sockets are closed by the kernel."""
        if not self.dead:
            self.dead = True
            self.world.forget(self)
            self.world.network.killed(self)

    def suspend(self, seconds: float) -> None:
        """It gets no processor for so long (SIGSTOP, a machine that sleeps): then everything is late at once."""
        self.suspended_ns = self.world.now_ns + int(seconds * SECOND)
        waiting = list(self.ready)
        self.ready.clear()
        for handle in waiting:
            self.world.at(self.suspended_ns, self, handle)

    def bury(self) -> None:
        """Let go of what it was at. Its ``finally`` clauses run, which those of a killed process do not: they find
        sockets, timers and a disk that are gone."""
        self.kill()
        for task in self.unfinished:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            if not coroutine.cr_running:
                coroutine.close()

    @property
    def unfinished(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.tasks if not task.done()]

    def ready_now(self, handle: asyncio.Handle) -> None:
        if self.dead:
            return
        if self.suspended_ns > self.world.now_ns:
            self.world.at(self.suspended_ns, self, handle)
            return
        self.ready.append(handle)
        self.world.busy(self)

    def arrives(self, delay_ns: int, callback: Callable[..., object], *args: Any) -> None:
        """An event from outside, of the network for instance, in this process."""
        handle = asyncio.Handle(callback, args, self)
        self.world.at(self.world.now_ns + delay_ns, self, handle, jitter=8)

    # ------------------------------------------------------------------ asyncio.BaseEventLoop

    def time(self) -> float:
        return self.world.now_ns / 1e9

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready_now(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            # Rounded up: who asks the clock when he is called must not find that he came too early.
            self.world.at(-int(-when * 1e9 // 1), self, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the queue, and does nothing."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=name, context=context)  # type: ignore[arg-type]
        self.tasks.append(task)
        return task

    async def create_connection(  # type: ignore[override]  # as much of it as is used here
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        return await self.world.network.connect(self, protocol_factory, port)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.complaints.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead


class SimulatedClock:
    """``tokenwire.engine.clock.Clock`` of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def now_ns(self) -> int:
        return self._world.now_ns

    def wall(self) -> float:
        return self._world.wall()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._process.call_later(delay, callback)


async def sleep(seconds: float) -> None:
    """By virtual time."""
    await asyncio.sleep(seconds)
