"""What the relay keeps with streams that are in its store, and what it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tokenwire import dialects
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.errors import StoreFailed
from tokenwire.gateway import core
from tokenwire.gateway.settings import from_mapping
from tokenwire.gateway.sinks import AsgiSink, Message
from tokenwire.gateway.whole import Whole
from tokenwire.testing.relay import Relay, chat, serving, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import ScriptedUpstream, Step

if TYPE_CHECKING:
    from tokenwire.engine.stores.port import Piece
    from tokenwire.engine.stream import Stream

CHAT = "/v1/chat/completions"


def stored(main: Callable[[Relay], Awaitable[None]], directory: Path, *scripts: list[Step]) -> None:
    """*main* before a relay with a store, and an upstream ``up`` whose model ``instant`` is cached."""

    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream:
            up = {"base_url": upstream.base_url, "models": [], "retry": {"attempts": 1}}
            models = {"up/instant": {"cache": {"seconds": 60}}}
            store = {"url": f"sqlite://{directory / 'kept.db'}"}
            async with serving(from_mapping({"upstreams": {"up": up}, "models": models, "store": store}, {})) as relay:
                await main(relay)

    run_in("uvloop", inside)


async def leaves_memory(relay: Relay) -> None:
    hub = relay.gateway.hub
    assert hub.recorder is not None
    await hub.recorder.flush(5.0)
    for stream in list(hub._ended.values()):
        hub._rest(stream)
    assert hub.statistics().streams == 0


def test_who_deletes_what_has_left_memory_deletes_its_kept_answer(tmp_path: Path) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        told = await client.post(CHAT, chat()).whole()
        await leaves_memory(relay)
        path = f"/v1/streams/{told.fields['x-tokenwire-stream']}"
        assert (await client.request("DELETE", path).whole()).status == 204
        again = await client.post(CHAT, chat()).whole()
        assert (again.fields["x-tokenwire-cache"], again.text) == ("miss", "two")

    stored(main, tmp_path, streamed("one") + streamed("two"))


def test_of_what_is_not_to_be_stored_not_even_the_key_is(tmp_path: Path) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        off, key = {"X-Tokenwire-Store": "off"}, {"Idempotency-Key": "mine"}
        told = await client.post(CHAT, chat(), off | key).whole()
        again = await client.post(CHAT, chat(), off | key).whole()
        assert told.fields["x-tokenwire-stream"] == again.fields["x-tokenwire-stream"]
        recorder, store = relay.gateway.hub.recorder, relay.gateway.store
        assert recorder is not None
        assert store is not None
        await recorder.flush(5.0)
        figures = await store.figures()
        assert (figures.streams, figures.notes) == (0, 1), "one is the key that signs tickets"

    stored(main, tmp_path, streamed("one") + streamed("two"))


def test_who_reads_on_does_not_wait_for_all_of_a_long_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"{number:06d}" * 50 for number in range(1500)]  # not in one page

    async def main(relay: Relay) -> None:
        client = await relay.connect()
        told = await client.post(CHAT, chat(), {"X-Tokenwire-Ids": "1"}).whole()
        hub = relay.gateway.hub
        await until(lambda: all(hub.recorder is None or hub.recorder.safe(stream) for stream in hub._ended.values()))
        events = f"/v1/streams/{told.fields['x-tokenwire-stream']}/events?dialect=openai.chat"
        whole: list[str] = []
        wait_for_all = hub.whole

        async def waiting(stream: Stream) -> None:
            whole.append(stream.id)
            await wait_for_all(stream)

        monkeypatch.setattr(hub, "whole", waiting)
        for query, waits in (("", 0), ("&after=1-700", 0), ("&after=7-700", 1), ("&from=snapshot", 1)):
            await leaves_memory(relay)
            whole.clear()
            answer = await client.get(events + query).whole()
            assert len(whole) == waits, query
            if "7-700" in query:
                assert answer.status == 409
            elif "after" in query:
                assert told.body.endswith(answer.body)
                assert len(answer.body) > len(told.body) // 3
            else:
                assert answer.text == "".join(words)

    stored(main, tmp_path, streamed(*words))


def test_a_store_that_does_not_answer_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(core, "LAST_WRITE_SECONDS", 0.01)
    monkeypatch.setattr(core, "LAST_CLOSE_SECONDS", 0.01)
    answers = threading.Event()

    async def main(relay: Relay) -> None:
        store = relay.gateway.store
        assert isinstance(store, SqliteStore)
        assert store._writer is not None
        hanging = asyncio.ensure_future(store._writer.run(answers.wait))
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        await relay.gateway.shutdown()
        assert not closing.done()
        answers.set()
        await asyncio.gather(hanging, closing)

    stored(main, tmp_path)
    assert "the store does not answer" in caplog.text


@pytest.mark.parametrize("away", [False, True])
def test_a_long_answer_that_is_asked_for_in_one_piece_is_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    words = [f"{number:06d}" * 50 for number in range(1500)]

    async def main(relay: Relay) -> None:
        client = await relay.connect()
        told = await client.post(CHAT, chat()).whole()
        hub = relay.gateway.hub
        await until(lambda: all(hub.recorder is None or hub.recorder.safe(stream) for stream in hub._ended.values()))
        await leaves_memory(relay)
        stream = await hub.find(told.fields["x-tokenwire-stream"], "local")
        assert not stream.log.present
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("nobody leaves")

        if away:

            async def pieces(*_: object) -> list[Piece]:
                raise StoreFailed("no answer")

            monkeypatch.setattr(relay.gateway.store, "pieces", pieces)
        await Whole(stream, AsgiSink(receive), dialects.get("anthropic")).run(send)
        body = b"".join(message.get("body", b"") for message in sent)
        assert sent[0]["status"] == (503 if away else 200)
        assert ("".join(words).encode() in body) is not away

    stored(main, tmp_path, streamed(*words))


def test_a_deletion_that_had_to_wait_is_answered_503_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        told = await client.post(CHAT, chat()).whole()
        await leaves_memory(relay)
        path = f"/v1/streams/{told.fields['x-tokenwire-stream']}"

        async def away(store: SqliteStore, streams: object) -> None:
            raise StoreFailed("the file is locked by another program")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "forget", away)
            for _ in range(2):
                answer = await client.request("DELETE", path).whole()
                assert (answer.status, answer.json["error"]["code"]) == (503, "store_away")
                assert "ask again until it is gone" in answer.json["error"]["message"]
                assert answer.fields["retry-after"] == "1"
            assert (await client.get(path).whole()).status == 404
        assert (await client.request("DELETE", path).whole()).status == 204
        assert (await client.request("DELETE", path).whole()).status == 404

    stored(main, tmp_path, streamed("one"))
