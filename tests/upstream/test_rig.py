"""The rig and the fakes themselves: what they promise to find, they find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.errors import RemoteProtocolError
from tokenwire.testing.exchange import RecordedExchange, RecordedTransport, play
from tokenwire.testing.rig import Rig, rigged, run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, answer

LOST = RemoteProtocolError("lost")


def nothing() -> None:
    """What a timer calls."""


def test_a_stream_that_still_runs_is_found(run: Callable[..., Any]) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            asked = rig.ask(upstream.base_url)
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            with pytest.raises(AssertionError, match="1 streams are still running"):
                await rig.__aexit__(None, None, None)
            asked.stream.cancel()

    run(main)


def test_a_timer_that_is_left_is_found(run: Callable[..., Any]) -> None:
    async def main(rig: Rig) -> None:
        timer = rig.hub.wheel.after(60, nothing)
        with pytest.raises(AssertionError, match="1 timers are left behind"):
            await rig.__aexit__(None, None, None)
        timer.cancel()

    run(main)


def test_a_connection_that_is_still_busy_is_found(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            monkeypatch.setattr("tokenwire.testing.rig.LIMIT_SECONDS", 0.01)
            with pytest.raises(AssertionError, match="never came true"):
                await rig.__aexit__(None, None, None)
            exchange.connection.abort()

    run(main)


def test_a_failing_test_fails_by_its_own_reason(run: Callable[..., Any]) -> None:
    async def main(rig: Rig) -> None:
        rig.hub.wheel.after(60, nothing)
        raise LookupError("its own reason")

    with pytest.raises(LookupError, match="its own reason"):
        run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tasks_and_reports_to_the_loop_are_found(loop: str) -> None:
    forgotten: list[asyncio.Task[bool]] = []

    async def leaves_a_task() -> None:
        forgotten.append(asyncio.create_task(asyncio.Event().wait()))

    async def reports() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "something broke"})

    with pytest.raises(AssertionError, match="tasks left behind"):
        run_in(loop, leaves_a_task)
    with pytest.raises(AssertionError, match="something broke"):
        run_in(loop, reports)
    assert run_in(loop, rigged(lambda rig: asyncio.sleep(0, result=7))) == 7


def test_an_exchange_notes_every_breach_of_its_contract() -> None:
    def breaches(*calls: Callable[[RecordedExchange], None]) -> list[str]:
        exchange = RecordedExchange()
        for call in calls:
            call(exchange)
        return exchange.breaches

    def head(exchange: RecordedExchange) -> None:
        exchange.on_head(200, [])

    def body(exchange: RecordedExchange) -> None:
        exchange.on_body(b"ab", b"2\r\nab\r\n")

    def end(exchange: RecordedExchange) -> None:
        exchange.on_end()

    def lost(exchange: RecordedExchange) -> None:
        exchange.on_lost(LOST, answered=True)

    assert breaches(head, body, body, end) == breaches(head, body, lost) == breaches(lost) == []
    assert breaches(head, head) == ["head out of turn"]
    assert breaches(body) == ["body out of turn"]
    assert breaches(end) == ["end out of turn"]
    assert breaches(head, lambda exchange: exchange.on_lost(LOST, answered=False)) == ["lost out of turn"]
    assert breaches(head, end, body) == breaches(head, lost, body) == ["body after the end"]
    assert breaches(head, lambda exchange: exchange.on_body(b"ab", b"2\r\nac\r\n")) == [
        "the chunk is not that of the data: b'2\\r\\nac\\r\\n'"
    ]


def test_the_recorded_transport_remembers() -> None:
    transport = RecordedTransport()
    transport.writelines([b"a", b"b"])
    transport.pause_reading()
    assert (bytes(transport.written), transport.is_reading(), transport.is_closing()) == (b"ab", False, False)
    transport.resume_reading()
    transport.close()
    assert (transport.is_reading(), transport.is_closing()) == (True, True)
    assert transport.get_extra_info("socket", "none") == "none"
    assert play([answer(b"{}")]).transport.written == b"GET / HTTP/1.1\r\n\r\n"
