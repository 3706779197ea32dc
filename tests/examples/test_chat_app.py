"""The chat app: over sockets as its page asks, and the page itself in a real Chromium."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import programs
from tests.examples.conftest import EXAMPLES, Load, served

from tokenwire.testing.processes import wait_for
from tokenwire.wire import sse

HERE = Path(__file__).parent
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture
def url(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("CHAT_STORE", str(tmp_path / "chat.sqlite3"))
    with served(load("fastapi_chat/app.py").app) as address:
        yield address


@pytest.fixture
def ada(url: str) -> Iterator[httpx.Client]:
    """A browser's side: it has opened the page, and has its cookie."""
    with httpx.Client(base_url=url) as client:
        assert "<form>" in client.get("/").text
        assert client.cookies["user"]
        yield client


def read(response: httpx.Response, enough: int = 10_000) -> list[sse.Event]:
    """Up to *enough* events."""
    events: list[sse.Event] = []
    decoder = sse.Decoder()
    for chunk in response.iter_raw():
        events += decoder.feed(chunk)
        if len(events) >= enough:
            break
    return events[:enough]


def text_of(events: list[sse.Event]) -> str:
    return "".join(json.loads(event.data)["t"] for event in events if event.event == "text")


def stored(client: httpx.Client, number: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def there() -> bool:
        found[:] = client.get("/turns").json()
        return len(found) >= number

    wait_for(there)
    return found


def test_an_answer_goes_on_after_the_line_dropped_and_is_stored_once(ada: httpx.Client, url: str) -> None:
    with ada.stream("POST", "/ask", json={"prompt": "Tell me of the sea."}) as response:
        stream = response.headers["x-tokenwire-stream"]
        first = read(response, 20)
    headers = {"last-event-id": str(first[-1].id)}
    with ada.stream("GET", f"/streams/{stream}/events?after=", headers=headers) as response:
        rest = read(response)
    assert rest[-1].event == "done"
    assert stored(ada, 1) == [
        {"stream": stream, "prompt": "Tell me of the sea.", "answer": text_of(first) + text_of(rest)}
    ]
    with httpx.Client(base_url=url) as bob:
        bob.get("/")
        assert bob.get(f"/streams/{stream}/events").status_code == 404
        assert bob.get("/turns").json() == []


def test_a_stopped_answer_is_stored_as_far_as_it_came_and_told_to_the_model(ada: httpx.Client) -> None:
    with ada.stream("POST", "/ask", json={"prompt": "Tell me of the sea."}) as response:
        read(response, 20)
        ada.post(f"/streams/{response.headers['x-tokenwire-stream']}/cancel")
    (turn,) = stored(ada, 1)
    assert 0 < len(turn["answer"]) < 1000
    with ada.stream("POST", "/ask", json={"prompt": "Say hello."}) as response:
        done = json.loads(read(response)[-1].data)
    assert done["usage"]["input"] > 20  # the first turn is among them


def test_nobody_is_asked_for_nobody(url: str) -> None:
    assert httpx.post(f"{url}/ask", json={"prompt": "hi"}).status_code == 401
    assert httpx.post(f"{url}/ask", json={"prompt": ""}).status_code == 422


@pytest.mark.slow
def test_the_page_shows_stops_and_goes_on_after_a_reload(url: str) -> None:
    modules = EXAMPLES.parent / "web" / "node_modules"
    if not CHROMIUM.exists() or not modules.exists():
        programs.missing("no Chromium, or no Playwright (make page)")
    command = [programs.node(), str(HERE / "chat.mjs"), url, str(modules), str(CHROMIUM)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["cursor"] == "blink"
    assert len(seen["before"]) > 60
    assert seen["whole"].startswith(seen["before"])
    assert seen["whole"] == seen["turns"][0]["answer"]  # nothing lost, nothing doubled
    assert 0 < seen["draws"] < len(seen["whole"].split())  # what came before the reload was drawn at once
    assert 0 < len(seen["stopped"]) < len(seen["whole"])
    assert seen["turns"][1]["answer"].startswith(seen["stopped"])
    assert seen["again"] == [text for turn in seen["turns"] for text in (turn["prompt"], turn["answer"])]
    assert (seen["problems"], seen["complaints"]) == ([], [])
