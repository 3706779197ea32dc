"""Official SDKs with an Idempotency-Key: asked twice, or by themselves again after a cut, there is one generation."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from tests.clients import nodes
from tests.clients.lines import cutting

from tokenwire.testing.processes import Running, wait_for

PROMPT = "Tell me of the sea."
#: Takes half a second to its first token, as a provider does.
MODEL = "sim/gpt-4o"
Stats = Callable[[], dict[str, int]]
#: base URL, prompt, key, tries -> the answer's text, piece by piece.
Asking = Callable[[str, str, str, int], Iterator[str]]


def by_chat(url: str, prompt: str, key: str, tries: int) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=tries, timeout=20) as client:
        messages: Any = [{"role": "user", "content": prompt}]
        stream = client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, max_tokens=30, extra_headers={"Idempotency-Key": key}
        )
        for chunk in stream:
            yield chunk.choices[0].delta.content or "" if chunk.choices else ""


def by_responses(url: str, prompt: str, key: str, tries: int) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=tries, timeout=20) as client:
        stream = client.responses.create(
            model=MODEL, input=prompt, stream=True, max_output_tokens=30, extra_headers={"Idempotency-Key": key}
        )
        for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta


def by_messages(url: str, prompt: str, key: str, tries: int) -> Iterator[str]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=tries, timeout=20) as client:
        stream = client.messages.create(
            model=MODEL,
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            max_tokens=30,
            extra_headers={"Idempotency-Key": key},
        )
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


SDKS: dict[str, Asking] = {"chat": by_chat, "responses": by_responses, "messages": by_messages}
REFUSED = (openai.UnprocessableEntityError, anthropic.UnprocessableEntityError)


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


@pytest.mark.slow
@pytest.mark.parametrize("sdk", SDKS)
def test_asking_again_attaches_during_the_answer_and_after_it(relay: Running, stats: Stats, key: str, sdk: str) -> None:
    ask = SDKS[sdk]
    first = ask(relay.url, PROMPT, key, 0)
    begun = next(piece for piece in first if piece)
    during = "".join(ask(relay.url, PROMPT, key, 0))
    assert begun + "".join(first) == during
    assert "".join(ask(relay.url, PROMPT, key, 0)) == during
    assert len(during) > 30
    with pytest.raises(REFUSED, match="another body"):
        list(ask(relay.url, "And of the hills?", key, 0))
    assert stats()["requests"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("sdk", SDKS)
def test_its_own_retry_after_a_cut_begins_no_second_answer(relay: Running, stats: Stats, key: str, sdk: str) -> None:
    with cutting(relay.port, 1, lambda: stats()["active"] == 1) as line:
        text = "".join(SDKS[sdk](f"http://127.0.0.1:{line.port}", PROMPT, key, 2))
        assert line.left == 0
    assert len(text) > 30
    assert stats()["requests"] == 1


@pytest.mark.slow
def test_the_npm_clients_own_retry_begins_no_second_answer(relay: Running, stats: Stats, key: str) -> None:
    if not (nodes.SCRIPTS / "node_modules" / "openai").is_dir():
        pytest.skip("no npm clients: run .ci/node-packages")
    with nodes.running("openai-retries.mjs") as process:
        with cutting(relay.port, 1, lambda: stats()["active"] == 1) as line:
            found = process.value(f"http://127.0.0.1:{line.port}/v1", "sim/gpt-4o-mini", key)
            assert line.left == 0
        again = process.value(f"{relay.url}/v1", "sim/gpt-4o-mini", key)
    assert found == again
    assert len(found["text"]) > 30
    wait_for(stats, lambda now: now["active"] == 0)
    assert stats()["requests"] == 1
