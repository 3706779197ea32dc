"""Ollama's own Python client reads what our encoders write, from a server on the loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ollama
import pytest
from tests.dialects.ollama_lines import (
    GENERATE,
    OLLAMA,
    STREAMS,
    as_generate,
    deltas_of,
    fold_of,
    joined,
    recorded,
    written,
)

from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)

Client = Callable[..., ollama.Client]

EVERYTHING: list[Delta] = [
    ReasoningDelta("Let me"), ReasoningDelta(" see"), TextDelta("Hello", block=1),
    TextDelta("\u2028 w\x85rld\n", block=1),
    Logprobs([{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -3}]}]),
    ToolCallStarted("call_a", "f", block=2), ToolCallStarted("call_b", "g", block=3),
    ToolCallDelta('{"x":', block=2), ToolCallDelta('{"y":"\u2029"}', block=3), ToolCallDelta("1}", block=2),
    ToolCallEnded(block=3), ToolCallEnded(block=2), RefusalDelta("But no.", block=4),
    Opaque("ollama", {"remote_model": "big"}), Finished("tool_use"), Usage(10, 20, cached_input=3, reasoning=4),
]  # fmt: skip


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a server that answers every request with *body*."""
    answer: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(answer["status"])
            self.send_header("content-type", "application/x-ndjson")
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with ollama.Client(f"http://127.0.0.1:{server.server_address[1]}") as made:
        assert isinstance(made, ollama.Client)

        def make(body: bytes, status: int = 200) -> ollama.Client:
            answer.update(body=body, status=status)
            return made

        yield make
    server.shutdown()
    thread.join()
    server.server_close()


def chat(client: ollama.Client) -> dict[str, Any]:
    """What a user of the client has at the end of a stream."""
    found: dict[str, Any] = {"text": "", "thinking": "", "calls": [], "logprobs": []}
    for part in client.chat("m", messages=[{"role": "user", "content": "Hi"}], stream=True):
        found["text"] += part.message.content or ""
        found["thinking"] += part.message.thinking or ""
        found["calls"] += [(each.function.name, each.function.arguments) for each in part.message.tool_calls or []]
        found["logprobs"] += [(each.token, each.logprob) for each in part.logprobs or []]
        if part.done:
            found |= {"reason": part.done_reason, "input": part.prompt_eval_count, "output": part.eval_count}
    return found


def test_the_client_reads_everything(client: Client) -> None:
    assert chat(client(written(EVERYTHING))) == {
        "text": "Hello\u2028 w\x85rld\nBut no.",
        "thinking": "Let me see",
        "calls": [("f", {"x": 1}), ("g", {"y": "\u2029"})],
        "logprobs": [("a", -0.5)],
        "reason": "stop",
        "input": 10,
        "output": 20,
    }


def test_the_client_is_in_the_same_state_wherever_it_joined(client: Client) -> None:
    live = chat(client(written(EVERYTHING)))
    for at in range(len(EVERYTHING) + 1):
        assert chat(client(joined(EVERYTHING, at))) == live


def test_the_client_of_generate_reads_text_and_thinking(client: Client) -> None:
    parts = list(client(written(EVERYTHING, GENERATE)).generate("m", "Hi", stream=True))
    assert "".join(part.response or "" for part in parts) == "Hello\u2028 w\x85rld\nBut no."
    assert "".join(part.thinking or "" for part in parts) == "Let me see"
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 20)


@pytest.mark.parametrize("case", [case for case in STREAMS if case != "error-mid-stream"])
def test_the_client_reads_a_recording_and_its_copy_alike(case: str, client: Client) -> None:
    body = recorded(case)
    assert chat(client(written(deltas_of(body)))) == chat(client(body))
    told = [part.response for part in client(as_generate(body)).generate("m", "Hi", stream=True)]
    again = written(deltas_of(as_generate(body), GENERATE), GENERATE)
    assert [part.response for part in client(again).generate("m", "Hi", stream=True)] == told


def test_the_client_reads_a_whole_answer(client: Client) -> None:
    fold = fold_of(EVERYTHING)
    answer = client(OLLAMA.fold_response(fold, "st_1", 1.0, "m")).chat("m", messages=[])
    assert (answer.message.content, answer.message.thinking) == ("Hello\u2028 w\x85rld\nBut no.", "Let me see")
    assert [each.function.name for each in answer.message.tool_calls or []] == ["f", "g"]
    assert (answer.done_reason, answer.prompt_eval_count) == ("stop", 10)
    whole = client(GENERATE.fold_response(fold, "st_1", 1.0, "m")).generate("m", "Hi")
    assert (whole.response, whole.thinking) == (answer.message.content, "Let me see")


@pytest.mark.parametrize("message", ["no more memory", "404", '{"error":"inner"}', "null"])
def test_the_client_raises_an_error_in_the_stream(message: str, client: Client) -> None:
    with pytest.raises(ollama.ResponseError, match=r"memory|404|inner|null"):
        chat(client(written([TextDelta("a"), Failed("server_error", message)])))


def test_the_client_raises_an_error_before_the_stream(client: Client) -> None:
    body = OLLAMA.error_body(Failed("not_found", "no such model"), 404)
    with pytest.raises(ollama.ResponseError, match="no such model") as caught:
        chat(client(body, 404))
    assert caught.value.status_code == 404


def test_a_blank_line_kills_the_client_and_we_send_none(client: Client) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        chat(client(b"\n" + written([TextDelta("a")])))
    assert OLLAMA.heartbeat == b""
