"""A client leaves, and its provider stops: at any moment, by any goodbye, behind nginx, two hundred at once.

Speed is measured in ``bench/``. Here it must happen at all: the simulator counts every client that left before its
answer's end, and every token that it wrote for nobody.
"""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tokenwire.testing.processes import Running, wait_for

Stats = Callable[[], dict[str, int]]
Look = Callable[[str], dict[str, Any]]
Chat = Callable[..., dict[str, Any]]
Fetch = Callable[..., Any]

#: Longer than any test (100 s): what ends, was ended.
ENDLESS = {"tokens": 20_000, "interval_ms": 5, "ttft_ms": 0}
#: For races: milliseconds between tokens. At the first all is over at once, at the last it never is.
PACES = (0, 2, 10)
ENDED = ("completed", "failed", "cancelled", "orphaned", "expired")


def request_of(port: int, body: dict[str, Any], *fields: str) -> bytes:
    content = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json",
             f"Content-Length: {len(content)}", *fields]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + content


class Caller:
    """A client as a bare socket, to see and to say exactly what TCP does."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.received = b""

    def send(self, data: bytes) -> Caller:
        self.socket.sendall(data)
        return self

    def until(self, marker: bytes, count: int = 1) -> bytes:
        """Everything received once *marker* has come *count* times."""
        while self.received.count(marker) < count:
            data = self.socket.recv(65536)
            assert data, f"it ended with {self.received[-200:]!r}"
            self.received += data
        return self.received

    @property
    def stream(self) -> str:
        """The id of the stream that answers."""
        head = self.until(b"\r\n\r\n").partition(b"\r\n\r\n")[0].decode("latin-1")
        return next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("x-tokenwire-stream"))

    def leave(self, how: str = "FIN") -> None:
        if how == "RST":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half FIN":  # our side only: the descriptor stays, and would still read
            self.socket.shutdown(socket.SHUT_WR)
            return
        self.socket.close()


@pytest.fixture
def caller(relay: Running) -> Iterator[Callable[[], Caller]]:
    """caller() -> a connection to the relay."""
    made: list[Caller] = []

    def connect() -> Caller:
        made.append(Caller(relay.port))
        return made[-1]

    yield connect
    for each in made:
        each.socket.close()


def gone(stats: Stats, count: int = 1) -> dict[str, int]:
    """Until the provider has seen *count* clients leave, and works for nobody."""
    return wait_for(stats, lambda now: (now["aborted"], now["active"]) == (count, 0))


# ------------------------------------------------------------------ when, and how


@pytest.mark.parametrize("how", ["FIN", "half FIN", "RST"])
@pytest.mark.parametrize(
    "moment",
    ["in mid-stream", "before the first token", "during the provider's head", "before the provider's head"],
)
def test_the_provider_sees_it(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats, look: Look, moment: str, how: str
) -> None:
    model = {
        "in mid-stream": "sim/instant",
        "before the first token": "sim/fault-stall-first",
        "during the provider's head": "sim/fault-slow-headers-200",
        "before the provider's head": "sim/fault-stall-head",
    }[moment]
    client = caller().send(request_of(relay.port, chat(model, **ENDLESS)))
    if moment == "in mid-stream":
        client.until(b'"delta":{"content"', 3)
    else:
        wait_for(stats, lambda now: now["active"] == 1)  # the provider has the request, the client has nothing
    client.leave(how)
    seen = gone(stats)
    assert (seen["requests"], seen["done"]) == (1, 0)
    assert seen["tokens"] < 5000  # the rest was never made
    if moment == "in mid-stream":
        assert look(client.stream)["state"] == "cancelled"
        assert look(client.stream)["error"]["code"] == "client_left"


@pytest.mark.parametrize("kind", ["large", "pipelined", "large and pipelined"])
@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("model", ["sim/instant", "sim/fault-stall-first"], ids=["mid-stream", "before tokens"])
def test_it_is_seen_behind_input_that_nobody_reads(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats, kind: str, how: str, model: str
) -> None:
    """uvicorn stops reading after a large body, and with a second request behind the first: then no FIN arrives."""
    prompt = "x" * 200_000 if "large" in kind else "hi"
    wire = request_of(relay.port, chat(model, prompt, **ENDLESS))
    if "pipelined" in kind:
        wire += request_of(relay.port, chat("sim/echo", "the second one"))
    client = caller().send(wire)
    if model == "sim/instant":
        client.until(b'"delta":{"content"', 3)
    else:
        wait_for(stats, lambda now: now["active"] == 1)
    client.leave(how)
    assert gone(stats)["requests"] == 1  # and the second request was never begun


def test_two_hundred_leave_at_once(caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats) -> None:
    models = ("sim/instant", "sim/instant", "sim/instant", "sim/fault-stall-first")
    knobs = ENDLESS | {"interval_ms": 100}
    clients = [caller() for _ in range(200)]
    for number, client in enumerate(clients):
        client.send(request_of(relay.port, chat(models[number % 4], **knobs)))
    wait_for(stats, lambda now: now["active"] == 200)
    for number, client in enumerate(clients):
        if number % 4 != 3:
            client.until(b'"delta":{"content"')
    for number, client in enumerate(clients):
        client.leave("RST" if number % 2 else "FIN")
    seen = gone(stats, 200)
    assert seen["tokens_after_leave"] <= 200 * 10  # at most a second's worth: the bound is for slow machines


# ------------------------------------------------------------------ who stays


@pytest.mark.parametrize("stop", ["close", "with"])
def test_the_python_sdk_leaves(sdk: Any, stats: Stats, look: Look, stop: str) -> None:
    knobs = {"x-sim-tokens": "20000", "x-sim-interval-ms": "5"}
    messages = [{"role": "user", "content": "hi"}]
    raw = sdk.call(
        "chat.completions.with_raw_response.create",
        model="sim/instant",
        messages=messages,
        stream=True,
        metadata=knobs,
    )
    stream = raw.parse()
    chunks = sdk.each(stream)
    text = ""
    while not text:
        text = next(chunks).choices[0].delta.content or ""
    if stop == "with" and hasattr(stream, "__exit__"):
        stream.__exit__(None, None, None)
    elif stop == "with":
        sdk.wait(stream.__aexit__(None, None, None))
    else:
        sdk.wait(stream.close())
    assert gone(stats)["tokens_after_leave"] <= 200  # a second's worth
    assert look(raw.headers["x-tokenwire-stream"])["state"] == "cancelled"


def test_a_client_that_gives_up_waiting_leaves(relay: Running, stats: Stats) -> None:
    options: Any = {"base_url": f"{relay.url}/v1", "api_key": "none", "max_retries": 0, "timeout": 0.3}
    messages: Any = [{"role": "user", "content": "hi"}]
    with openai.OpenAI(**options) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="sim/fault-stall-first", messages=messages, stream=True)
    gone(stats)


def test_a_whole_answer_is_cancelled_too(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats
) -> None:
    client = caller().send(request_of(relay.port, chat("sim/instant", stream=False, **ENDLESS)))
    wait_for(stats, lambda now: now["active"] == 1)
    client.leave()
    assert gone(stats)["tokens"] == 0


def test_with_a_second_reader_it_goes_on(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats, look: Look
) -> None:
    first = caller().send(request_of(relay.port, chat("sim/instant", **ENDLESS)))
    stream = first.stream
    second = caller().send(f"GET /v1/streams/{stream}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    second.until(b"event: text", 3)
    first.leave()
    second.until(b"event: text", second.received.count(b"event: text") + 50)
    assert (stats()["aborted"], look(stream)["state"]) == (0, "streaming")
    second.leave()
    gone(stats)


@pytest.mark.parametrize("wish", ["finish", "linger=20"])
def test_who_says_so_may_leave_and_the_answer_is_finished(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats, look: Look, fetch: Fetch, wish: str
) -> None:
    body = chat("sim/instant", tokens=60, interval_ms=5)
    client = caller().send(request_of(relay.port, body, f"X-Tokenwire-On-Disconnect: {wish}"))
    stream = client.stream
    client.leave()
    described = wait_for(lambda: look(stream), lambda now: now["state"] in ENDED)
    assert (described["state"], described["usage"]["output"]) == ("completed", 60)
    assert (stats()["aborted"], stats()["done"]) == (0, 1)


@pytest.mark.parametrize("model", ["sim/instant", "sim/fault-stall-head"])
@pytest.mark.parametrize("asked", [True, False], ids=["provider asked", "at once"])
def test_a_started_stream_is_stopped_from_anywhere(
    relay: Running, chat: Chat, stats: Stats, look: Look, fetch: Fetch, model: str, asked: bool
) -> None:
    body = {"dialect": "openai.chat", "request": chat(model, **ENDLESS)}
    stream = fetch(f"{relay.url}/v1/streams", body)["id"]
    if asked:
        wait_for(stats, lambda now: now["active"] == 1)
    for _ in range(2):  # idempotent
        assert fetch(f"{relay.url}/v1/streams/{stream}/cancel", {})["state"] == "cancelled"
    assert look(stream)["error"]["code"] == "cancelled"
    if asked:
        gone(stats)
    wait_for(stats, lambda now: (now["active"], now["requests"] - now["aborted"]) == (0, 0))


def test_a_deleted_stream_is_stopped_and_forgotten(
    caller: Callable[[], Caller], relay: Running, chat: Chat, stats: Stats, fetch: Fetch
) -> None:
    client = caller().send(request_of(relay.port, chat("sim/instant", **ENDLESS)))
    stream = client.stream
    client.until(b'"delta":{"content"')
    fetch(f"{relay.url}/v1/streams/{stream}", method="DELETE")
    client.until(b'"error":')
    gone(stats)
    assert stream not in {each["id"] for each in fetch(f"{relay.url}/v1/streams")["streams"]}


# ------------------------------------------------------------------ races


def test_a_cancel_that_races_with_the_end_has_one_outcome(
    relay: Running, chat: Chat, stats: Stats, look: Look, fetch: Fetch
) -> None:
    """Cancelled after its kth token by three callers at once, where the last token and the end are as near as can be:
    every stream ends once, all agree on how, and its readers were told exactly that."""
    tokens = 6
    outcomes: Counter[str] = Counter()

    def one(number: int) -> None:
        body = {"dialect": "openai.chat", "request": chat("sim/instant", tokens=tokens, interval_ms=PACES[number % 3])}
        stream = fetch(f"{relay.url}/v1/streams", body)["id"]
        client = Caller(relay.port)
        client.send(f"GET /v1/streams/{stream}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        client.until(b"event: text", 1 + number % tokens)
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda _: fetch(f"{relay.url}/v1/streams/{stream}/cancel", {})["state"], range(2)))
        client.until(b"\r\n0\r\n\r\n")
        client.leave()
        state = look(stream)["state"]
        assert told == [state, state]
        assert client.received.count(b"event: done") == 1
        assert f'"state":"{state}"'.encode() in client.received.rpartition(b"event: done")[2]
        assert client.received.count(b"event: error") == (state == "cancelled")
        outcomes[state] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(60)))
    assert set(outcomes) == {"completed", "cancelled"}  # otherwise nothing raced
    wait_for(stats, lambda now: now["active"] == 0)
    assert stats()["requests"] == 60


def test_leaving_in_the_moment_of_the_end_has_one_outcome(
    relay: Running, caller: Callable[[], Caller], chat: Chat, stats: Stats, look: Look
) -> None:
    streams = []
    for number in range(40):
        client = caller().send(request_of(relay.port, chat("sim/instant", tokens=4, interval_ms=PACES[number % 3])))
        streams.append(client.stream)
        client.until(b"data: ", 2 + number % 6)
        client.leave("RST" if number % 2 else "FIN")
    ended = [wait_for(lambda each=each: look(each), lambda now: now["state"] in ENDED) for each in streams]  # type: ignore[misc]
    assert {each["state"] for each in ended} == {"completed", "cancelled"}
    for each in ended:
        assert (each["state"] == "cancelled") == ("error" in each)
        assert each["readers"] == 0
    wait_for(stats, lambda now: now["active"] == 0)
