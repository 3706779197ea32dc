"""Who reads a connection: the event loop; or, if it is a fast one, the frame clock by hand (``engine.pacing``)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenwire.engine.lane import CHECK_EVERY

if TYPE_CHECKING:
    import asyncio

    from tokenwire.engine.pacing import FrameClock

log = logging.getLogger(__name__)

#: So much in one read is no model at work but a replay, a cache or an attack: it is read by hand from then on. libuv
#: would read on up to 32 times in a row, 8 MB and half a second of our work, before anybody else got a turn.
FLOOD = 64 * 1024
# Over 250 reads a second begin pacing, under 200 events a second end it (engine.pacing says why).
_FAST_NS = CHECK_EVERY * 1_000_000_000 // 250
_SLOW_WINDOW_NS = 100_000_000
_SLOW_EVENTS = 20
_READ = 16 * 1024
# Half a frame's time for one connection; what is left waits for the next frame. Big events cost little, and pass.
_TURN_NS = 4_000_000


class Reading:
    """The reading half of a connection. Its other half is a protocol, and receives.

    Attributes:
        paced: the frame clock polls it; the loop does not read.
            Over TLS only a flood is: pausing such a transport merely puts off the decrypting, for the loop reads on
            until 256 KiB wait to be decrypted. It bounds what one turn brings, and saves no system call: at 300
            tokens a second, paused and resumed once a frame, a token cost what it costs without.
        may_pace: a body is on its way, and nobody asked for it unpaced.
    """

    __slots__ = (
        "_mark_ns",
        "_now_ns",
        "_pacing",
        "_paused",
        "_secured",
        "_socket",
        "_transport",
        "_units",
        "may_pace",
        "paced",
    )

    data_received: Callable[[bytes], None]

    def __init__(self, now_ns: Callable[[], int], pacing: FrameClock | None) -> None:
        self._now_ns = now_ns
        self._pacing = pacing
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._paused = False
        self._secured = False
        self._units = 0
        self._mark_ns = 0
        self.may_pace = False
        self.paced = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the connection: the protocol's."""
        raise NotImplementedError

    def pause(self) -> None:
        """Read no more until ``resume``; what is read already is delivered. Idempotent."""
        if not self._paused and self._transport is not None:
            self._paused = True
            if self.paced:
                assert self._pacing is not None
                self._pacing.remove(self)
            else:
                self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            if self.paced:
                assert self._pacing is not None
                self._pacing.add(self)
            else:
                self._transport.resume_reading()

    def _check(self) -> None:
        """Every few reads. A one-way stream would have each token acknowledged by a packet of its own, 2.5 us of
        kernel time out of 17: asking for delayed ACKs (which the kernel forgets) halves their number."""
        if self.paced:
            return
        now = self._now_ns()
        if self._socket is not None and hasattr(socket, "TCP_QUICKACK"):
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            except OSError:  # closing, or no TCP socket
                self._socket = None
        fast = now - self._mark_ns < _FAST_NS
        self._mark_ns = now
        if fast:
            self._hasten()

    def _hasten(self) -> None:
        """This upstream is fast: read it once a frame from now on, where that can be done."""
        if not self._secured and self._socket is not None:
            self._pace()

    def _flooded(self) -> None:
        """This was no model at work: nothing more before the next frame."""
        if self._secured or self._socket is not None:
            self._pace()

    def _pace(self) -> None:
        if not self.may_pace or self.paced or self._paused:
            return
        transport = self._transport
        assert transport is not None
        assert self._pacing is not None
        transport.pause_reading()
        self.paced = True
        self._units = 0
        self._mark_ns = self._now_ns()
        self._pacing.add(self)

    def _unpace(self) -> None:
        if self.paced:
            self.paced = False
            assert self._pacing is not None
            self._pacing.remove(self)
            transport = self._transport
            if transport is not None and not transport.is_closing() and not self._paused:
                transport.resume_reading()

    def poll(self) -> bool:
        """One frame's reads, by hand. At the end of the stream the loop takes over and tells. TLS records are the
        transport's to read: until the next flood."""
        if self._secured:
            self._unpace()
            return False
        sock = self._socket
        assert sock is not None
        until = self._now_ns() + _TURN_NS
        while self.paced and not self._paused:
            try:
                data = os.read(sock.fileno(), _READ)
            except BlockingIOError:
                break
            except OSError as error:  # said once: the loop's next read would take it for a plain end
                self._broken(error)
                break
            if not data:
                self._unpace()
                break
            # CRLF framing, too, has one of these at the end of an event; in LF framing it would count the chunks again.
            self._units += data.count(b"\n\n") or data.count(b"\n\r\n")
            try:
                self.data_received(data)
            except Exception as error:  # as the transport does it: one connection's bug must not stop the frame clock
                log.exception("reading a paced upstream failed")
                self._broken(error)
                break
            if len(data) < _READ or self._now_ns() > until:
                break
        now = self._now_ns()
        if self.paced and now - self._mark_ns > _SLOW_WINDOW_NS:
            if self._units < _SLOW_EVENTS:
                self._unpace()
            self._units = 0
            self._mark_ns = now
        return self.paced

    def _broken(self, error: Exception) -> None:
        """What the transport would tell us, had it been the one who read."""
        transport = self._transport
        assert transport is not None
        self.connection_lost(error)
        transport.abort()
