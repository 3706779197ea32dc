"""The official OpenAI clients go on with a response that is under way, after each of its events."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.clients import nodes

from tokenwire.testing.processes import Running, running_relay, wait_for

CONFIG = """
[upstreams.chat]
base_url = "{simulator}/v1"
models = ["gpt-4o", "claude-sonnet-4-6"]
retry = {{ attempts = 1 }}
[upstreams.responses]
dialect = "openai.responses"
base_url = "{simulator}/v1"
models = ["gpt-4o", "claude-sonnet-4-6", "fault-eof-3"]
retry = {{ attempts = 1 }}
"""
PROMPT = "Tell me of the sea."
#: The simulator takes its time, as a provider does: a reader comes in between two events.
MODEL = "gpt-4o"
#: And one that takes twice as long.
SLOWER = "claude-sonnet-4-6"
TOKENS = 16  # the fewest that OpenAI takes
UPSTREAMS = ("chat", "responses")


@pytest.fixture(scope="module")
def resumable(simulator: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_relay(CONFIG.format(simulator=simulator.url), tmp_path_factory.mktemp("resumable")) as running:
        yield running


@pytest.fixture
def client(resumable: Running) -> Iterator[openai.OpenAI]:
    with _client(resumable) as made:
        yield made


def _client(relay: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{relay.url}/v1", api_key="none", max_retries=0, timeout=20)


def dumped(events: Any) -> list[dict[str, Any]]:
    return [event.to_dict() for event in events]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def after_each(client: openai.OpenAI, model: str) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """The events of an answer, and for each but the last what a reader got who came after it, while it went on."""

    def rest(name: str, number: int) -> list[dict[str, Any]]:
        return dumped(client.responses.retrieve(name, stream=True, starting_after=number))

    seen: list[dict[str, Any]] = []
    rests: list[Future[list[dict[str, Any]]]] = []
    with ThreadPoolExecutor(40) as threads:
        for event in client.responses.create(model=model, input=PROMPT, stream=True, max_output_tokens=TOKENS):
            seen.append(event.to_dict())
            rests.append(threads.submit(rest, seen[0]["response"]["id"], event.sequence_number))
        with pytest.raises(openai.NotFoundError):
            rests.pop().result()  # nothing follows the last one
        return seen, [each.result() for each in rests]


@pytest.mark.slow
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_the_python_sdk_goes_on_after_every_event(client: openai.OpenAI, upstream: str) -> None:
    seen, rests = after_each(client, f"{upstream}/{MODEL}")
    assert len(seen) > TOKENS
    for number, rest in enumerate(rests):
        assert seen[: number + 1] + rest == seen
    name = seen[0]["response"]["id"]
    with client.responses.stream(response_id=name, starting_after=2) as helper:
        assert [event.sequence_number for event in helper] == list(range(3, len(seen)))
    assert client.responses.retrieve(name).output_text == text_of(seen)


@pytest.mark.slow
def test_the_numbers_go_on_through_an_end_that_the_provider_never_told(client: openai.OpenAI) -> None:
    events = client.responses.create(model="responses/fault-eof-3", input=PROMPT, stream=True)
    seen: list[dict[str, Any]] = []
    with pytest.raises(openai.APIError):
        seen.extend(event.to_dict() for event in events)
    name, number = seen[0]["response"]["id"], seen[-1]["sequence_number"]
    assert client.responses.retrieve(name).status == "failed"
    rest = client.responses.retrieve(name, stream=True, starting_after=number)
    with pytest.raises(openai.APIError):  # at the error, which has the next number; what follows has the one after it
        next(iter(rest))
    (failed,) = client.responses.retrieve(name, stream=True, starting_after=number + 1)
    assert isinstance(failed, openai.types.responses.ResponseFailedEvent)
    assert (failed.sequence_number, failed.response.id) == (number + 2, name)


@pytest.mark.slow
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_response_that_nobody_reads_goes_on_and_is_stopped_from_elsewhere(
    client: openai.OpenAI, simulator: Running, upstream: str, fetch: Any
) -> None:
    """As OpenAI's background responses: left in mid-stream, looked at, gone on with, stopped."""
    fields = {"x-tokenwire-on-disconnect": "finish"}
    begun = client.responses.create(model=f"{upstream}/{MODEL}", input=PROMPT, stream=True, extra_headers=fields)
    first = next(iter(begun))
    assert isinstance(first, openai.types.responses.ResponseCreatedEvent)
    begun.close()
    name = first.response.id
    rest = client.responses.retrieve(name, stream=True, starting_after=first.sequence_number)
    numbers = [event.sequence_number for event, _ in zip(rest, range(8), strict=False)]
    assert numbers == list(range(1, 9))
    rest.close()
    assert client.responses.retrieve(name).status == "in_progress"
    assert client.responses.cancel(name).status == "cancelled"
    wait_for(lambda: fetch(f"{simulator.url}/stats")["active"], lambda active: active == 0)


@pytest.mark.slow
def test_an_answer_goes_on_over_a_relay_that_is_killed(simulator: Running, tmp_path: Path) -> None:
    """As far as it was stored, with the numbers that it had, and an end that counts on."""
    config = CONFIG.format(simulator=simulator.url) + f'[store]\nurl = "sqlite://{tmp_path}/streams.db"\n'
    fields = {"x-tokenwire-on-disconnect": "finish"}
    seen: list[list[dict[str, Any]]] = []
    with running_relay(config, tmp_path) as relay:
        with _client(relay) as client:
            for upstream in UPSTREAMS:
                model = f"{upstream}/{SLOWER}"
                begun = client.responses.create(model=model, input=PROMPT, stream=True, extra_headers=fields)
                seen.append([event.to_dict() for event, _ in zip(begun, range(12), strict=False)])
            time.sleep(0.3)  # what is older than a flush is on the disk
        os.kill(relay.pid, signal.SIGKILL)
        relay.ended()
    with running_relay(config, tmp_path) as relay, _client(relay) as client:
        for events in seen:
            name = events[0]["response"]["id"]
            assert client.responses.retrieve(name).status == "failed"
            assert client.responses.retrieve(name).output_text.startswith(text_of(events))
            rest: list[dict[str, Any]] = []
            stream = client.responses.retrieve(name, stream=True, starting_after=5)
            with pytest.raises(openai.APIError, match="restarted"):
                rest.extend(event.to_dict() for event in stream)
            assert rest[: len(events) - 6] == events[6:]
            numbers = [event["sequence_number"] for event in rest]
            assert numbers == list(range(6, 6 + len(rest)))
            (failed,) = client.responses.retrieve(name, stream=True, starting_after=numbers[-1] + 1)
            assert isinstance(failed, openai.types.responses.ResponseFailedEvent)
            assert (failed.sequence_number, failed.response.id) == (numbers[-1] + 2, name)


@pytest.mark.slow
def test_the_npm_client_goes_on_after_every_event(resumable: Running) -> None:
    if not (nodes.SCRIPTS / "node_modules" / "openai").is_dir():
        pytest.skip("no npm clients: run .ci/node-packages")
    with nodes.running("openai-resume.mjs", f"{resumable.url}/v1") as process:
        for upstream in UPSTREAMS:
            found = process.value(f"{upstream}/{MODEL}", PROMPT, given=TOKENS)
            seen = found["seen"]
            assert len(found["rests"]) == len(seen) - 1 >= TOKENS
            for number, rest in enumerate(found["rests"]):
                assert seen[: number + 1] + rest == seen
            assert found["refused"] == {"status": 404, "code": "over"}
            assert [each["sequence_number"] for each in found["told"]] == list(range(3, len(seen)))
            assert found["final"]["output_text"] == text_of(seen)
