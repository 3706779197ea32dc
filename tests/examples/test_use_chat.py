"""The server of the Next.js page, asked by the AI SDK itself: ai 5, 6 and 7."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.clients import nodes
from tests.examples.conftest import Load, served

SCRIPT = Path(__file__).with_name("use_chat.mjs")


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


@pytest.mark.slow
def test_use_chat_sends_sees_the_tool_resumes_and_stops(load: Load) -> None:
    with served(load("nextjs_usechat/server.py").app) as url, ThreadPoolExecutor() as pages:
        for done in [pages.submit(check, url, version) for version in ("5", "6", "7")]:
            done.result()


def check(url: str, version: str) -> None:
    with nodes.running(str(SCRIPT), version) as page:
        use(page, url, version)


def use(page: nodes.Process, url: str, version: str) -> None:
    texts = ["How is the weather in Oslo?", "Tell me of the sea."]
    seen = page.value(url, "talk", f"talk{version}", given={"texts": texts})
    assert (seen["status"], seen["error"]) == ("ready", None)
    assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "user", "assistant"]
    (tool,) = [part for part in seen["messages"][1]["parts"] if part["type"] == "tool-get_weather"]
    assert (tool["state"], tool["output"]) == ("output-available", {"city": "Oslo", "celsius": 4})
    assert "Oslo" in text_of(seen["messages"][1])
    whole = text_of(seen["messages"][3])
    assert len(whole.split()) > 100

    seen = page.value(url, "reload", f"reload{version}", given={"text": texts[1]})
    (message,) = seen["messages"]
    assert (seen["status"], seen["error"], text_of(message)) == ("ready", None, whole)
    assert whole.startswith(seen["before"])

    seen = page.value(url, "stop", f"stop{version}", given={"text": texts[1]})
    assert (seen["status"], seen["error"], seen["answer"], seen["left"]) == ("ready", None, {"stopped": True}, 0)
    assert 40 <= len(text_of(seen["messages"][1])) < len(whole)


def test_a_page_of_another_origin_may_ask(load: Load) -> None:
    origin = "http://localhost:3000"
    told = {"origin": origin, "x-user": "me"}
    with served(load("nextjs_usechat/server.py").app) as url:
        asking = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-user"}
        assert httpx.options(f"{url}/api/chat", headers=asking).headers["access-control-allow-origin"] == origin
        body = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Say hello."}]}]}
        answer = httpx.post(f"{url}/api/chat", headers=told, json=body)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert "Hello" in answer.text
        assert httpx.post(f"{url}/api/chat", json=body).status_code == 401
