"""Starting, looking, stopping; what is tried again, and what a relay's answers become."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.client import Client, Retry
from tokenwire.client.backoff import Backoff
from tokenwire.client.refusals import retry_after
from tokenwire.errors import ConfigError, RelayRefused, RelayUnreachable, StreamNotFound
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.native_frames import refused
from tokenwire.testing.relay import serving, settings_for, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, REQUEST, RESET, ScriptedUpstream

Play = Callable[..., Any]
CREATED = answer(b'{"id":"st_1","state":"connecting","events":"/v1/streams/st_1/events"}', status=201)
BODY = {"model": "m", "messages": []}


def test_start_says_everything_that_it_was_told(play: Play) -> None:
    async def main(scene: Any) -> Any:
        stream = await scene.client.start(
            BODY, dialect="anthropic", session="s", on_disconnect="finish", metadata={"a": 1}, idempotency_key="once"
        )
        return stream, await scene.request(0)

    stream, request = play(main, [REQUEST, CREATED], key="secret")
    assert stream == "st_1"
    assert (request.method, request.target) == ("POST", "/v1/streams")
    assert json.loads(request.body) == {
        "dialect": "anthropic", "request": BODY, "session": "s", "on_disconnect": "finish", "metadata": {"a": 1},
    }  # fmt: skip
    assert request.fields["idempotency-key"] == "once"
    assert request.fields["authorization"] == "Bearer secret"
    assert request.fields["content-type"] == "application/json"


@pytest.mark.parametrize("failure", [[RESET], [CLOSE], [REQUEST, CLOSE], [REQUEST, b"HTTP/1.1 ?\r\n\r\n"]])
def test_a_start_without_an_answer_is_sent_again_under_the_same_key(play: Play, failure: list[Any]) -> None:
    keys = iter(["first", "second"])

    async def main(scene: Any) -> Any:
        stream = await scene.after(scene.client.start(BODY), 0.25)
        again = await scene.request(1)
        await scene.client.start(BODY)
        other = await scene.request(1, 1)
        return stream, again.fields, other.fields

    stream, again, other = play(main, failure, [REQUEST, CREATED, REQUEST, CREATED], new_key=lambda: next(keys))
    assert stream == "st_1"
    assert again["idempotency-key"] == "first"
    assert other["idempotency-key"] == "second"


def test_a_kept_connection_that_was_closed_is_replaced_at_once(play: Play) -> None:
    async def main(scene: Any) -> Any:
        await scene.client.look("st_1")
        (await scene.relay.peer(0)).write(b"")
        await scene.client.look("st_1")
        return len(scene.relay.peers), scene.clock.pending

    look = answer(b'{"id":"st_1","state":"streaming"}')
    peers, pending = play(main, [REQUEST, look, REQUEST, CLOSE], [REQUEST, look])
    assert (peers, pending) == (2, 0)


def test_what_stays_silent_in_mid_answer_on_a_kept_connection_is_not_asked_twice(play: Play) -> None:
    async def main(scene: Any) -> None:
        await scene.client.look("st_1")
        with pytest.raises(RelayUnreachable):
            await scene.client.look("st_1")
        assert len(scene.relay.peers) == 1

    look = answer(b"{}")
    play(main, [REQUEST, look, REQUEST, b"HTTP/1.1 200", CLOSE], [REQUEST, look], retry=Retry(requests=1))


@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_may_pass_is_asked_again_when_the_relay_says(play: Play, status: int) -> None:
    no = refused(status, "overloaded", "too many streams", ("retry-after", "4"))

    async def main(scene: Any) -> Any:
        task = asyncio.ensure_future(scene.client.models())
        await until(lambda: scene.clock.pending == 1 and scene.clock.next_in <= 4.0)
        scene.clock.advance(3.9)
        assert not task.done()
        scene.clock.advance(0.2)
        return await task

    models = answer(b'{"object":"list","data":[{"id":"a"},{"id":"b"}]}')
    assert play(main, [REQUEST, no, REQUEST, models]) == ["a", "b"]


def test_models_and_the_dialects_in_which_they_may_be_asked(play: Play) -> None:
    listed = b'{"data":[{"id":"a","dialects":["anthropic","openai.chat"]},{"id":"b"},{"id":"c","dialects":null}]}'

    async def main(scene: Any) -> Any:
        return await scene.client.dialects(), await scene.client.models()

    dialects, models = play(main, [REQUEST, answer(listed), REQUEST, answer(listed)])
    assert dialects == {"a": ["anthropic", "openai.chat"], "b": [], "c": []}
    assert models == ["a", "b", "c"]


@pytest.mark.parametrize("key", ["a\nb", "", "ké"])
def test_a_key_that_no_field_can_hold(key: str) -> None:
    with pytest.raises(ConfigError, match=r"key: .* printable ASCII") as caught:
        Client("http://127.0.0.1:1", key=key, clock=ManualClock())
    assert "a\nb" not in str(caught.value)


def test_three_times_and_no_more(play: Play) -> None:
    async def main(scene: Any) -> Any:
        task = asyncio.ensure_future(scene.client.models())
        for delay in (0.25, 0.5):
            await until(lambda: scene.clock.pending == 1 and scene.clock.next_in <= 0.5)  # the watchdog has 15 s
            assert scene.clock.next_in == delay
            scene.clock.advance(delay)
        with pytest.raises(RelayRefused) as caught:
            await task
        return caught.value

    error = play(main, [REQUEST, no := refused(503, "overloaded", "full"), REQUEST, no, REQUEST, no])
    assert (error.status, error.code, str(error), error.retryable) == (503, "overloaded", "full", True)


def test_a_wait_beyond_patience_is_not_waited(play: Play) -> None:
    async def main(scene: Any) -> None:
        with pytest.raises(RelayRefused, match="tomorrow"):
            await scene.client.models()

    play(main, [REQUEST, refused(503, "overloaded", "tomorrow", ("retry-after", "86400"))])


@pytest.mark.parametrize("call", ["look", "cancel"])
def test_a_stream_that_is_not_there(play: Play, call: str) -> None:
    async def main(scene: Any) -> Any:
        with pytest.raises(StreamNotFound, match="no stream") as caught:
            await getattr(scene.client, call)("st_/../x")
        return caught.value, await scene.request(0)

    error, request = play(main, [REQUEST, refused(404, "stream_not_found", "no stream 'st_/../x'")])
    assert error.code == "stream_not_found"
    assert request.target.startswith("/v1/streams/st_%2F..%2Fx")


@pytest.mark.parametrize("body", [b"", b"<h1>Hi</h1>", b"[]", b"{}", b'{"data":1}', b'{"data":[{}]}'])
def test_what_is_no_relay_is_said(play: Play, body: bytes) -> None:
    async def main(scene: Any) -> None:
        with pytest.raises(RelayRefused, match=r"what answers at http://127\.0\.0\.1:\d+ is no tokenwire relay"):
            await scene.client.models()
        if body == b"{}":
            with pytest.raises(RelayRefused, match="without an id"):
                await scene.client.start(BODY)

    play(main, [REQUEST, answer(body), REQUEST, answer(body)])


def test_another_servers_error_page_is_quoted(play: Play) -> None:
    async def main(scene: Any) -> None:
        with pytest.raises(RelayRefused, match="the relay answered with status 403: Go away") as caught:
            await scene.client.models()
        assert caught.value.code == "refused"

    play(main, [REQUEST, answer(b"Go away", status=403)])


def test_an_answer_without_end_is_cut(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwire.client.http.MAX_BODY", 100)

    async def main(scene: Any) -> None:
        with pytest.raises(RelayUnreachable, match="larger than 100 bytes"):
            await scene.client.models()

    play(main, [REQUEST, answer(b"x" * 101)], retry=Retry(requests=1))


def test_an_answer_that_stops_is_given_up(play: Play) -> None:
    async def main(scene: Any) -> None:
        task = asyncio.ensure_future(scene.client.look("st_1"))
        await scene.request(0)
        await until(lambda: scene.clock.pending)
        scene.clock.advance(15.0)
        with pytest.raises(RelayUnreachable, match="nothing came for 15 s"):
            await task

    play(main, [REQUEST], retry=Retry(requests=1))


def test_cancelling_a_question_drops_its_connection(play: Play) -> None:
    async def main(scene: Any) -> Any:
        task = asyncio.ensure_future(scene.client.look("st_1"))
        peer = await scene.relay.peer(0)
        await until(lambda: peer.received.endswith(b'"id":') or peer.requests)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await peer.gone()

    half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
    assert play(main, [REQUEST]) is not None
    assert play(main, [REQUEST, half]) is not None


def test_nobody_listens(play: Play) -> None:
    async def main(scene: Any) -> Any:
        scene.relay.stop_listening()
        with pytest.raises(RelayUnreachable) as caught:
            await scene.client.ping()
        return caught.value

    error = play(main)
    assert str(error) == f"the relay at {error.url} cannot be reached: connect failed: Connection refused"


@pytest.mark.parametrize("url", ["127.0.0.1:8787", "ftp://x", "http://", "http://u:p@x", "http://x:port"])
def test_what_is_no_address_is_refused(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError):
            Client(url)

    asyncio.run(main())


def test_delays_grow_to_a_bound_and_begin_anew() -> None:
    backoff = Backoff(Retry(first=0.5, longest=4.0), lambda: 1.0)
    assert [backoff.delay() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert backoff.delay(9.0) == 9.0
    backoff.reset()
    assert backoff.delay() == 0.5
    backoff.attempts = 10_000  # no power of two is too large
    assert backoff.delay() == 4.0


@pytest.mark.parametrize(
    ("value", "seconds"), [("3", 3.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0), ("9" * 30, 0.0), ("²", 0.0)]
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_against_a_real_relay() -> None:
    """Start, look, follow twice, stop: nothing is scripted but the provider."""

    async def main() -> None:
        async with (
            ScriptedUpstream(streamed("Hel", "lo")) as upstream,
            serving(settings_for(upstream.base_url)) as relay,
            Client(f"http://127.0.0.1:{relay.port}") as client,
        ):
            await client.ping()
            assert await client.models() == []
            stream = await client.start({"model": "up/m", "messages": []}, session="talk")
            async with client.follow(stream) as following:
                updates = [update async for update in following]
            assert updates[-1] == following.answer.done
            assert (following.answer.text, following.answer.done and following.answer.done.verified) == (
                "Hello", True,
            )  # fmt: skip
            again = client.follow(stream, begin="snapshot")
            assert [type(update).__name__ async for update in again][:2] == ["Started", "TextDelta"]
            assert again.answer.text == "Hello"
            seen = await client.look(stream)
            assert (seen["state"], seen["session"], seen["model"]) == ("completed", "talk", "up/m")
            assert (await client.cancel(stream))["state"] == "completed"

    run_in("uvloop", main)
