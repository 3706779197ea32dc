"""A simulator in the test's own event loop, and a client that keeps every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from tokenwire.simulator import Simulator, serve

T = TypeVar("T")

#: No test should come near this; it only keeps a broken one from hanging the run.
_LIMIT = 60.0


@dataclass
class Wire:
    """All bytes of one response, from the status line to the end of the connection."""

    raw: bytes

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def rest(self) -> bytes:
        """Everything after the head, framing included."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """The whole HTTP chunks, without the one that ends the body."""
        return self._dechunked()[0]

    @property
    def complete(self) -> bool:
        """Whether the chunked body ended properly."""
        return self._dechunked()[1]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks) if self.headers.get("transfer-encoding") == "chunked" else self.rest

    @property
    def events(self) -> list[Any]:
        """The JSON of each `data:` event, `[DONE]` as that string; for streams without framing tricks only."""
        datas = [block.removeprefix("data: ") for block in self.body.decode().split("\n\n") if block]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]

    @property
    def text(self) -> str:
        """The text of choice 0."""
        return self.text_of(0)

    @property
    def messages(self) -> list[Any]:
        """The JSON of each event whose name says the same as its type (Anthropic, Responses); for honest framing."""
        found = []
        for block in self.body.decode().split("\n\n"):
            if block:
                name, data = block.split("\n")
                found.append(json.loads(data.removeprefix("data: ")))
                assert name == f"event: {found[-1]['type']}"
        return found

    @property
    def elements(self) -> list[Any]:
        """The JSON of each of Gemini's events, or of each element of its array; for honest framing only."""
        if self.body.startswith(b"["):
            return list(json.loads(self.body))
        assert self.body.replace(b"\r\n", b"").count(b"\n") == 0
        blocks = self.body.decode().split("\r\n\r\n")
        assert blocks.pop() == ""
        return [json.loads(block.removeprefix("data: ")) for block in blocks]

    def text_of(self, index: int) -> str:
        choices = [choice for event in self.events if event != "[DONE]" for choice in event.get("choices", ())]
        return "".join(each["delta"].get("content") or "" for each in choices if each["index"] == index)

    def _dechunked(self) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        rest = self.rest
        while True:
            size, line, rest = rest.partition(b"\r\n")
            try:
                length = int(size, 16)
            except ValueError:
                return found, False
            if not line or len(rest) < length + 2:
                return found, False
            if length == 0:
                return found, rest == b"\r\n"
            found.append(rest[:length])
            rest = rest[length + 2 :]


def encode_request(
    body: Any,
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    version: str = "1.1",
    close: bool = True,
) -> bytes:
    payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/{version}", "host: sim", f"content-length: {len(payload)}"]
    lines += ["connection: close"] * close
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + payload


async def fetch_wire(simulator: Simulator, body: Any, headers: dict[str, str] | None = None, **more: Any) -> Wire:
    """Send one request and read until the server closes the connection (a reset ends it as well)."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    raw = b""
    try:
        writer.write(encode_request(body, headers, **more))
        while block := await reader.read(65536):
            raw += block
    except ConnectionResetError:
        raw += b"<reset>"
    finally:
        writer.close()
    return Wire(raw)


def chat_body(prompt: str = "hi", *, model: str = "instant", stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], **more}


def message_body(content: Any = "hi", *, model: str = "instant", stream: bool = True, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": model, "max_tokens": 4096, "stream": stream, "messages": messages, **more}


def generate_body(content: Any = "hi", **more: Any) -> dict[str, Any]:
    parts = [{"text": content}] if isinstance(content, str) else content
    return {"contents": [{"role": "user", "parts": parts}], **more}


def response_body(content: Any = "hi", *, model: str = "instant", stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": model, "input": content, "stream": stream, **more}


def run_with_simulator(scenario: Callable[[Simulator], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        simulator = await serve(**options)
        try:
            async with asyncio.timeout(_LIMIT):
                return await scenario(simulator)
        finally:
            await simulator.close()

    return asyncio.run(main())


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """chat(prompt="hi", *, model="instant", stream=True, **fields) -> a request body."""
    return chat_body


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """message(content="hi", *, model="instant", stream=True, **fields) -> a request body for /v1/messages."""
    return message_body


@pytest.fixture
def tell() -> Callable[..., Any]:
    """tell(body, headers=None, **as fetch) -> Wire: one request to /v1/messages of a fresh simulator."""

    def ask(body: Any, headers: dict[str, str] | None = None, **more: Any) -> Wire:
        more.setdefault("path", "/v1/messages")
        given = {"anthropic-version": "2023-06-01", **(headers or {})}
        return run_with_simulator(lambda simulator: fetch_wire(simulator, body, given, **more))

    return ask


@pytest.fixture
def generate() -> Callable[..., dict[str, Any]]:
    """generate(text or parts="hi", **fields) -> a request body for Gemini's methods."""
    return generate_body


@pytest.fixture
def gemini() -> Callable[..., Any]:
    """gemini(body, headers=None, *, model, call, query, key, **as fetch) -> Wire: one request to a fresh simulator."""

    def ask(
        body: Any,
        headers: dict[str, str] | None = None,
        *,
        model: str = "instant",
        call: str = "streamGenerateContent",
        query: str = "?alt=sse",
        key: str | None = "any",
        **more: Any,
    ) -> Wire:
        given = {**({"x-goog-api-key": key} if key else {}), **(headers or {})}
        more.setdefault("path", f"/v1beta/models/{model}:{call}{query}")
        return run_with_simulator(lambda simulator: fetch_wire(simulator, body, given, **more))

    return ask


@pytest.fixture
def response() -> Callable[..., dict[str, Any]]:
    """response(input="hi", *, model="instant", stream=True, **fields) -> a request body for /v1/responses."""
    return response_body


@pytest.fixture
def respond() -> Callable[..., Any]:
    """respond(body, headers=None, **as fetch) -> Wire: one request to /v1/responses of a fresh simulator."""

    def ask(body: Any, headers: dict[str, str] | None = None, **more: Any) -> Wire:
        more.setdefault("path", "/v1/responses")
        return run_with_simulator(lambda simulator: fetch_wire(simulator, body, headers, **more))

    return ask


@pytest.fixture
def play() -> Callable[..., Any]:
    """play(scenario, **options of serve): run a coroutine function with a simulator of its own."""
    return run_with_simulator


@pytest.fixture
def fetch() -> Callable[..., Awaitable[Any]]:
    """await fetch(simulator, body, headers=None, *, method, path, version, close) -> Wire."""
    return fetch_wire


@pytest.fixture
def get() -> Callable[..., Any]:
    """get(body, headers=None, **as fetch) -> Wire: one request to a fresh simulator, and all that comes back."""
    return lambda body, headers=None, **more: run_with_simulator(
        lambda simulator: fetch_wire(simulator, body, headers, **more)
    )


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """encode(body, headers=None, **as fetch) -> the bytes of a request."""
    return encode_request
