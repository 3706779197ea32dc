"""Connecting: which address, how long, and what is said when it fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from tokenwire.errors import ConnectFailed
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import RESET, ScriptedUpstream

Run = Callable[..., Any]
Address = tuple[str, int]

#: Seconds; long enough that a loaded machine connects, short enough to wait for.
SHORT = 0.05


def resolving(names: Callable[[], Awaitable[list[Address]]]) -> None:
    """From now on every name means what *names* says, in that order. Addresses go on to mean themselves."""
    loop = asyncio.get_running_loop()
    original = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> list[Any]:
        if not str(host).endswith(".test"):
            return await original(host, port, **options)
        return [
            (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, at))
            for host, at in await names()
        ]

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]


def resolving_to(*addresses: Address) -> None:
    async def names() -> list[Address]:
        return list(addresses)

    resolving(names)


def resolving_raises(error: Exception) -> None:
    async def names() -> list[Address]:
        raise error

    resolving(names)


async def refused(rig: Rig, url: str, timeout: float = SHORT) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        await rig.connect(url, timeout)
    await settle()
    assert rig.connections == (0, 0)
    return caught.value


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_refused(run: Run, closed_port: int, scheme: str) -> None:
    async def main(rig: Rig) -> None:
        error = await refused(rig, f"{scheme}://127.0.0.1:{closed_port}", 5.0)
        assert (error.phase, error.code, error.retryable) == ("connect", "connect_failed", True)
        assert str(error) == f"{scheme}://127.0.0.1:{closed_port}: connect failed: Connection refused"

    run(main)


def test_refused_by_every_address(run: Run, closed_port: int) -> None:
    async def main(rig: Rig) -> None:
        resolving_to(("127.0.0.2", closed_port), ("127.0.0.3", closed_port))
        error = await refused(rig, f"http://provider.test:{closed_port}", 5.0)
        assert str(error) == f"http://provider.test:{closed_port}: connect failed: Connection refused"

    run(main)


def test_different_failures_of_several_addresses_are_all_told(run: Run, closed_port: int) -> None:
    async def main(rig: Rig) -> None:
        # A broadcast address cannot be connected to: another failure than the refusal.
        resolving_to(("127.0.0.2", closed_port), ("255.255.255.255", closed_port))
        error = await refused(rig, "http://provider.test:80", 5.0)
        assert error.phase == "connect"
        assert "Multiple exceptions" in str(error)

    run(main)


def test_a_name_that_does_not_resolve(run: Run) -> None:
    async def main(rig: Rig) -> None:
        resolving_raises(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        error = await refused(rig, "http://no-such-host.test:8000/v1")
        assert error.phase == "resolve"
        assert str(error) == "http://no-such-host.test:8000: resolve failed: Name or service not known"

    run(main)


def test_a_name_that_is_none(run: Run) -> None:
    async def main(rig: Rig) -> None:
        error = await refused(rig, f"http://{'a' * 64}.example", 5.0)
        assert error.phase == "resolve"
        assert "label" in str(error)

    run(main)


def test_a_name_without_addresses(run_once: Run) -> None:
    async def main(rig: Rig) -> None:
        resolving_to()
        assert (await refused(rig, "http://provider.test")).phase == "connect"

    run_once(main)


def test_what_a_loop_says_in_its_own_way_is_a_failure_all_the_same(run_once: Run) -> None:
    """uvloop raises RuntimeError where asyncio raises OSError."""

    async def main(rig: Rig) -> None:
        resolving_raises(RuntimeError("unable to perform operation"))
        assert "unable to perform operation" in str(await refused(rig, "http://provider.test"))
        resolving_raises(ConnectionResetError())
        assert str(await refused(rig, "http://provider.test")).endswith("failed: the server closed the connection")

    run_once(main)


def test_no_answer_in_time(run: Run, silent_port: int) -> None:
    async def main(rig: Rig) -> None:
        error = await refused(rig, f"http://127.0.0.1:{silent_port}")
        assert error.phase == "connect"
        assert str(error) == f"http://127.0.0.1:{silent_port}: connect failed: no answer within 0.05 s"

    run(main)


def test_a_resolver_that_does_not_answer_in_time(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async def names() -> list[Address]:
            await asyncio.Event().wait()
            return []

        resolving(names)
        error = await refused(rig, "http://slow.test")
        assert str(error) == "http://slow.test:80: resolve failed: no answer within 0.05 s"

    run(main)


def test_a_server_that_closes_at_once_is_noticed_then_or_by_the_first_request(run: Run) -> None:
    """The close may come before or after we are told that the connection stands. No connection may be left over."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([RESET]) as upstream:
            for _ in range(20):
                with suppress(ConnectFailed):
                    exchange = await rig.exchange(upstream.base_url)
                    await exchange.over()
                    assert exchange.error is not None
            await until(lambda: rig.connections == (0, 0))

    run(main)


def test_a_connection_lost_before_we_hear_of_it_is_a_failure(run_once: Run) -> None:
    async def main(rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        original = loop.create_connection

        async def late(*args: Any, **options: Any) -> Any:
            made = await original(*args, **options)
            made[0].abort()
            await settle()
            return made

        async with ScriptedUpstream() as upstream:
            loop.create_connection = late  # type: ignore[method-assign]
            error = await refused(rig, upstream.base_url, 5.0)
            assert "closed the connection at once" in str(error)
            del loop.create_connection

    run_once(main)


# ---------------------------------------------------------------------- happy eyeballs (RFC 8305)


@contextmanager
def port_at_both(host: str, dead: str) -> Iterator[int]:
    """One port that is ours at both addresses, whatever other processes hold at either."""
    for _ in range(100):
        with ExitStack() as stack:
            port = stack.enter_context(refusing_port(host))
            try:
                stack.enter_context(refusing_port(dead, port))
            except OSError:
                continue
            yield port
            return
    pytest.fail("no port is free at both addresses")


def test_a_dead_first_address_costs_nothing(run: Run) -> None:
    async def main(rig: Rig) -> None:
        with refusing_port("127.0.0.2") as port:
            async with ScriptedUpstream(port=port) as upstream:
                resolving_to(("127.0.0.2", port), ("127.0.0.1", port))
                connection = await rig.connect(f"http://provider.test:{port}")
                assert (await upstream.peer()).transport.get_extra_info("sockname")[0] == "127.0.0.1"
                connection.abort()

    run(main)


def test_a_silent_first_address_costs_a_quarter_of_a_second(run: Run, silent_port: int) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            resolving_to(("127.0.0.1", silent_port), ("127.0.0.1", upstream.port))
            connection = await rig.connect("http://provider.test")
            assert connection.usable
            connection.abort()

    run(main)


@pytest.mark.usefixtures("ipv6")
def test_one_dead_family_falls_back_to_the_other(run: Run) -> None:
    async def main(rig: Rig) -> None:
        for host, dead in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
            # The port is held at the dead address too: another test process may listen at it on that family.
            with port_at_both(host, dead) as port:
                async with ScriptedUpstream(host=host, port=port) as upstream:
                    resolving_to((dead, port), (host, port))
                    connection = await rig.connect(f"http://provider.test:{port}")
                    assert (await upstream.peer()).transport.get_extra_info("sockname")[0] == host
                    connection.abort()

    run(main)


@pytest.mark.usefixtures("ipv6")
def test_addresses_of_both_families(run: Run) -> None:
    async def main(rig: Rig) -> None:
        for host in ("127.0.0.1", "::1"):
            async with ScriptedUpstream(host=host) as upstream:
                connection = await rig.connect(upstream.base_url)
                connection.abort()
                await (await upstream.peer()).gone()

    run(main)


# ---------------------------------------------------------------------- cancelled


def test_cancelled_while_resolving(run: Run) -> None:
    async def main(rig: Rig) -> None:
        asked = asyncio.Event()

        async def names() -> list[Address]:
            asked.set()
            await asyncio.Event().wait()
            return []

        resolving(names)
        task = asyncio.create_task(rig.connect("http://slow.test"))
        await asked.wait()
        await cancelled(task)

    run(main)


def test_cancelled_while_connecting(run: Run, silent_port: int) -> None:
    async def main(rig: Rig) -> None:
        task = asyncio.create_task(rig.connect(f"http://127.0.0.1:{silent_port}"))
        await settle()
        await cancelled(task)

    run(main)


def test_cancelled_at_any_turn_of_the_loop(run: Run) -> None:
    """Whatever was open by then is closed: a ResourceWarning or a busy connection would tell."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            for turns in range(12):
                task = asyncio.create_task(rig.connect(upstream.base_url))
                await settle(turns)
                if task.cancel():
                    with pytest.raises(asyncio.CancelledError):
                        await task
                else:
                    task.result().abort()
            await until(lambda: rig.connections == (0, 0))
            for peer in upstream.peers:
                assert await peer.gone() in ("fin", "reset")

    run(main)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
