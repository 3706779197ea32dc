"""Who comes back to a stream of an app's, and who may: keys, cursors, chats and the routes of `Relay.router`."""

from __future__ import annotations

from typing import Any

from tests.embedding.apps import USER, USER_SAYS, Serving, run

from tokenwire.fastapi import Relay
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.relay import STREAM_HEAD, chunks, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream


def test_without_a_principal_there_are_no_ids_and_a_client_that_leaves_ends_the_answer() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        told = client.post("/ask", {"model": "up/m", "messages": [USER_SAYS]}, {"idempotency-key": "k"})
        await told.until(lambda told: "text" in told.events)
        assert told.ids == []
        [stream] = relay.running.core.hub.running()
        assert stream.policy.linger == 0
        client.close()
        await until(lambda: stream.terminal is not None)
        assert (await (await running.connect()).get(f"/streams/{stream.id}").whole()).status == 404

    run(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))], principal=None)


def test_a_repeated_request_attaches_to_the_answer_that_its_key_began() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        body = {"model": "up/m", "messages": [USER_SAYS], "stream": True}
        key = {**USER, "idempotency-key": "k", "x-tokenwire-ids": "1"}
        client = await running.connect()
        first = await client.post("/chat", body, key).whole()
        assert (first.text, len(first.ids)) == ("one two", len(first.data))
        again = await client.post("/chat", body, key).whole()
        assert again.body == first.body
        rest = await client.post("/chat", body, {**key, "last-event-id": first.ids[1]}).whole()
        assert rest.text == " two"
        lost = {**key, "idempotency-key": "new", "last-event-id": first.ids[1]}
        assert (await client.post("/chat", body, lost).whole()).status == 404
        odd = {**key, "idempotency-key": "odd", "x-tokenwire-dialect": "odd"}
        assert (await client.post("/chat", body, odd).whole()).status == 400
        assert len(list(relay.running.core.hub.mine("ada"))) == 1, "nothing was begun for those"
        other = await client.post("/chat", {**body, "temperature": 1}, key).whole()
        assert other.status == 422
        stranger = await client.post("/chat", body, {**key, "x-user": "eve"}).whole()
        assert stranger.fields["x-tokenwire-stream"] != first.fields["x-tokenwire-stream"]

    run(main, streamed("one", " two") * 2)


def test_an_eventsource_that_comes_back_by_itself_begins_nothing() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        source = {**USER, "accept": "text/event-stream"}
        first = await client.get("/chat?dialect=native&run=r1", source).whole()
        assert first.blocks[0].startswith("retry: ")
        assert first.native_text == "one"
        over = await client.get("/chat?dialect=native&run=r1", {**source, "last-event-id": first.ids[-1]}).whole()
        assert over.status == 204
        unnamed = await client.get("/chat?dialect=native", {**source, "last-event-id": first.ids[-1]}).whole()
        assert unnamed.status == 204
        long = await client.get(f"/chat?run={'r' * 300}", source).whole()
        assert long.status == 400
        assert len(list(relay.running.core.hub.mine("ada"))) == 1

    run(main, streamed("one"))


def test_usechat_resumes_its_chat_under_one_message_and_stops_it() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        body = {"id": "c1", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
        client, other = await running.connect(), await running.connect()
        first = client.post("/api/chat?dialect=ui-messages&model=up/m", body, USER)
        await first.until(lambda told: b"one" in told.body)
        client.close()
        for path in ("/api/chat/c1/stream", "/chat/c1/stream"):
            again = await (await running.connect()).get(path, USER).until(lambda told: b"one" in told.body)
            assert again.data[0] == first.data[0]
            assert "messageId" in again.data[0]
        [stream] = relay.running.core.hub.running()
        assert stream.meta["session"] == "c1"
        assert (await other.get("/api/chat/c1/stream", {"x-user": "eve"}).whole()).status == 204
        assert (await other.post("/api/chat/c1/stop").whole()).status == 401
        assert (await other.post("/api/chat/c1/stop", fields=USER).whole()).json == {"stopped": True}
        await again.whole()
        assert again.data[-1] == {"type": "abort"}
        assert (await other.post("/chat/c1/stop", fields=USER).whole()).json == {"stopped": False}
        assert (await other.get("/chat/c1/stream", USER).whole()).status == 204

    run(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_streams_are_shown_and_stopped_by_their_owner_alone() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client, other = await running.connect(), await running.connect()
        asked = {"model": "up/m", "messages": [USER_SAYS], "session": "s1", "metadata": {"row": 7}}
        first = client.post("/ask", asked, USER)
        await first.until(lambda told: "text" in told.events)
        path = f"/streams/{first.fields['x-tokenwire-stream']}"
        shown = (await other.get(path, USER).whole()).json
        assert (shown["state"], shown["session"], shown["metadata"]) == ("streaming", "s1", {"row": 7})
        for method, suffix in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            assert (await other.request(method, path + suffix, None, {"x-user": "eve"}).whole()).status == 404
            assert (await other.request(method, path + suffix).whole()).status == 401
        head = await (await running.connect()).request("HEAD", path + "/events", None, USER).whole()
        assert head.status == 200
        bad = await other.get(path + "/events?from=odd", USER).whole()
        assert bad.status == 400
        stopped = await other.post(path + "/cancel", fields=USER).whole()
        assert stopped.json["state"] == "cancelled"
        assert (await first.whole()).data[-1]["state"] == "cancelled"

    run(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_the_routes_word_on_leaving_comes_before_the_clients_and_that_before_the_relays() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        leaving = {**USER, "x-tokenwire-on-disconnect": "linger=3"}
        native = {"dialect": "openai.chat", "request": {"model": "up/m", "messages": [USER_SAYS]}}
        asked: list[tuple[dict[str, Any], dict[str, str], float]] = [
            ({"on_disconnect": "linger=2", "messages": [USER_SAYS]}, leaving, 2),
            ({"messages": [USER_SAYS], "chat_id": "c7"}, leaving, 3),
            ({"messages": [USER_SAYS]}, USER, 4),
            ({"body": {**native, "on_disconnect": "linger=5", "metadata": {"a": 1}}}, leaving, 5),
        ]
        for arguments, fields, linger in asked:
            told = await client.post("/ask", {"model": "up/m", **arguments}, fields).whole()
            stream = relay.running.core.hub.get(told.fields["x-tokenwire-stream"], "ada")
            assert stream.policy.linger == linger
        assert stream.meta["metadata"] == {"a": 1}
        bad = await client.post(
            "/ask", {"model": "up/m", "messages": []}, {**USER, "x-tokenwire-on-disconnect": "?"}
        ).whole()
        assert bad.status == 400

    run(main, streamed("one") * 4, on_disconnect="linger=4")
