"""Sends one reply: its frames at their times, until they end or the client leaves."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenwire.simulator.exchange import Mark, Reply
from tokenwire.simulator.tls import RECORD, record_overhead

if TYPE_CHECKING:
    from tokenwire.simulator.stats import Stats
    from tokenwire.simulator.ticker import Ticker

if sys.platform != "win32":
    import fcntl
    import termios

#: Most frames in one turn of the loop. An answer without delays is sent in portions, so that others get their turn.
BATCH = 64

# So many writes are remembered to tell which tokens a leaving client did not get; older ones are estimated.
_REMEMBERED = 32

# Sums of delays are not exact: what is due within a microsecond is due (or we would be woken for it for ever).
_SLACK = 1e-6

_NO_LINGER = struct.pack("ii", 1, 0)


class Playback:
    """One reply on its way.

    Args:
        ended: called once if the reply comes to its proper end, with whether the connection can be used again. Not
            called if the client leaves or a fault closes the connection.
    """

    __slots__ = (
        "_chunked", "_due", "_ended", "_frames", "_left", "_over", "_paused", "_pending", "_record", "_reply", "_sent",
        "_stats", "_ticker", "_tokens", "_transport", "_written",
    )  # fmt: skip

    def __init__(
        self,
        reply: Reply,
        transport: asyncio.Transport,
        ticker: Ticker,
        stats: Stats,
        ended: Callable[[bool], None],
    ) -> None:
        self._reply = reply
        self._frames = reply.frames
        self._chunked = reply.chunked
        self._transport = transport
        self._ticker = ticker
        self._stats = stats
        self._ended = ended
        self._due = ticker.time()
        self._pending = next(self._frames, None)
        self._sent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)  # (bytes, tokens) written so far, per write
        self._written = 0  # as it is on the wire: over TLS with what its records add
        self._record = record_overhead(transport.get_extra_info("ssl_object"))
        self._tokens = 0
        self._paused = False
        self._left = False
        self._over = False
        if reply.generation:
            stats.requests += 1
            stats.active += 1

    @property
    def deaf(self) -> bool:
        """Whether the reply goes on although its client has left."""
        return self._reply.deaf

    def start(self) -> None:
        """Begin: what is due at once goes out before this returns (unless the reply is held back already)."""
        if self._pending is not None and self._pending.delay:
            self._due += self._pending.delay
            self._ticker.at(self._due, self.wake)
        else:
            self.wake(self._due)

    def wake(self, now: float) -> None:
        """Send everything that is due at the loop time *now*, and set the alarm for the next frame."""
        if self._over or self._paused:
            return
        try:
            self._send_due(now)
        except BaseException:
            self._transport.abort()  # whatever it was, the client must not wait for the rest
            raise

    def _send_due(self, now: float) -> None:
        now += _SLACK
        frame = self._pending
        out: list[bytes] = []
        tokens = 0
        for _ in range(BATCH):
            if frame is None or frame.mark >= Mark.CUT:
                break
            data = frame.data
            if not self._chunked or frame.mark <= Mark.RAW:
                out.append(data)
            elif data:  # an empty chunk would be the end of the body (RFC 9112, section 7.1)
                out.append(b"%x\r\n%b\r\n" % (len(data), data))
            tokens += frame.tokens
            frame = next(self._frames, None)
            if frame is not None and frame.delay:
                self._due += frame.delay
                if self._due > now:
                    break
        self._pending = frame
        if frame is None and self._chunked:
            out.append(b"0\r\n\r\n")
        if out:
            self._write(b"".join(out), tokens)
        if frame is None:
            self._finish()
            self._ended(self._reply.keep_alive)
        elif frame.mark >= Mark.CUT and self._due <= now:
            self._break(frame.mark)
        elif not self._paused:
            self._ticker.at(self._due, self.wake)

    def _write(self, data: bytes, tokens: int) -> None:
        self._written += len(data)
        if self._record:
            self._written += -(-len(data) // RECORD) * self._record
        self._tokens += tokens
        self._stats.tokens += tokens
        if self._left:
            self._stats.tokens_after_leave += tokens
        elif tokens:
            self._sent.append((self._written, self._tokens))
        self._transport.write(data)

    def _break(self, mark: Mark) -> None:
        """The end that a fault wants."""
        if mark is Mark.STALL:
            return  # over when the client leaves
        self._finish()
        if mark is Mark.RESET:
            reset(self._transport)
        else:
            self._transport.close()

    def _finish(self) -> None:
        self._over = True
        if self._reply.generation:
            self._stats.active -= 1
            if not self._left:
                self._stats.done += 1

    def pause(self) -> None:
        """The client does not read: hold everything back."""
        self._paused = True

    def resume(self) -> None:
        """The client reads again. What became due in the meantime is sent as fast as the client takes it."""
        self._paused = False
        self._ticker.at(self._due, self.wake)

    def leave(self, *, lost: bool) -> None:
        """The client has left.

        Args:
            lost: the connection is gone for good; False for a FIN, after which a deaf reply goes on.
        """
        if self._over:
            return
        if not self._left:
            self._left = True
            if self._reply.generation:
                self._stats.aborted += 1
                self._stats.last_abort_ns = time.monotonic_ns()
                self._stats.tokens_after_leave += self._unseen(unacknowledged(self._transport))
        if lost or not self._reply.deaf:
            self._finish()

    def _unseen(self, missing: int) -> int:
        """How many tokens were in the last *missing* bytes, one that is cut in two included."""
        if not missing or not self._tokens:
            return 0
        seen = self._written - missing
        last = (0, 0)
        for written, tokens in reversed(self._sent):
            if written <= seen:
                return self._tokens - tokens
            last = (written, tokens)
        if len(self._sent) < _REMEMBERED:
            return self._tokens  # all writes are remembered, and none was seen whole
        written, tokens = last
        return self._tokens - tokens + math.ceil((written - seen) * tokens / written)


def reset(transport: asyncio.Transport) -> None:
    """An abortive close (SO_LINGER with zero seconds): the kernel sends RST and drops what is unsent."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes written to *transport* that the peer has not acknowledged, in our buffer and the kernel's (Linux).

    The FIN of a client that closes acknowledges everything that it has received, so right after it this is exactly what
    was written too late. 0 where the system doesn't say.
    """
    waiting = transport.get_write_buffer_size()
    if sys.platform == "win32":  # pragma: no cover
        return waiting
    try:
        sock = transport.get_extra_info("socket")
        raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")  # SIOCOUTQ of tcp(7)
    except (OSError, ValueError):  # the socket is closed already
        return waiting
    return waiting + int.from_bytes(raw, "little")
