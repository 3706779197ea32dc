"""A client that speaks the provider's own dialect reads what the provider wrote, byte for byte, however it was cut.

Every recorded stream of OpenAI, the compatible servers and Anthropic, under every cut in the process itself, and under
a sample of them over real sockets, from a scripted upstream through a running relay to a client that keeps each byte.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.engine.hub import Hub
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.states import Policy
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

FIXTURES = Path(__file__).parent.parent / "fixtures"
FOLDERS = (
    "openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai", "anthropic",
)  # fmt: skip
RECORDED = sorted(
    str(path.relative_to(FIXTURES).with_suffix("")) for name in FOLDERS for path in (FIXTURES / name).glob("*.sse")
)
#: Streams that fail before anything was generated: the relay still holds the head, and makes an HTTP error of it.
FAIL_EARLY = ("groq/error-mid-stream", "llamacpp/error-with-http-200")
#: Our heartbeat where the dialect has one of its own; the provider's pings are the same bytes.
PING = dialects.get("anthropic").heartbeat


def dialect_of(case: str) -> Dialect:
    return dialects.get("anthropic" if case.startswith("anthropic/") else "openai.chat")


def wire_of(case: str) -> bytes:
    return (FIXTURES / f"{case}.sse").read_bytes()


def events_of(wire: bytes) -> list[bytes]:
    """The events of a recording as the relay promises them: their own bytes, without comments, ids and retry lines,
    through the end marker or the first error, after which nothing counts. Plain, and sharing nothing with the relay."""
    events: list[bytes] = []
    block: list[bytes] = []
    for line in [*re.findall(rb"[^\r\n]*(?:\r\n|\n|\r)", wire), *re.findall(rb"[^\r\n]+\Z", wire), b"\n"]:
        if line.strip(b"\r\n"):
            if line.partition(b":")[0] not in (b"", b"id", b"retry"):
                block.append(line)
            continue
        if block:
            events.append(b"".join(block) + line)
            if b"[DONE]" in events[-1] or b'"error":{' in events[-1]:
                break
        block = []
    return events


def without_ours(body: bytes) -> bytes:
    """*body* without our id lines and comments; the ids must be those of a log, one after the other."""
    ids = [int(number) for number in re.findall(rb"^id: 1-(\d+)\n", body, re.MULTILINE)]
    assert ids == list(range(1, len(ids) + 1))
    return re.sub(rb"^(?:id: 1-\d+\n|: hb\n\n?)", b"", body, flags=re.MULTILINE)


# ------------------------------------------------------------------ in the process


def relayed(pieces: Iterable[bytes], *, case: str = "", ids: bool = False) -> bytes:
    """What one reader is given of a stream whose body comes in *pieces*."""
    hub = Hub(ManualClock())
    dialect = dialect_of(case)
    stream = hub.open(owner="me", dialect=dialect, model="m", policy=Policy())
    stream.connecting(ScriptedSource())
    stream.begin()
    sink = ScriptedSink()
    stream.attach(sink, dialect, ids=ids).start()
    ingest = Ingest(stream)
    for piece in pieces:
        ingest.body(piece)
    ingest.end()
    assert sink.closed
    assert not sink.breaches
    return sink.data


def at(wire: bytes, cuts: Iterable[int]) -> list[bytes]:
    """*wire* in pieces, cut at those offsets."""
    places = sorted({0, len(wire), *cuts})
    return [wire[start:end] for start, end in pairwise(places)]


@pytest.mark.untraced
@pytest.mark.parametrize("case", RECORDED)
def test_every_cut_in_every_event(case: str) -> None:
    """Each offset of each event is cut once, beside the same offset of all the others: as many runs as the longest
    event has bytes, and no offset of the file is left out."""
    wire = wire_of(case)
    expected = b"".join(events_of(wire))
    starts = [0, *accumulate(len(block) for block in re.findall(rb"(?s).*?\n\n", wire))]
    longest = max(end - start for start, end in pairwise([*starts, len(wire)]))
    cut: set[int] = set()
    for offset in range(longest):
        cuts = {start + offset for start in starts if start + offset <= len(wire)}
        cut |= cuts
        assert relayed(at(wire, cuts), case=case) == expected
    assert cut >= set(range(len(wire)))


@pytest.mark.untraced
@pytest.mark.parametrize("case", RECORDED)
def test_with_ids_the_rest_is_the_same(case: str) -> None:
    wire = wire_of(case)
    expected = b"".join(events_of(wire))
    for pieces in ([wire], at(wire, range(len(wire))), at(wire, range(0, len(wire), 100))):
        body = relayed(pieces, case=case, ids=True)
        assert without_ours(body) == expected
        assert [event.id for event in read(body).events] == [f"1-{n + 1}" for n in range(len(events_of(wire)))]


@pytest.mark.untraced
@given(st.sampled_from(RECORDED), st.data())
@settings(max_examples=100, deadline=None)
def test_any_cuts(case: str, data: st.DataObject) -> None:
    wire = wire_of(case)
    cuts = data.draw(st.lists(st.integers(0, len(wire))))
    assert relayed(at(wire, cuts), case=case) == b"".join(events_of(wire))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_what_is_not_an_event_is_left_out_and_nothing_else(end: bytes) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"\xc3\xbcnknown":[1, 2.50]}'
    odd = b'event: thing\nx-field: kept\ndata:{"choices":[],\ndata:  "x":1}\n'.replace(b"\n", end)
    wire = b"\xef\xbb\xbf: hello\nid: 7\nretry: 1\n\n\n".replace(b"\n", end)
    wire += b"id: 8" + end + event + end + end + odd + end + b": bye" + end + end + b"data: [DONE]" + end
    expected = event + end + end + odd + end + b"data: [DONE]" + end + end
    for cut in range(len(wire) + 1):
        assert relayed(at(wire, [cut])) == expected
    assert relayed(at(wire, range(len(wire)))) == expected


# ------------------------------------------------------------------ over sockets


def recorded_head(case: str, *framing: tuple[str, str]) -> bytes:
    described = json.loads((FIXTURES / f"{case}.expected.json").read_text("utf-8"))["http"]
    return head(described["status"], *described["headers"].items(), *framing)


def event_a_chunk(case: str, wire: bytes) -> list[bytes]:
    opening = recorded_head(case, ("Transfer-Encoding", "chunked"))
    return [opening, *(http_chunk(block) for block in re.findall(rb"(?s).*?\n\n|.+\Z", wire)), LAST_CHUNK]


def all_at_once(case: str, wire: bytes) -> list[bytes]:
    return [recorded_head(case, ("Transfer-Encoding", "chunked")) + http_chunk(wire) + LAST_CHUNK]


def byte_a_chunk(case: str, wire: bytes) -> list[bytes]:
    opening = recorded_head(case, ("Transfer-Encoding", "chunked"))
    return [opening, *(http_chunk(wire[i : i + 1]) for i in range(len(wire))), LAST_CHUNK]


def byte_a_write(case: str, wire: bytes) -> list[bytes]:
    answer = recorded_head(case, ("Content-Length", str(len(wire)))) + wire
    return [answer[i : i + 1] for i in range(len(answer))]


def at_random(case: str, wire: bytes) -> list[bytes]:
    """Chunks of any size, in writes that end anywhere, to the end of the connection: the head has no length."""
    rng = random.Random(case)
    chunks = at(wire, rng.sample(range(len(wire)), len(wire) // 50))
    opening = recorded_head(case, ("Transfer-Encoding", "chunked"))
    answer = opening + b"".join(map(http_chunk, chunks)) + LAST_CHUNK
    return at(answer, rng.sample(range(len(answer)), len(answer) // 70))


def until_close(case: str, wire: bytes) -> list[bytes]:
    return [recorded_head(case), *at(wire, range(0, len(wire), 99))]


CHUNKINGS: list[Callable[[str, bytes], list[bytes]]] = [
    event_a_chunk, all_at_once, byte_a_chunk, byte_a_write, at_random, until_close,
]  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Any:
    with httpx.Client(timeout=20) as made:
        yield made


def asked(case: str, model: str) -> tuple[str, dict[str, Any]]:
    """The route and the body that ask for that recording."""
    if dialect_of(case).name == "anthropic":
        return "/v1/messages", {"model": f"claude/{model}", "messages": [], "max_tokens": 9, "stream": True}
    options = {"stream_options": {"include_usage": True}}
    return "/v1/chat/completions", {"model": f"script/{model}", "messages": [], "stream": True, **options}


@pytest.mark.untraced
@pytest.mark.parametrize("case", RECORDED)
def test_through_the_whole_relay(
    relay: Running, answers: dict[str, Sequence[bytes]], client: httpx.Client, case: str
) -> None:
    wire = wire_of(case)
    expected = b"".join(events_of(wire))
    events = read(expected).events
    for number, chunking in enumerate(CHUNKINGS):
        model = f"{case}/{chunking.__name__}"
        answers[model] = chunking(case, wire)
        path, body = asked(case, model)
        fields = {"X-Tokenwire-Ids": str(number % 2)}
        got = client.post(f"{relay.url}{path}", json=body, headers=fields)
        assert got.headers["x-tokenwire-stream"].startswith("st_")
        if case in FAIL_EARLY:
            assert got.status_code == 400
            assert got.json()["error"].items() >= json.loads(events[-1].data)["error"].items()
            continue
        assert got.status_code == 200
        assert (b"\nid: " in got.content) == bool(number % 2)
        relayed_bytes = without_ours(got.content)
        if relayed_bytes.count(PING) > expected.count(PING):  # a slow machine, and a heartbeat of ours among them
            assert relayed_bytes.replace(PING, b"") == expected.replace(PING, b""), chunking.__name__
            continue
        assert relayed_bytes == expected, chunking.__name__
        assert read(relayed_bytes).events == events


@pytest.mark.parametrize(
    "case", ["openai-chat/error-before-stream", "azure/error-before-stream", "anthropic/error-before-stream"]
)
def test_a_refusal_through_the_whole_relay(
    relay: Running, answers: dict[str, Sequence[bytes]], client: httpx.Client, case: str
) -> None:
    described = json.loads((FIXTURES / f"{case}.expected.json").read_text("utf-8"))["http"]
    body = (FIXTURES / f"{case}.json").read_bytes()
    fields = [(name, value) for name, value in described["headers"].items() if name != "content-type"]
    answers[case] = [answer(body, status=described["status"], fields=fields)]
    path, wanted = asked(case, case)
    got = client.post(f"{relay.url}{path}", json=wanted)
    assert (got.status_code, got.content) == (described["status"], body)
    for name, value in fields:
        if name.startswith(("x-ratelimit", "retry-after", "x-request-id", "request-id", "x-should-retry")):
            assert got.headers[name] == value


def test_a_whole_answer_through_the_whole_relay(
    relay: Running, answers: dict[str, Sequence[bytes]], client: httpx.Client
) -> None:
    body = b'{"object": "chat.completion",\n "choices": [{"index":0, "message":{"content":"\\u00e9"}}], "x": 1.50 }'
    answers["whole"] = at(answer(body), range(0, 400, 7))
    got = client.post(f"{relay.url}/v1/chat/completions", json={"model": "script/whole", "messages": []})
    assert (got.status_code, got.content) == (200, body)


def test_what_the_client_wrote_is_what_the_provider_reads(relay: Running, simulator: Running) -> None:
    """The same seed gives the same answer byte for byte: whether the relay stands between makes no difference."""
    request = {
        "messages": [{"role": "user", "content": "a week in emoji"}],
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "metadata": {"x-sim-seed": "11"},
        "max_tokens": 40,
        "logprobs": True,
    }
    bodies = []
    with httpx.Client(timeout=20) as client:
        for url, model in ((relay.url, "sim/instant"), (simulator.url, "instant")):
            got = client.post(f"{url}/v1/chat/completions", json={"model": model, **request})
            bodies.append(got.content)
    assert without_ours(bodies[0]) == bodies[1]
    assert len(read(bodies[0]).events) == 44
