"""The network between the processes: connections that are cut at any byte, slow, frozen, silent, refused.

A ``Link`` is one TCP connection with its two ends, each an asyncio transport. What an end writes goes into the *wire*
(the two kernels' buffers, bounded), what does not fit waits in the end's own buffer, and the protocol is told to pause,
as asyncio does it. Bytes arrive in pieces of any size, in order, or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

#: asyncio's own, for a transport's buffer.
HIGH_WATER = 64 * 1024
#: As long as a kernel tries to reach a peer that vanished: what the edge asks for (TCP_USER_TIMEOUT), seconds.
GIVE_UP = 20.0
MILLISECOND = 1_000_000


class Descriptor:
    """What ``get_extra_info("socket")`` gives: as much of a socket as is asked for."""

    family = None  # no address: nobody sets options of TCP here

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def setsockopt(self, *_: object) -> None:
        """There is nothing to set."""

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    getsockname = getpeername


class End(asyncio.Transport):
    """One end of a link.

    Attributes:
        sent: bytes that went into the wire; delivered: those of them that the other end's protocol was given.
        frozen: nothing is read here, whatever the protocol wants (a phone in a tunnel, a stopped tab).
        cut_after: when so many bytes were delivered here, the connection breaks.
        lost: its protocol was told of the end, or will never hear anything again.
    """

    def __init__(self, link: Link, process: Process, number: int) -> None:
        super().__init__()
        self.link = link
        self.process = process
        self.peer: End
        self.protocol = asyncio.Protocol()
        self.wire = bytearray()
        self.sent = 0
        self.delivered = 0
        self.frozen = False
        self.lost = False
        self.cut_after: int | None = None
        self.high = HIGH_WATER
        self.low = HIGH_WATER // 4
        self._socket = Descriptor(number)
        self._buffer = bytearray()
        self._closing = False
        self._closed = False  # by its own process
        self._fin = False  # nothing more goes into the wire
        self._reading = False  # until somebody is connected here
        self._full = False
        self._due = False

    def __repr__(self) -> str:
        return f"connection {self._socket.fileno() // 2}"

    # ------------------------------------------------------------------ asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._socket
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed or self.lost or not data:
            return
        taken = 0 if self._buffer else self._put(data)
        if taken < len(data):
            self._buffer += data[taken:]
            if not self._full and len(self._buffer) > self.high:
                self._full = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = HIGH_WATER if high is None else high
        self.low = self.high // 4 if low is None else low
        if not self._full and len(self._buffer) > self.high:
            self._full = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._look()

    def is_reading(self) -> bool:
        return self._reading

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._reading = False
        if not self._buffer:
            self._end(None)

    def abort(self) -> None:
        self._closing = True
        self._reading = False
        self._buffer.clear()
        self._end(None)

    # ------------------------------------------------------------------ the kernel's side

    def send(self, data: bytes) -> int:
        """``os.write`` on its socket. Raises ``OSError`` if nothing can be taken."""
        if self.lost or self._closed:
            raise BrokenPipeError
        if taken := self._put(data):
            return taken
        raise BlockingIOError

    def receive(self, most: int) -> bytes:
        """``os.read`` on its socket."""
        wire = self.peer.wire
        if wire and not self.frozen:
            return self._take(min(most, len(wire)))
        if self.link.broken:
            raise ConnectionResetError(104, "Connection reset by peer")
        if not wire and self.peer._fin:
            return b""
        raise BlockingIOError

    def thaw(self) -> None:
        self.frozen = False
        self._look()

    def vanish(self) -> None:
        """Its machine is gone: it hears nothing more, and its peer hears nothing of that until a kernel gives up."""
        self.lost = self._closing = True
        self.process.arrives(0, self.protocol.connection_lost, OSError(113, "No route to host"))
        self.peer.process.arrives(int(GIVE_UP * 1e9), self.peer.broken, TimeoutError(110, "Connection timed out"))

    def broken(self, error: Exception | None) -> None:
        """The connection ends here, in this turn."""
        if not self.lost:
            self.lost = self._closing = True
            self._buffer.clear()
            self.protocol.connection_lost(error)

    def _put(self, data: bytes | bytearray | memoryview) -> int:
        if self.link.broken:
            return len(data)
        if self.peer._fin:  # nobody is there any more, and its kernel says so
            self.process.arrives(self.link.delay(), self.refused)
            return len(data)
        room = self.link.capacity - len(self.wire)
        if room <= 0:
            return 0
        taken = min(room, len(data))
        self.wire += data[:taken]
        self.sent += taken
        self.peer._look()
        return taken

    def _look(self) -> None:
        """Something may have become readable here."""
        if self._due or self.lost or not self._reading or self.frozen:
            return
        if self.peer.wire or self.peer._fin:
            self._due = True
            self.process.arrives(self.link.delay(), self._readable)

    def _readable(self) -> None:
        self._due = False
        if self.lost or not self._reading or self.frozen:
            return
        wire = self.peer.wire
        if wire:
            data = self._take(self.link.portion(len(wire)))
            self.protocol.data_received(data)
            self._look()
        elif self.peer._fin and not self.protocol.eof_received() and not self.lost:
            self.close()

    def _take(self, size: int) -> bytes:
        wire = self.peer.wire
        if self.cut_after is not None:
            size = min(size, self.cut_after - self.delivered)
        data = bytes(wire[:size])
        del wire[:size]
        self.delivered += size
        self.peer._drained()
        if self.delivered == self.cut_after:
            self.link.cut()
        return data

    def _drained(self) -> None:
        """The other end took something: there is room."""
        if self._buffer:
            self.process.arrives(self.link.delay(), self._flush)

    def _flush(self) -> None:
        if self.lost or not self._buffer:
            return
        del self._buffer[: self._put(self._buffer)]
        if self._full and len(self._buffer) <= self.low:
            self._full = False
            self.protocol.resume_writing()
        if self._closing and not self._buffer:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        """This end is closed; what is in the wire still arrives there."""
        if self.lost or self._closed:
            return
        self._closed = self._fin = True
        self.process.call_soon(self.broken, error)
        if self.peer.wire and not self.link.broken:  # the kernel resets a connection that is closed with bytes unread
            self.peer.process.arrives(self.link.delay(), self.peer.refused)
        else:
            self.peer._look()

    def refused(self) -> None:
        """RST."""
        self.link.broken = True
        self.broken(ConnectionResetError(104, "Connection reset by peer"))

    def gone(self) -> None:
        """Its process was killed: the kernel closes the socket."""
        if self.lost:
            return
        self.lost = self._closing = self._closed = self._fin = True
        self._buffer.clear()
        if self.peer.wire:
            self.peer.process.arrives(self.link.delay(), self.peer.refused)
        else:
            self.peer._look()


class Link:
    """One connection: *near* asked for it, *far* accepted it.

    Attributes:
        capacity: bytes that the kernels hold for each direction.
        choppy: how often (0 to 1) what has arrived is read in several pieces.
        slow: how often a read is late.
        latency: what late means, nanoseconds at most.
        broken: it was reset.
    """

    def __init__(self, world: World, near: Process, far: Process, number: int) -> None:
        chance = world.random
        self._world = world
        self.port = 0
        self.near = End(self, near, 2 * number)
        self.far = End(self, far, 2 * number + 1)
        self.near.peer, self.far.peer = self.far, self.near
        self.capacity = chance.choice((1 << 10, 4 << 10, 64 << 10, 64 << 10))
        self.choppy = chance.choice((0.0, 0.0, 0.1, 0.5))
        self.slow = chance.choice((0.0, 0.1, 0.5))
        self.latency = chance.choice((MILLISECOND, 20 * MILLISECOND, 200 * MILLISECOND))
        self.broken = False

    def delay(self) -> int:
        """Until something arrives, nanoseconds."""
        chance = self._world.random.random
        return int(chance() * self.latency) if chance() < self.slow else 0

    def portion(self, size: int) -> int:
        """How much of *size* bytes the next read brings."""
        chance = self._world.random.random
        return 1 + int(chance() * size) if chance() < self.choppy else size

    @property
    def open(self) -> bool:
        return not (self.near.lost or self.far.lost)

    def cut(self) -> None:
        """Something between the two ends it, in either way."""
        self.shut() if self._world.random.random() < 0.5 else self.reset()

    def shut(self) -> None:
        """FIN towards both: what is under way is lost, too."""
        for end in (self.near, self.far):
            end.wire.clear()
            end._fin = True
        for end in (self.near, self.far):
            end._look()
            end._drained()

    def reset(self) -> None:
        """RST towards both: what is under way is lost."""
        self.broken = True
        for end in (self.near, self.far):
            end.peer.wire.clear()
            if not end.lost:
                end.process.arrives(self.delay(), end.broken, ConnectionResetError(104, "Connection reset by peer"))


class Network:
    """All links of one world, and who listens."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._listeners: dict[int, tuple[Process, Callable[[], asyncio.Protocol]]] = {}
        self.links: list[Link] = []
        world.network = self

    def listen(self, port: int, process: Process, factory: Callable[[], asyncio.Protocol]) -> None:
        self._listeners[port] = process, factory

    async def connect(
        self, process: Process, factory: Callable[[], asyncio.Protocol], port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As ``loop.create_connection``."""
        answered: asyncio.Future[None] = process.create_future()
        process.arrives(int(self._world.random.random() * 2 * MILLISECOND), _answer, answered)
        await answered
        listener = self._listeners.get(port)
        if listener is None or listener[0].dead:
            raise ConnectionRefusedError(111, "Connection refused")
        far, accept = listener
        link = Link(self._world, process, far, len(self.links))
        link.port = port
        self.links.append(link)
        far.arrives(0, self._connected, link.far, accept)
        self._connected(link.near, factory)
        return link.near, link.near.protocol

    def _connected(self, end: End, factory: Callable[[], asyncio.Protocol]) -> None:
        if not end.lost:
            end.protocol = factory()
            end.protocol.connection_made(end)
            end.resume_reading()

    def killed(self, process: Process) -> None:
        for port in [port for port, (owner, _) in self._listeners.items() if owner is process]:
            del self._listeners[port]
        for link in self.links:
            for end in (link.near, link.far):
                if end.process is process:
                    end.gone()

    def to(self, port: int) -> list[Link]:
        """The connections to *port* that stand."""
        return [link for link in self.links if link.port == port and link.open]

    def end(self, descriptor: int) -> End:
        link = self.links[descriptor // 2]
        return link.far if descriptor % 2 else link.near


def _answer(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
