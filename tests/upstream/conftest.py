"""What the upstream tests share: a rig in a loop of either kind, and addresses that never answer."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tokenwire.testing.rig import LOOPS, Rig, rigged, run_in

Main = Callable[[Rig], Awaitable[Any]]


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``run(main, **options)``: *main* with a ``Rig`` made with the options, in a loop of each kind."""

    def runner(main: Main, **options: Any) -> Any:
        return run_in(request.param, rigged(main, **options))

    return runner


@pytest.fixture
def run_once() -> Callable[..., Any]:
    """The same in one kind of loop, for what cannot depend on it."""

    def runner(main: Main, **options: Any) -> Any:
        return run_in("uvloop", rigged(main, **options))

    return runner


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 where connecting neither succeeds nor fails: its queue of new connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(64):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture
def closed_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def ipv6() -> None:
    """Skips where this machine has no ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no ::1 here")
