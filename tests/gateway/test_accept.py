"""gateway/accept: clients that come together are accepted together, also by a loop that takes one in a turn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest
import uvloop

from tokenwire.gateway.accept import BATCH, Acceptor


class Greeter(asyncio.Protocol):
    """Counts the connections of its like."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        answering = cast("asyncio.Transport", transport)
        answering.write(b"hello")
        answering.close()


@pytest.fixture
def greeter() -> type[Greeter]:
    return type("Greeter", (Greeter,), {})


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        sock.setblocking(False)
        yield sock


async def turns_until(condition: Callable[[], bool], limit: int = 1000) -> int:
    for turn in range(limit):
        if condition():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("this never came true")


def run(story: Callable[[], object]) -> None:
    async def main() -> None:
        result = story()
        assert asyncio.iscoroutine(result)
        await result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def clients(stack: ExitStack, sock: socket.socket, count: int) -> list[socket.socket]:
    """Connected as far as the kernel is concerned: the loop has not turned yet."""
    return [stack.enter_context(socket.create_connection(sock.getsockname(), 5)) for _ in range(count)]


@pytest.mark.parametrize("helped", [True, False])
def test_many_clients_are_accepted_within_a_few_turns(
    listening: socket.socket, greeter: type[Greeter], helped: bool
) -> None:
    count = 3 * BATCH

    async def story() -> None:
        server = await asyncio.get_running_loop().create_server(greeter, sock=listening.dup(), backlog=512)
        acceptor = Acceptor(listening, greeter) if helped else None
        with ExitStack() as stack:
            waiting = clients(stack, listening, count)
            turns = await turns_until(lambda: greeter.made == count)
            assert (turns < 20) is helped, "why there is an acceptor, or why there is none needed any more"
            for client in waiting:
                assert client.recv(5) == b"hello"
        if acceptor is not None:
            acceptor.close()
        server.close()

    run(story)


def test_after_close_nobody_is_accepted(listening: socket.socket, greeter: type[Greeter]) -> None:
    async def story() -> None:
        acceptor = Acceptor(listening, greeter)
        with ExitStack() as stack:
            clients(stack, listening, 1)
            await turns_until(lambda: greeter.made == 1)
            acceptor.close()
            acceptor.close()
            clients(stack, listening, 1)
            with pytest.raises(AssertionError, match="never"):
                await turns_until(lambda: greeter.made == 2, limit=50)

    run(story)


class Flaky(socket.socket):
    """A client that left while it waited, as some systems report it."""

    aborted = 0

    def accept(self) -> tuple[socket.socket, object]:
        if not Flaky.aborted:
            Flaky.aborted += 1
            raise ConnectionAbortedError
        return super().accept()


def test_one_that_left_while_it_waited_is_passed_over(greeter: type[Greeter]) -> None:
    async def story() -> None:
        with Flaky() as sock, ExitStack() as stack:
            sock.bind(("127.0.0.1", 0))
            sock.listen(8)
            sock.setblocking(False)
            clients(stack, sock, 1)
            acceptor = Acceptor(sock, greeter)
            await turns_until(lambda: greeter.made == 1)
            acceptor.close()

    run(story)
    assert Flaky.aborted == 1


def test_a_connection_that_cannot_be_served_is_closed(listening: socket.socket) -> None:
    def fails() -> asyncio.Protocol:
        raise OSError("no room")

    async def story() -> None:
        acceptor = Acceptor(listening, fails)
        with ExitStack() as stack:
            (client,) = clients(stack, listening, 1)
            client.setblocking(False)
            await turns_until(lambda: _is_over(client))
        acceptor.close()

    run(story)


def _is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
