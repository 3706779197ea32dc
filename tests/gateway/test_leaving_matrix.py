"""The client leaves: in each phase of an answer, under each server, with each policy.

Each cell asks for the same three things: what the provider saw (closed at once, closed after the linger, or an answer
that ran to its end), how the stream ended and what it is said to have used, and that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import pytest
from _pytest.mark import ParameterSet

from tokenwire.gateway.settings import from_mapping
from tokenwire.testing import chat_frames as frames
from tokenwire.testing import message_frames as messages
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Client
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import running_relay
from tokenwire.testing.relay import STREAM_HEAD, Edge, Relay, chat, chunks, serving
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.upstream import REQUEST, Peer, ScriptedUpstream, Step

#: Seconds: longer than a turn of any loop here, shorter than the connect deadline.
LINGER = 0.7
CONNECT = 1.2

#: Our own edge; the same relay by plain ASGI, in uvicorn and in two servers of other makes; and nginx before our own.
SERVERS = ["tokenwire", "h11", "hypercorn", "granian", "nginx"]
POLICIES = {"cancel": "cancel", "linger": f"linger={LINGER}", "finish": "finish"}


class Dialect(NamedTuple):
    """A provider's answer in one dialect, in pieces: lists of frames, each a step further."""

    path: str
    opening: list[bytes]
    text: list[bytes]
    finish: list[bytes]
    end: list[bytes]  # usage (3 tokens in, 5 out), and the end marker
    body: Callable[..., dict[str, Any]] = chat


DIALECTS = {
    "openai.chat": Dialect(
        "/v1/chat/completions",
        [frames.role()],
        [frames.text("one two three")],
        [frames.finish()],
        [frames.usage(3, 5), frames.DONE],
    ),
    "anthropic": Dialect(
        "/v1/messages",
        [messages.start()],
        [messages.block(), messages.text("one two three")],
        [messages.end(), messages.finish(output=5)],
        [messages.STOP],
        lambda **fields: chat(max_tokens=9, **fields),
    ),
}
CONFIG = """
[upstreams.silent]
base_url = "http://127.0.0.1:{silent}/v1"
dialect = ["openai.chat", "anthropic"]
models = []
deadlines = {{ connect = 1.2 }}
""" + "".join(
    f"""
[upstreams.up{number}]
base_url = "http://127.0.0.1:{{upstream}}/v1"
dialect = "{name}"
models = []
"""
    for number, name in enumerate(DIALECTS)
)

#: How far an answer has come when its client leaves: the steps of it that the provider has sent. None: not even a head.
PHASES: dict[str, int | None] = {
    "request incomplete": None,
    "connecting": None,
    "headers awaited": None,
    "held before the first token": 1,
    "in mid-stream": 2,
    "after the finish marker": 3,
    "after the end marker": 4,
    "in the terminal's own turn": 2,
}


def wires(dialect: Dialect, phase: str) -> tuple[bytes, bytes, int]:
    """What the provider sends before the client leaves and after it, and the frames that the client has by then."""
    steps = PHASES[phase]
    pieces = [dialect.opening, dialect.text, dialect.finish, dialect.end]
    sent, rest = ([frame for piece in part for frame in piece] for part in (pieces[: steps or 0], pieces[steps or 0 :]))
    if steps is None:
        return b"", STREAM_HEAD + chunks(*rest) + LAST_CHUNK, 0
    return STREAM_HEAD + chunks(*sent), chunks(*rest) + LAST_CHUNK, len(sent)


class Ground(NamedTuple):
    """Where a cell is played: the port that clients take, the relay's own, and the relay if it is of this process."""

    front: int
    port: int
    relay: Relay | None


def cells() -> list[ParameterSet]:
    """Server, dialect, phase and policy of every cell. Our own edge plays all of them. What a server of another make
    adds does not depend on the dialect: it plays each phase with each policy in one of the two, by turns, and so every
    dialect meets each phase and policy behind every other server. The rest is marked ``long``."""
    found = []
    for numbers in itertools.product(*map(range, map(len, (SERVERS, DIALECTS, PHASES, POLICIES)))):
        server, dialect, phase, policy = numbers
        played = server == 0 or (server + phase + policy) % 2 == dialect
        values = (SERVERS[server], [*DIALECTS][dialect], [*PHASES][phase], [*POLICIES][policy])
        marks = [pytest.mark.untraced] if server >= 2 else []  # the relay is another process
        found.append(pytest.param(*values, marks=marks if played else [*marks, pytest.mark.long]))
    return found


Play: TypeAlias = Callable[[Callable[[Ground, ScriptedUpstream], Awaitable[None]], list[Step]], None]


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """Where connecting neither succeeds nor fails: the queue of new connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(64):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def play_before(
    silent_port: int, asgi_server: Any, nginx_before: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Play]]:
    """``play_before(server)``: each server is started once, when it is first asked for."""
    made: dict[str, Play] = {}
    with ExitStack() as stack:

        def find(name: str) -> Play:
            if name not in made:
                folder = Path(tmp_path_factory.mktemp(name))
                made[name] = stack.enter_context(playing(name, silent_port, asgi_server, nginx_before, folder))
            return made[name]

        yield find


@contextmanager
def playing(name: str, silent_port: int, asgi_server: Any, nginx_before: Any, folder: Path) -> Iterator[Play]:
    """``play(main, script)``: ``main(ground, upstream)`` before a provider that plays *script*."""
    if name in ("tokenwire", "h11"):

        def inside(main: Callable[[Ground, ScriptedUpstream], Awaitable[None]], script: list[Step]) -> None:
            async def run() -> None:
                async with ScriptedUpstream(script) as upstream:
                    settings = from_mapping(
                        tomllib.loads(CONFIG.format(upstream=upstream.port, silent=silent_port)), {}
                    )
                    async with serving(settings, edge=cast("Edge", name)) as relay:
                        await main(Ground(relay.port, relay.port, relay), upstream)

            run_in("uvloop", run)

        yield inside
        return
    with ExitStack() as stack:
        upstream_port = stack.enter_context(refusing_port())
        config = CONFIG.format(upstream=upstream_port, silent=silent_port)
        (folder / "relay.toml").write_text(config, "utf-8")
        if name == "nginx":
            port = stack.enter_context(running_relay(config, folder)).port
            front = stack.enter_context(nginx_before(port, folder))
        else:
            _, port = stack.enter_context(asgi_server(name, folder / "relay.toml"))
            front = port

        def outside(main: Callable[[Ground, ScriptedUpstream], Awaitable[None]], script: list[Step]) -> None:
            async def run() -> None:
                async with ScriptedUpstream(script, port=upstream_port) as upstream:
                    await main(Ground(front, port, None), upstream)

            run_in("uvloop", run)

        yield outside


async def ask(port: int, path: str) -> Any:
    client = await Client.connect(port)
    answer = await client.get(path).whole()
    client.close()
    await client.gone()
    return answer.json


async def newest(port: int, before: int) -> dict[str, Any]:
    """The stream that was started since there were *before*."""
    while len(streams := (await ask(port, "/v1/streams"))["streams"]) == before:
        pass
    found: dict[str, Any] = streams[-1]
    return found


async def ended(port: int, stream: str) -> dict[str, Any]:
    while (look := await ask(port, f"/v1/streams/{stream}"))["ended"] is None:
        pass
    found: dict[str, Any] = look
    return found


@pytest.mark.parametrize(("server", "dialect", "phase", "policy"), cells())
def test_leaving(play_before: Callable[[str], Play], server: str, dialect: str, phase: str, policy: str) -> None:
    spoken = DIALECTS[dialect]
    sent, after, count = wires(spoken, phase)
    upstream_name = "silent" if phase == "connecting" else f"up{list(DIALECTS).index(dialect)}"
    gate = asyncio.Event()

    async def main(ground: Ground, upstream: ScriptedUpstream) -> None:
        before = len((await ask(ground.port, "/v1/streams"))["streams"])
        client = await Client.connect(ground.front)
        body = spoken.body(model=f"{upstream_name}/m")
        wire = client.encode("POST", spoken.path, body, {"x-tokenwire-on-disconnect": POLICIES[policy]})
        client.send(wire[:-5] if phase == "request incomplete" else wire)
        answer = client.expect()
        peer = None
        if phase == "request incomplete":
            await settle()
        else:
            stream = (await newest(ground.port, before))["id"]
            if phase != "connecting":
                peer = await upstream.peer()
                await until(lambda: peer is not None and peer.requests)
            if phase == "held before the first token":
                # Its frames are nobody's yet: the attempt could still be taken back. They came with the head.
                while (await ask(ground.port, f"/v1/streams/{stream}"))["state"] != "streaming":
                    pass
            elif phase == "after the end marker":
                await answer.whole()
            elif count:
                await answer.blocks_of(count)
        left = time.monotonic_ns()
        if phase == "in the terminal's own turn":
            gate.set()
        client.close()
        await client.gone()
        if phase == "request incomplete":
            await nothing_is_left(ground)
            assert len((await ask(ground.port, "/v1/streams"))["streams"]) == before
            assert upstream.peers == [], "nobody was asked"
            return
        if phase not in ("connecting", "in the terminal's own turn"):
            await provider_saw(phase, policy, peer, left, gate)
        look = await ended(ground.port, stream)
        if phase == "connecting" and policy != "cancel":
            waited = LINGER if policy == "linger" else CONNECT
            assert time.monotonic_ns() - left > waited * 0.9e9
            assert upstream.peers == []
        assert (look["state"], (look.get("error") or {}).get("code")) in outcomes(phase, policy)
        if phase != "in the terminal's own turn":
            assert look["usage"] == used(dialect, phase, look["state"])
        await nothing_is_left(ground)

    play_before(server)(main, [REQUEST, sent, gate, after])


async def provider_saw(phase: str, policy: str, peer: Peer | None, left: int, gate: asyncio.Event) -> None:
    """Closed at once, closed after the linger, or an answer that runs to its end."""
    assert peer is not None
    if policy == "finish" or phase.startswith("after"):
        await settle()
        assert peer.left is None, "the answer goes on"
        gate.set()
        return
    async with asyncio.timeout(5):
        assert await peer.gone() is not None
    assert peer.left_ns is not None
    seconds = (peer.left_ns - left) / 1e9
    # nginx sees a client leave within a loop turn of its own. Half a second is for machines that do other things, too.
    assert 0.0 < seconds < 0.5 if policy == "cancel" else LINGER * 0.9 < seconds < LINGER + 0.5


def outcomes(phase: str, policy: str) -> set[tuple[str, str | None]]:
    """The states, with their error codes, that a stream may end in."""
    cancelled: tuple[str, str | None] = ("cancelled", "client_left")
    completed: tuple[str, str | None] = ("completed", None)
    if phase == "in the terminal's own turn":
        return {completed, cancelled} if policy == "cancel" else {completed}
    if phase.startswith("after") or (policy == "finish" and phase != "connecting"):
        return {completed}
    return {("failed", "connect_failed")} if policy == "finish" else {cancelled}


def used(dialect: str, phase: str, state: str) -> dict[str, Any] | None:
    """What the record says: the provider's counts, else estimates; nothing where nobody was asked."""
    if phase == "connecting":
        return None
    counts = {"input": 3, "output": 5, "cached_input": None, "reasoning": None}
    if state == "completed":
        return counts
    # "hi" is a token and a message four; of "one two three" 13 characters make three tokens.
    told = dialect == "anthropic" and phase in ("held before the first token", "in mid-stream")  # with its first event
    return counts | {
        "input": 3 if told else 4,
        "output": 3 if phase == "in mid-stream" else 0,
        "estimated": True,
    }


async def nothing_is_left(ground: Ground) -> None:
    async with asyncio.timeout(5):
        while (figures := await ask(ground.port, "/readyz"))["running"] or figures["readers"]:
            pass
    relay = ground.relay
    if relay is not None:
        await until(lambda: relay.connections == 0)
        await until(lambda: relay.gateway.pool.statistics().busy == 0)
        await until(lambda: len(relay.gateway.hub.wheel) <= 1)  # the hub's own
        await until(lambda: len(asyncio.all_tasks() - {asyncio.current_task()}) <= 2)  # model lists, the script


@pytest.mark.parametrize("policy", POLICIES)
def test_leaving_from_within_the_terminal(policy: str) -> None:
    """What the matrix can only race for: the client is lost in the very turn in which its stream ends, before and after
    it has heard of that."""

    async def main() -> None:
        sent, after, _ = wires(DIALECTS["openai.chat"], "in mid-stream")
        async with ScriptedUpstream([REQUEST, sent, gate, after]) as upstream:
            settings = from_mapping(tomllib.loads(CONFIG.format(upstream=upstream.port, silent=upstream.port)), {})
            async with serving(settings) as relay:
                native, vendor = await relay.connect(), await relay.connect()
                answer = vendor.post(
                    "/v1/chat/completions", chat(model="up0/m"), {"x-tokenwire-on-disconnect": POLICIES[policy]}
                )
                await answer.until(lambda answer: answer.text)
                follower = native.get(f"/v1/streams/{answer.fields['x-tokenwire-stream']}/events")
                await follower.until(lambda answer: "text" in answer.events)
                stream = relay.streams[0]
                edges = relay.edges

                def drop() -> None:
                    for edge in edges:
                        edge.drop()

                stream.on_end.append(drop)
                gate.set()
                await until(lambda: stream.terminal is not None)
                assert (stream.state.value, stream.readers) == ("completed", [])
                await nothing_is_left(Ground(relay.port, relay.port, relay))

    gate = asyncio.Event()
    run_in("uvloop", main)
