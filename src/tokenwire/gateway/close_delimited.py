"""Answers for an HTTP/1.0 client: no chunks, the end of the connection is the end of the answer (RFC 9112 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CloseDelimited:
    """Stands before a cycle's ``send``, and takes over an answer that brings no length of its own."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._endless = False

    async def send(self, message: Any) -> None:
        """ASGI's ``send``."""
        cycle = self._cycle
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", [])}
            self._endless = b"content-length" not in names and message["status"] not in (204, 304)
        if not self._endless:
            await self._send(message)
        elif message["type"] == "http.response.start":
            cycle.response_started = True
            headers = [*cycle.default_headers, *message.get("headers", []), (b"connection", b"close")]
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._write(STATUS_LINE[message["status"]] + lines + b"\r\n")
        else:
            await self._body(message.get("body", b""), last=not message.get("more_body", False))

    async def _body(self, body: bytes, *, last: bool) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused:
            await cycle.flow.drain()
        if cycle.scope["method"] != "HEAD":
            self._write(body)
        if last:
            cycle.response_complete = True
            cycle.message_event.set()
            cycle.transport.close()
            cycle.on_response()

    def _write(self, data: bytes) -> None:
        if data and not self._cycle.transport.is_closing():  # uvloop raises where asyncio would drop it
            self._cycle.transport.write(data)
