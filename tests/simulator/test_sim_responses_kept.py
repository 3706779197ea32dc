"""Responses that are asked for again: by id, in the background, as the rest of a stream, in the next turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.memory import MOST, MOST_TOKENS, Memory
from tokenwire.simulator.texts import pick

Response = Callable[..., dict[str, Any]]

PATH = "/v1/responses"
TOOL = {"type": "function", "name": "get_weather", "parameters": {"properties": {"city": {"type": "string"}}}}


@pytest.fixture
def talk(play: Any, fetch: Any) -> Callable[[Callable[..., Any]], Any]:
    """talk(scenario): the coroutine function with send(body=None, headers=None, *, method, path) of one simulator."""

    def run(scenario: Callable[..., Any]) -> Any:
        async def inner(simulator: Any) -> Any:
            async def send(body: Any = None, headers: Any = None, *, path: str = "", **more: Any) -> Any:
                more.setdefault("method", "GET" if body is None else "POST")
                return await fetch(simulator, body, headers, path=f"{PATH}{path}", **more)

            return await scenario(send)

        return play(inner)

    return run


def numbers(wire: Any) -> list[int]:
    return [event["sequence_number"] for event in wire.messages]


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_can_be_asked_for_again_and_deleted(talk: Any, response: Response, stream: bool) -> None:
    async def scenario(send: Any) -> None:
        wire = await send(response("hi", stream=stream))
        whole = wire.messages[-1]["response"] if stream else json.loads(wire.body)
        again = await send(path=f"/{whole['id']}")
        assert again.headers["content-type"] == "application/json"
        assert json.loads(again.body) == whole
        assert (await send(path=f"/{whole['id']}?stream=true")).status == 404  # not in the background
        refused = await send({}, path=f"/{whole['id']}/cancel")
        assert json.loads(refused.body)["error"]["message"] == "Cannot cancel a synchronous response."
        gone = await send(path=f"/{whole['id']}", method="DELETE")
        assert json.loads(gone.body) == {"id": whole["id"], "object": "response", "deleted": True}
        assert (await send(path=f"/{whole['id']}")).status == 404

    talk(scenario)


def test_what_is_not_stored_or_was_cut_is_not_found(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        for body, headers in ((response(store=False), {}), (response(), {"x-sim-fault": "eof-3"})):
            opening = (await send(body, headers)).messages[0]["response"]["id"]
            assert (await send(path=f"/{opening}")).status == 404

    talk(scenario)


def test_a_conversation_goes_on_by_id(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        first = json.loads((await send(response("weather in Oslo", tools=[TOOL], stream=False))).body)
        [call] = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        second = await send(response([result], previous_response_id=first["id"], stream=False))
        whole = json.loads(second.body)
        assert "`get_weather` says: rain" in whole["output"][0]["content"][0]["text"]
        assert whole["previous_response_id"] == first["id"]
        assert whole["usage"]["input_tokens"] > first["usage"]["input_tokens"]
        third = await send(response("in Japanese", previous_response_id=whole["id"], stream=False))
        assert json.loads(third.body)["output"][0]["content"][0]["text"] == pick("in Japanese").body
        unanswered = await send(response("and now?", previous_response_id=first["id"]))
        assert "No tool output found" in json.loads(unanswered.body)["error"]["message"]
        nothing_new = await send(response(None, previous_response_id=whole["id"], stream=False))
        assert nothing_new.status == 200

    talk(scenario)


def test_the_rest_of_a_stream_has_the_same_events(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        cut = await send(response("hi", background=True), {"x-sim-fault": "cut-4"})
        assert not cut.complete
        seen = [json.loads(chunk.split(b"data: ")[1]) for chunk in cut.chunks]
        assert [event["type"] for event in seen[:3]] == [
            "response.created", "response.queued", "response.in_progress",
        ]  # fmt: skip
        assert [event["response"]["status"] for event in seen[:3]] == ["queued", "queued", "in_progress"]
        name = seen[0]["response"]["id"]
        everything = await send(path=f"/{name}?stream=true")
        assert numbers(everything) == list(range(len(everything.messages)))
        assert everything.messages[: len(seen)] == seen
        assert everything.messages[-1]["response"]["background"] is True
        for after in (-1, 0, len(seen) - 1, len(everything.messages) - 1, 9999):
            rest = await send(path=f"/{name}?stream=true&starting_after={after}")
            assert rest.complete
            assert rest.messages == everything.messages[after + 1 :]
        plain = await send(path=f"/{name}?stream=true&include_obfuscation=false")
        assert b"obfuscation" in everything.body
        assert b"obfuscation" not in plain.body
        assert numbers(plain) == numbers(everything)
        refused = await send(path=f"/{name}?stream=true&starting_after=x")
        assert json.loads(refused.body)["error"]["param"] == "starting_after"

    talk(scenario)


def test_faults_strike_the_rest_as_well(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        whole = await send(response("hi", background=True))
        name = whole.messages[0]["response"]["id"]
        path = f"/{name}?stream=true&starting_after=6"
        cut = await send(None, {"x-sim-fault": "cut-2"}, path=path)
        assert not cut.complete
        assert len(cut.chunks) == 2
        failed = await send(None, {"x-sim-fault": "error-mid-2"}, path=path)
        assert failed.messages[-1]["type"] == "response.failed"
        assert numbers(failed) == [7, 8, 9, 10]
        assert (await send(None, {"x-sim-fault": "429"}, path=path)).status == 429
        assert (await send(None, {"x-sim-fault": "pings"}, path=path)).status == 400
        assert (await send(None, {"x-sim-fault": "error-before"}, path=f"/{name}")).status == 500
        assert b"nonsense" in (await send(None, {"x-sim-fault": "nonsense"}, path=path)).body

    talk(scenario)


def test_an_error_in_the_background_has_its_number(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        wire = await send(response("hi", background=True), {"x-sim-fault": "error-mid:2"})
        assert numbers(wire) == list(range(len(wire.messages)))
        assert wire.messages[-1]["type"] == "response.failed"

    talk(scenario)


def test_a_response_in_the_background_follows_the_clock(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        slow = {"x-sim-interval-ms": "90", "x-sim-tokens": "8", "x-sim-ttft-ms": "100"}
        opened = json.loads((await send(response("hi", background=True, stream=False), slow)).body)
        assert (opened["status"], opened["output"], opened["usage"]) == ("queued", [], None)
        seen = [opened["status"]]
        while seen[-1] in ("queued", "in_progress"):
            seen.append(json.loads((await send(path=f"/{opened['id']}")).body)["status"])
        assert list(dict.fromkeys(seen)) == ["queued", "in_progress", "completed"]

    talk(scenario)


def test_the_rest_comes_at_its_own_times(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        slow = {"x-sim-interval-ms": "50", "x-sim-tokens": "12", "x-sim-ttft-ms": "0"}
        opened = json.loads((await send(response("hi", background=True, stream=False), slow)).body)
        begun = asyncio.get_running_loop().time()
        rest = await send(path=f"/{opened['id']}?stream=true")
        assert asyncio.get_running_loop().time() - begun > 0.1
        assert rest.messages[-1]["type"] == "response.completed"

    talk(scenario)


def test_what_is_cancelled_ends_for_everybody(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        slow = {"x-sim-interval-ms": "20", "x-sim-tokens": "1000", "x-sim-ttft-ms": "0"}
        opened = json.loads((await send(response("hi", background=True, stream=False), slow)).body)
        path = f"/{opened['id']}"
        reader = asyncio.create_task(send(path=f"{path}?stream=true"))
        while json.loads((await send(path=path)).body)["status"] == "queued":
            pass
        await asyncio.sleep(0)
        cancelled = json.loads((await send({}, path=f"{path}/cancel")).body)
        assert cancelled["status"] == "cancelled"
        stream = await reader
        assert stream.complete
        assert {event["type"] for event in stream.messages}.isdisjoint({"response.completed", "response.failed"})
        assert json.loads((await send({}, path=f"{path}/cancel")).body) == cancelled
        assert (await send(path=f"{path}?stream=true")).complete

    talk(scenario)


def test_cancelling_what_is_complete_changes_nothing(talk: Any, response: Response) -> None:
    async def scenario(send: Any) -> None:
        whole = (await send(response("hi", background=True))).messages[-1]["response"]
        assert json.loads((await send({}, path=f"/{whole['id']}/cancel")).body) == whole

    talk(scenario)


def test_only_so_many_answers_are_remembered() -> None:
    memory = Memory()
    for number in range(MOST + 2):
        memory.keep(str(number), number, 1)
    assert [memory.get(str(number)) for number in (0, 1, 2)] == [None, None, 2]
    memory.keep("2", "again", 1)
    memory.keep("long", "long", MOST_TOKENS - 1)
    assert (memory.get("2"), memory.get("long"), memory.get("3")) == ("again", "long", None)
    memory.drop("long")
    memory.drop("long")
    memory.keep("longer", "longer", MOST_TOKENS + 1)
    assert (memory.get("2"), memory.get("longer")) == (None, None)
