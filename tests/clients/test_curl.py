"""curl, the client that everybody has: several readers of one stream, a cut in the middle, and going on after it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running
from tokenwire.wire.sse import Event

Fetch = Callable[..., Any]
Chat = Callable[..., dict[str, Any]]
Curl = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def curl(missing: Callable[[str], None]) -> Iterator[Curl]:
    """curl(*arguments) -> the running process; its end is awaited, and enforced."""
    program = shutil.which("curl")
    if program is None:
        missing("no curl: install the Debian package curl")
        return
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [program, "-sSN", "--noproxy", "*", "--max-time", "20", *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def started(relay: Running, fetch: Fetch, chat: Chat) -> Callable[..., str]:
    """started(**knobs) -> the events URL of a new stream, half a second long unless the knobs say otherwise."""

    def start(**knobs: Any) -> str:
        knobs = {"tokens": 100, "interval_ms": 5} | knobs
        body = {"dialect": "openai.chat", "request": chat("sim/instant", "Tell me of the sea", **knobs)}
        return relay.url + str(fetch(f"{relay.url}/v1/streams", body)["events"])

    return start


def output(process: subprocess.Popen[bytes]) -> bytes:
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors.decode()
    return out


def first_events(process: subprocess.Popen[bytes], count: int) -> list[Event]:
    """The first events, read as they come; then the process is ended, whatever else it has."""
    assert process.stdout is not None
    wire = b""
    events: list[Event] = []
    while len(events) < count:
        line = process.stdout.readline()
        assert line, f"it ended after {len(events)} events"
        wire += line
        events = read(wire).events
    process.kill()
    process.communicate()
    return events


def text_of(events: list[Event]) -> str:
    """The text in the events of either dialect."""
    text = ""
    for event in events:
        if event.event == "text":
            text += json.loads(event.data)["t"]
        elif event.event == "message" and event.data != "[DONE]":
            choices = json.loads(event.data)["choices"]
            text += "".join(choice["delta"].get("content") or "" for choice in choices)
    return text


def test_two_readers_of_one_stream_get_the_same(curl: Curl, started: Callable[..., str]) -> None:
    url = started()
    first = curl(url)
    assert first.stdout is not None
    beginning = first.stdout.read(1)  # the second comes late: the stream is under way
    second = curl(url)
    whole = output(second)
    seen = read(beginning + output(first)).events
    assert seen == read(whole).events
    assert [event.event for event in seen].count("text") == 100
    assert [(event.event, json.loads(event.data)["state"]) for event in seen[-1:]] == [("done", "completed")]


@pytest.mark.parametrize("dialect", ["native", "openai.chat"])
@pytest.mark.parametrize("when", ["running", "ended"])
def test_a_reader_that_was_cut_goes_on_where_it_was(
    curl: Curl, started: Callable[..., str], dialect: str, when: str
) -> None:
    url = f"{started()}?dialect={dialect}"
    plain = "-H", "X-Tokenwire-Usage: off"  # how often it is estimated depends on how fast the machine is
    if when == "ended":
        output(curl(url))
    head = first_events(curl(*plain, url), 7 if when == "running" or dialect != "native" else 2)
    rest = read(output(curl(*plain, "-H", f"Last-Event-ID: {head[-1].id}", url))).events
    whole = read(output(curl(*plain, url))).events
    if dialect == "native":  # who is behind is told runs of text at once
        assert text_of(head + rest) == text_of(whole) != ""
        assert [event for event in head + rest if event.event != "text"] == [
            event for event in whole if event.event != "text"
        ]
        assert sum(json.loads(event.data).get("events", 1) for event in head + rest if event.event == "text") == 100
    else:
        assert head + rest == whole
    ids = [event.id for event in whole]
    assert len(set(ids)) == len(ids)
    assert output(curl("-o", "-", "-w", "%{http_code}", "-H", f"Last-Event-ID: {ids[-1]}", url)) == b"204"


def test_after_any_event_the_rest_is_the_rest(curl: Curl, started: Callable[..., str]) -> None:
    for dialect in ("native", "openai.chat"):
        url = f"{started(tokens=4, interval_ms=0)}?dialect={dialect}"
        whole = read(output(curl(url))).events
        for count, event in enumerate(whole[:-1], 1):
            assert read(output(curl(f"{url}&after={event.id}"))).events == whole[count:]


@pytest.mark.parametrize("bad", [("Last-Event-ID: no", "400"), ("Last-Event-ID: 9-9", "409")], ids=["none", "foreign"])
def test_a_place_that_does_not_exist_is_refused(curl: Curl, started: Callable[..., str], bad: tuple[str, str]) -> None:
    field, status = bad
    assert output(curl("-o", "/dev/null", "-w", "%{http_code}", "-H", field, started(tokens=2))) == status.encode()


def test_ids_on_a_vendor_route_resume_over_the_native_one(curl: Curl, relay: Running, chat: Chat) -> None:
    body = json.dumps(chat("sim/instant", "Tell me of the sea", tokens=100, interval_ms=5))
    ask = ["-H", "content-type: application/json", "-H", "X-Tokenwire-Ids: 1", "-H",
           "X-Tokenwire-On-Disconnect: linger=10", "-d", body, f"{relay.url}/v1/chat/completions"]  # fmt: skip
    process = curl("-D", "/dev/stderr", *ask)
    assert process.stderr is not None
    fields: dict[str, str] = {}
    while (line := process.stderr.readline().decode().strip()) or not fields:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    head = first_events(process, 7)
    assert [event.id for event in head] == [f"1-{number}" for number in range(1, 8)]
    url = f"{relay.url}/v1/streams/{fields['x-tokenwire-stream']}/events?dialect=openai.chat"
    rest = read(output(curl("-H", f"Last-Event-ID: {head[-1].id}", url))).events
    whole = read(output(curl(url))).events
    assert head + rest == whole
    assert (len(text_of(whole)) > 100, whole[-1].data) == (True, "[DONE]")
    assert fields["content-type"].startswith("text/event-stream")
    assert fields["cache-control"] == "no-cache, no-transform"
    assert fields["x-accel-buffering"] == "no"


def test_without_the_header_a_vendor_route_has_no_ids(curl: Curl, relay: Running, chat: Chat) -> None:
    body = json.dumps(chat("sim/echo", "one two", ttft_ms=300))  # long enough for heartbeats
    ask = ["-H", "content-type: application/json", "-d", body, f"{relay.url}/v1/chat/completions"]
    wire = output(curl(*ask))
    assert re.search(rb"^(id|retry|event):", wire, re.MULTILINE) is None
    assert text_of(read(wire).events) == "one two"


def test_a_stream_begun_with_a_key_is_found_again(curl: Curl, relay: Running, chat: Chat) -> None:
    body = json.dumps(chat("sim/instant", "Tell me of the sea", tokens=60, interval_ms=5))
    ask = ["-H", "content-type: application/json", "-H", f"Idempotency-Key: {relay.pid}-curl", "-d", body,
           f"{relay.url}/v1/chat/completions"]  # fmt: skip
    head = first_events(curl(*ask), 5)
    again = read(output(curl(*ask))).events
    assert again[:5] == head
    assert again[-1].data == "[DONE]"


def test_the_plainest_form_by_get_goes_on_by_its_run(relay: Running, curl: Curl) -> None:
    link = f"{relay.url}/api/chat?model=sim/echo&run=curl-1"
    asked = ("-G", "--data-urlencode", "prompt=Grüße an alle", link)
    whole = output(curl(*asked))
    events = read(whole).events
    assert "".join(json.loads(event.data)["text"] for event in events[:-1]) == "Grüße an alle"
    assert events[-1].data == "[DONE]"
    rest = read(output(curl(*asked, "-H", f"last-event-id: {events[0].id}"))).events
    assert [(event.id, event.data) for event in rest] == [(event.id, event.data) for event in events[1:]]
    assert output(curl(*asked, "-H", f"last-event-id: {events[-1].id}", "-w", "%{http_code}")) == b"204"
    assert output(curl(*asked, "-H", "sec-fetch-site: cross-site", "-w", "%{http_code}")).endswith(b"403")
