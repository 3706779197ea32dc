"""Answers without a task: for a request whose small body is there at once, and an application that needs no waiting.

A task, its context and half a dozen wake-ups cost as much as ten tokens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from tokenwire.gateway.port import EXTENSION
from tokenwire.gateway.sinks import PortSink

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tokenwire.gateway.sinks import ResponseSink, Scope

log = logging.getLogger(__name__)

#: Bodies up to this size are collected before the application hears of them: uvicorn pauses reading beyond it.
QUICK_BYTES = 64 * 1024


class Quick(Protocol):
    """An application that can answer without a task, if it has the whole body and a sink at once.

    Attributes:
        draining: it is about to end: no connection is for more than the request that it carries.
    """

    draining: bool

    def takes(self, scope: Scope, size: int) -> bool: ...

    def answer(self, scope: Scope, body: bytes, sink: ResponseSink) -> None: ...


def takes(quick: Quick, cycle: RequestResponseCycle) -> bool:
    """Whether *quick* will answer this request, as soon as its body is there."""
    scope: Any = cycle.scope
    if cycle.waiting_for_100_continue or EXTENSION not in scope.get("extensions", ()):
        return False
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return length.isdigit() and int(length) <= QUICK_BYTES and quick.takes(scope, int(length))


def answer(quick: Quick, cycle: RequestResponseCycle) -> None:
    """The request is whole: *quick* answers it now."""
    scope: Any = cycle.scope
    sink = PortSink(scope["extensions"][EXTENSION])
    try:
        quick.answer(scope, bytes(cycle.body), sink)
    except Exception:  # a bug of ours: as run_asgi treats it
        log.exception("answering %s failed", scope["path"])
        sink.fail()
