"""Anthropic's npm client as judge, in a Node process of its own."""

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
import Anthropic from '@anthropic-ai/sdk';
const [baseURL, fields] = process.argv.slice(1);
const client = new Anthropic({ baseURL, apiKey: 'any', maxRetries: 0 });
const request = { model: 'instant', max_tokens: 4096, ...JSON.parse(fields) };
const told = ({ constructor, status, type }) => ({ kind: constructor.name, status, type });
try {
  const types = [];
  const stream = client.messages.stream(request);
  stream.on('streamEvent', (event) => types.push(event.type));
  const folded = await stream.finalMessage();
  const whole = await client.messages.create(request);
  const { input_tokens } = await client.messages.countTokens({ model: request.model, messages: request.messages });
  const names = [];
  for await (const model of client.models.list({ limit: 5 })) names.push(model.id);
  console.log(JSON.stringify({ types, folded, whole, input_tokens, names }));
} catch (error) {
  console.log(JSON.stringify(told(error)));
}
"""
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}},
                                                "required": ["city"]}}  # fmt: skip


@pytest.fixture
def ask(play: Any) -> Any:
    """ask(prompt, **fields) -> what the npm client makes of it."""
    if not (PACKAGES / "node_modules" / "@anthropic-ai").is_dir():
        programs.missing("no npm clients: run .ci/node-packages")

    def run(prompt: str, **fields: Any) -> Any:
        request = json.dumps({"messages": [{"role": "user", "content": prompt}], **fields})

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


def test_text_counting_and_models(ask: Any) -> None:
    answer = ask("explain tides")
    assert answer["folded"]["content"][0]["text"] == answer["whole"]["content"][0]["text"] == pick("explain tides").body
    assert answer["folded"]["usage"]["input_tokens"] == answer["input_tokens"]
    assert answer["types"][0] == "message_start"
    assert answer["types"][-1] == "message_stop"
    assert "claude-sonnet-4-6" in answer["names"]


def test_tools_and_thinking(ask: Any) -> None:
    answer = ask("weather in Oslo and Lima", tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 1024})
    for message in (answer["folded"], answer["whole"]):
        assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use", "tool_use"]
        assert [block["input"] for block in message["content"][2:]] == [{"city": "Oslo"}, {"city": "Lima"}]
        assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("model", "kind", "status", "type_"),
    [
        ("fault-429", "RateLimitError", 429, "rate_limit_error"),
        ("fault-overloaded", "OverloadedError", 529, "overloaded_error"),
        ("nothing", "NotFoundError", 404, "not_found_error"),
        ("fault-overloaded-mid-2", "APIError", None, "overloaded_error"),
    ],
)
def test_errors_are_typed(ask: Any, model: str, kind: str, status: int | None, type_: str) -> None:
    told = ask("hi", model=model)
    assert (told["kind"], told.get("status"), told["type"]) == (kind, status, type_)
