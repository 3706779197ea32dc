"""OpenAI's npm client as judge of Responses, in a Node process of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests import programs

from tokenwire.simulator.texts import pick

# Where the npm clients are installed; a script on the command line is resolved from there.
PACKAGES = Path(__file__).parent.parent / "clients" / "node"

_SCRIPT = """
import OpenAI from 'openai';
const [url, fields] = process.argv.slice(1);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });
const request = { model: 'instant', ...JSON.parse(fields) };
const told = ({ constructor, status, code }) => ({ kind: constructor.name, status, code });
try {
  const types = [];
  const stream = client.responses.stream(request);
  for await (const event of stream) types.push(event.type);
  const folded = await stream.finalResponse();
  const whole = await client.responses.create(request);
  const again = await client.responses.retrieve(whole.id);
  const rest = [];
  if (request.background) {
    const tail = await client.responses.retrieve(folded.id, { stream: true, starting_after: 5 });
    for await (const event of tail) rest.push(event.sequence_number);
  }
  console.log(JSON.stringify({ types, folded, whole, again, rest }));
} catch (error) {
  console.log(JSON.stringify(told(error)));
}
"""
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {
    "type": "string"}}, "required": ["city"]}}  # fmt: skip


@pytest.fixture
def ask(play: Any) -> Any:
    """ask(input, **fields) -> what the npm client makes of it."""
    if not (PACKAGES / "node_modules" / "openai").is_dir():
        programs.missing("no npm clients: run .ci/node-packages")

    def run(given: str, **fields: Any) -> Any:
        request = json.dumps({"input": given, **fields})

        async def scenario(simulator: Any) -> Any:
            process = await asyncio.create_subprocess_exec(
                programs.node(), "--input-type=module", "-e", _SCRIPT, simulator.url, request,
                cwd=PACKAGES, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, complaints = await process.communicate()
            assert process.returncode == 0, complaints.decode()
            return json.loads(out)

        return play(scenario)

    return run


def test_text_is_folded_and_asked_for_again(ask: Any) -> None:
    answer = ask("explain tides")
    assert answer["folded"]["output_text"] == answer["whole"]["output_text"] == pick("explain tides").body
    assert answer["again"]["output"] == answer["whole"]["output"]
    assert (answer["types"][0], answer["types"][-1]) == ("response.created", "response.completed")


def test_a_stream_in_the_background_is_taken_up_again(ask: Any) -> None:
    answer = ask("explain tides", background=True)
    assert answer["rest"] == list(range(6, len(answer["types"])))


def test_tools_and_reasoning(ask: Any) -> None:
    answer = ask("weather in Oslo and Lima", tools=[TOOL], reasoning={"summary": "auto"})
    for response in (answer["folded"], answer["whole"]):
        assert [item["type"] for item in response["output"]] == ["reasoning", "function_call", "function_call"]
        cities = [json.loads(item["arguments"])["city"] for item in response["output"][1:]]
        assert cities == ["Oslo", "Lima"]


@pytest.mark.parametrize(
    ("model", "kind", "status", "code"),
    [
        ("fault-429", "RateLimitError", 429, "rate_limit_exceeded"),
        ("nothing", "NotFoundError", 404, "model_not_found"),
        ("fault-overloaded", "InternalServerError", 503, None),
        ("fault-error-mid-2", "APIError", None, "server_error"),
    ],
)
def test_errors_are_typed(ask: Any, model: str, kind: str, status: int | None, code: str | None) -> None:
    told = ask("hi", model=model)
    assert (told["kind"], told.get("status"), told["code"]) == (kind, status, code)
