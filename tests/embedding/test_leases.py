"""Leases and in-band answers in other people's apps: as at the relay itself."""

from __future__ import annotations

from typing import Any

import pytest
from tests.embedding.apps import USER, USER_SAYS, Serving, run

from tokenwire.fastapi import Relay
from tokenwire.gateway import lease
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.relay import STREAM_HEAD, chunks, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step

BEGUN: list[Step] = [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))]
BODY: dict[str, Any] = {"model": "up/m", "messages": [USER_SAYS], "stream": True}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEAST", 0.01)


@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_a_lease_that_lapses_is_a_leaving(dialect: str) -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        fields = {**USER, "x-tokenwire-lease": "0.2", "x-tokenwire-on-disconnect": "cancel"}
        told = (await running.connect()).post(f"/chat?dialect={dialect}", BODY, fields)
        await told.until(lambda told: b"one" in told.body)
        stream_id = told.fields["x-tokenwire-stream"]
        hands = await running.connect()
        path = f"/streams/{stream_id}/lease"
        mine = {**USER, "x-tokenwire-lease-id": told.fields["x-tokenwire-lease-id"]}
        renewed = await hands.post(path, None, mine).whole()
        assert (renewed.status, renewed.json["leases"], renewed.json["seconds"]) == (200, 1, 0.2)
        assert (await hands.post(path, None, {**mine, "x-user": "eve"}).whole()).status == 404
        await told.whole()
        assert b"lease_lapsed" in told.body
        [stream] = relay.running.core.hub.mine("ada")
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "cancelled"

    run(main, BEGUN)


def test_a_native_start_may_ask_for_one_and_nonsense_is_refused() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        body = {"dialect": "openai.chat", "request": BODY, "lease": 30}
        told = client.post("/chat?dialect=native", body, USER)
        await told.until(lambda told: "text" in told.events)
        assert told.fields["x-tokenwire-lease"] == "30"
        for bad in ({**body, "lease": 0}, {**body, "lease": "30"}):
            refused = await (await running.connect()).post("/chat?dialect=native", bad, USER).whole()
            assert refused.status == 400
        assert len(list(relay.running.core.hub.mine("ada"))) == 1

    run(main, BEGUN)


def test_a_chat_that_is_resumed_may_be_leased() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        ui = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
        told = (await running.connect()).post("/chat?dialect=ui-messages&model=up/m", ui, USER)
        await told.until(lambda told: b"one" in told.body)
        again = (await running.connect()).get("/api/chat/c1/stream", {**USER, "x-tokenwire-lease": "20"})
        await again.head()
        assert again.fields["x-tokenwire-lease"] == "20"

    run(main, BEGUN)


def test_who_comes_back_with_a_cursor_of_another_life_gets_reset_and_snapshot() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        source = {**USER, "accept": "text/event-stream"}
        await client.get("/chat?dialect=native&run=r1", source).whole()
        back = await client.get("/chat?dialect=native&run=r1", {**source, "last-event-id": "1-99"}).whole()
        assert back.events[:3] == ["reset", "started", "snapshot"]
        stream_id = back.fields["x-tokenwire-stream"]
        routed = await client.get(f"/streams/{stream_id}/events", {**source, "last-event-id": "1-99"}).whole()
        assert routed.events[:3] == ["reset", "started", "snapshot"]

    run(main, streamed("one"))
