"""Upstream, relay and load generator together, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from bench.load import PATHS, Leave, Load, Pace, request_body
from bench.loopback import exchange, wait_for
from bench.relays import Dialect, Relay
from bench.rig import Line, RelayFailedError, open_line

from bench import cancel, relays, rig, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from bench.toolchain import Programs

SHORT = Pace(tokens=5, gap_us=1_000, first_ms=3)


@pytest.fixture(scope="module")
def direct(programs: Programs) -> Iterator[Line]:
    with open_line(relays.DIRECT, programs, shape="live") as line:
        yield line


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_streams_arrive_whole_and_connections_serve_again(direct: Line, dialect: Dialect) -> None:
    report = direct.run(Load(streams=6, concurrency=2, expect=5, **direct.post(SHORT, dialect)))
    assert (report.complete, report.broken, report.unfinished) == (6, 0, 0), report.why
    assert (report.tokens, report.lost, report.repeated) == (30, 0, 0)
    assert len(report.added_ttft_us) == 6
    # The upstream waits 3 ms before the first token; what is added does not contain them.
    for whole, added in zip(report.ttft_us, report.added_ttft_us, strict=True):
        assert whole >= 3_000
        assert 0 < added <= whole - 3_000


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("shape", ["lab", "live"])
def test_every_event_of_the_upstream_is_json(dialect: Dialect, shape: str, programs: Programs) -> None:
    with open_line(relays.DIRECT, programs, shape=shape) as line:
        body = request_body(dialect, "m", Pace(tokens=60, gap_us=0, first_ms=0))
        _, answer = exchange(line.upstream_port, "POST", PATHS[dialect], body)
    events = [json.loads(x[6:]) for x in answer.decode().split("\n") if x.startswith("data: {")]
    if dialect == "chat":
        texts = [e["choices"][0]["delta"]["content"] for e in events[1:-2]]
        assert answer.endswith(b"data: [DONE]\n\n")
    else:
        texts = [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"]
        assert events[-1] == {"type": "message_stop"}
    assert len(texts) == 60
    assert [int(t[18:24], 16) for t in texts[1:]] == list(range(1, 60))
    plain = {t[25:] for t in texts[1:]}
    assert (plain == {" word"}) == (shape == "lab")


def test_followers_ask_with_get(direct: Line) -> None:
    path = f"/v1/streams/x/events?{SHORT.prompt()}"
    report = direct.run(Load(method="GET", path=path, streams=3, concurrency=3, expect=5))
    assert (report.complete, report.tokens) == (3, 15), report.why


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("moment", cancel.MOMENTS, ids=lambda m: m.name)
def test_leaving_is_seen_upstream(direct: Line, moment: cancel.Moment, how: Literal["fin", "rst"]) -> None:
    before = len(direct.departures())
    closings = cancel.leave_often(direct, moment, Leave(how=how), tries=5, first_tag=1 + 1000 * before)
    # On a machine that is busy enough, an upstream may first hear of a request when its client is gone again.
    assert (len(closings.delays_us) + closings.not_begun, closings.never) == (5, 0)
    assert min(closings.delays_us) > 0
    assert {d.reset for d in direct.departures()[before:]} == {how == "rst"}


def test_a_stream_can_stand_still_until_its_reader_leaves(direct: Line) -> None:
    before = direct.stats()
    held = direct.start(Load(streams=4, concurrency=4, **direct.post(Pace(tokens=9, first_ms=0, hold_after=2))))
    held.wait_until_ready()
    wait_for(lambda: direct.stats().tokens - before.tokens == 8, 10, "not all tokens came")
    assert direct.stats().active == 4
    report = held.stop()
    assert (report.unfinished, report.complete, report.broken) == (4, 0, 0)
    assert report.tokens == 8
    wait_for(lambda: direct.stats().active == 0, 10, "not all were closed")
    assert direct.stats().departed - before.departed == 4


def test_a_deaf_reader_leaves_the_rest_unread(direct: Line) -> None:
    before = direct.stats().tokens
    pace = Pace(tokens=100_000, gap_us=100, first_ms=0)
    deaf = direct.start(Load(streams=1, concurrency=1, stop_reading=3, **direct.post(pace)))
    wait_for(lambda: direct.stats().tokens - before > 500, 10, "the upstream stopped early")
    assert 3 <= deaf.stop().tokens < 500


def test_a_window_ends_the_run_and_counts_what_falls_into_it(direct: Line) -> None:
    report = direct.run(
        Load(streams=2, concurrency=2, window_ms=(20, 100), **direct.post(Pace(tokens=10_000, gap_us=1_000)))
    )
    assert report.unfinished == 2
    assert len(report.tokens_per_s) == 2
    silent = direct.run(Load(streams=1, concurrency=1, window_ms=(10, 20), **direct.post(Pace(first_ms=60_000))))
    assert silent.tokens_per_s == [0.0]
    assert silent.longest_gap_us == []


def test_a_request_body_may_come_in_chunks_and_portions(direct: Line) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + b"6\r\npaced(\r\n" + b"8\r\ntokens=2\r\n" + b"c\r\n,first_ms=0)\r\n" + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", direct.upstream_port), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), 10):
            client.sendall(request[start : start + 10])
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.read().count(b'"content":"~') == 2


def test_the_upstream_wants_a_shape(programs: Programs) -> None:
    done = subprocess.run([programs.paced, "0", "round"], capture_output=True, check=False)
    assert done.returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nginx", "tokenwire"])
def test_an_upstream_that_speaks_tls(programs: Programs, name: str, missing_here: Callable[[str], None]) -> None:
    try:
        toolchain.find("nginx", "nginx")
    except toolchain.MissingProgramError as missing:
        missing_here(str(missing))
    with open_line(relays.KNOWN[name], programs, tls=True) as line:
        assert line.terminator is not None
        report = line.run(Load(streams=4, concurrency=2, expect=5, **line.post(SHORT)))
        assert (report.complete, report.tokens, report.lost) == (4, 20, 0), report.why
        assert line.stats().complete >= 4
    assert line.terminator.poll() is not None


def test_nginx_relays(programs: Programs, missing_here: Callable[[str], None]) -> None:
    try:
        relays.NGINX.check()
    except toolchain.MissingProgramError as missing:
        missing_here(str(missing))
    with open_line(relays.NGINX, programs) as line:
        report = line.run(Load(streams=4, concurrency=2, expect=5, **line.post(SHORT)))
        assert (report.complete, report.tokens) == (4, 20), report.why
        assert line.pss_kib() > 0


def test_the_tutorial_relay_relays(programs: Programs) -> None:
    with open_line(relays.TUTORIAL, programs) as line:
        report = line.run(Load(streams=2, concurrency=2, expect=5, **line.post(SHORT)))
        assert (report.complete, report.tokens) == (2, 10), report.why
        assert len(report.added_ttft_us) == 2
        assert line.cpu_seconds() > 0


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("raise SystemExit('no such setting')", "ended with 1 and said: no such setting"),
        (
            "import signal; print('thinking', flush=True); signal.pause()",
            "does not answer within 0.3 s; it said: ",
        ),
    ],
    ids=["ends", "hangs"],
)
def test_a_relay_that_does_not_come_up_says_why(
    script: str, says: str, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "_SERVE_SECONDS", 0.3 if "pause" in script else 30.0)
    with (
        pytest.raises(RelayFailedError, match=says),
        open_line(relays.other("x", [sys.executable, "-c", script]), programs),
    ):
        pass


def test_a_relay_that_breaks_its_streams_is_not_measured(programs: Programs) -> None:
    # An HTTP server that knows no POST answers 501: it serves, but it is no relay.
    relay = relays.other("x", [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"])
    with pytest.raises(RelayFailedError, match="status 501"), open_line(relay, programs):
        pass


def test_a_command_that_is_none(programs: Programs) -> None:
    relay = Relay(name="x", title="x", command=("no-such-command-anywhere",))
    with pytest.raises(RelayFailedError, match="does not start"), open_line(relay, programs):
        pass
