"""``make live`` against the simulator and scripted providers: every byte, cancelled for good, no secrets kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import live.__main__ as program
import pytest
from live.record import Recording, record
from live.ways import ways

from tokenwire.engine.clock import LoopClock
from tokenwire.gateway.directory import Directory
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.processes import running_simulator
from tokenwire.testing.relay import STREAM_HEAD, chunks, settings_for
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step
from tokenwire.upstream.pool import Pool

KEY = "sk-do-not-keep-0123456789"
ROOT = Path(__file__).parents[2]
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.text(" two"))


def asked(script: Sequence[Step], check: Callable[[Recording, ScriptedUpstream], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        async with ScriptedUpstream(script) as upstream:
            pool = Pool(LoopClock().now_ns)
            (way,) = ways(Directory(settings_for(upstream.base_url), pool), ["up"])
            recording = await record(pool, way, "m", b"{}", **{"stop_after": None, **more})
            await check(recording, upstream)
            pool.close()

    run_in("asyncio", main)


def test_every_byte_is_kept_with_its_time() -> None:
    async def check(recording: Recording, upstream: ScriptedUpstream) -> None:
        assert (recording.status, recording.how) == (200, "complete")
        assert recording.body == b"".join(frames.answer("one", " two"))
        assert (b"content-type", b"text/event-stream") in recording.headers
        times = [read.ms for read in recording.reads]
        assert times == sorted(times)
        assert recording.first_ms in times
        assert dict(upstream.peers[0].requests[0].fields)["accept"] == "text/event-stream"

    asked([REQUEST, FIRST + chunks(frames.finish(), frames.DONE) + LAST_CHUNK], check)


def test_enough_is_enough() -> None:
    async def check(recording: Recording, upstream: ScriptedUpstream) -> None:
        assert (recording.how, recording.body.count(b"data: ")) == ("cancelled", 3)
        async with asyncio.timeout(5):
            assert await upstream.peers[0].gone() is not None

    asked([REQUEST, FIRST], check, stop_after=2)


@pytest.mark.parametrize(
    ("script", "seconds", "how"),
    [
        ([REQUEST, FIRST, CLOSE], 20.0, "closed"),
        ([REQUEST, FIRST], 0.05, "timeout"),
        ([REQUEST], 0.05, "timeout"),
    ],
)
def test_a_recording_that_broke_says_so(script: Sequence[Step], seconds: float, how: str) -> None:
    async def check(recording: Recording, upstream: ScriptedUpstream) -> None:
        assert how in recording.how
        assert (recording.first_ms is not None) is (FIRST in script)

    asked(script, check, seconds=seconds)


def test_an_error_is_recorded_like_an_answer() -> None:
    async def check(recording: Recording, upstream: ScriptedUpstream) -> None:
        assert (recording.status, recording.body, recording.first_ms) == (401, b'{"error":"no"}', None)

    asked([REQUEST, answer(b'{"error":"no"}', status=401)], check)


# ---------------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_simulator(tmp_path_factory.mktemp("simulator")) as running:
        yield running


def test_a_run_from_the_command_line(simulator: Any, tmp_path: Path) -> None:
    """As ``make live`` does it, with the simulator where OpenAI would be: there is no network where tests run."""
    environ = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{simulator.url}/v1"}
    command = [
        sys.executable,
        "-m",
        "live",
        "--only",
        "openai",
        "--model",
        "openai=llama-4-scout",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "openai-openai.chat llama-4-scout text: 200" in done.stdout
    assert re.search(
        r"^openai-openai.chat llama-4-scout cancelled: 200, \d+ events, .* cancelled$", done.stdout, re.MULTILINE
    )
    assert "openai-openai.responses llama-4-scout text: 200" in done.stdout
    # No recorded response has tools in the echo of its request: those would be news.
    told = done.stdout.partition("openai-openai.responses")[0]
    assert "field new to us" not in told, "the simulator is wire-accurate"
    kept = {path.name for path in (tmp_path / "openai-openai.chat").iterdir()}
    assert kept == {f"{case}{end}" for case in ("text", "tool-call", "cancelled") for end in (".sse", ".expected.json")}
    text = json.loads((tmp_path / "openai-openai.chat" / "text.expected.json").read_text("utf-8"))
    assert text["expected"]["complete"]
    assert text["expected"]["usage"]["completion_tokens"] > 0
    assert (text["http"]["status"], text["recorded"]["model"]) == (200, "llama-4-scout")
    call = json.loads((tmp_path / "openai-openai.chat" / "tool-call.expected.json").read_text("utf-8"))
    assert call["expected"]["tool_calls"][0]["name"] == "get_weather"
    cancelled = json.loads((tmp_path / "openai-openai.chat" / "cancelled.expected.json").read_text("utf-8"))
    assert (cancelled["recorded"]["how"], cancelled["expected"]["complete"]) == ("cancelled", False)
    for path in (tmp_path / "openai-openai.chat").iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        ([], {}, "no provider is configured"),
        (["--only", "nobody"], {"OPENAI_API_KEY": "x"}, "no provider 'nobody'; there are openai"),
        (["--model", "openai"], {"OPENAI_API_KEY": "x"}, "'openai' is not NAME=MODEL"),
        (["--config", "no-such-file.toml"], {}, "cannot read"),
    ],
)
def test_a_run_that_cannot_begin_says_why(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environ: dict[str, str], words: str
) -> None:
    assert program.main(arguments, environ) == 2
    assert words in capsys.readouterr().err


def test_what_cannot_be_asked_is_said_and_the_rest_is_asked(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tokenwire.toml"
    config.write_text(
        f"""
[upstreams.gone]
base_url = "http://127.0.0.1:1/v1"
models = []
[upstreams.closed]
base_url = "http://127.0.0.1:1/v1"
models = ["m"]
[upstreams.strict]
base_url = "{simulator.url}/nowhere"
models = ["m"]
headers = {{ "x-secret" = "hush-hush-hush" }}
api_key = "passthrough"
[upstreams.sim]
base_url = "{simulator.url}/v1"
models = ["instant"]
""",
        "utf-8",
    )
    assert program.main(["--config", str(config), "--out", str(tmp_path / "out")], {}) == 1
    said = capsys.readouterr().out
    assert "gone: it lists no models; say --model gone=MODEL" in said
    assert "closed: http://127.0.0.1:1: connect failed" in said
    assert "strict m text: 404" in said
    assert "sim instant text: 200" in said
    assert (tmp_path / "out" / "strict" / "text.json").is_file()
    assert "hush-hush" not in (tmp_path / "out" / "strict" / "text.expected.json").read_text("utf-8")


def test_a_provider_that_lists_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    assert program.main(["--out", str(tmp_path)], environ) == 1
    said = capsys.readouterr().out
    assert "openai-openai.chat: no list of models: http://127.0.0.1:1: connect failed" in said


def test_a_dialect_that_nobody_taught_us(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "SPEECHES", {})
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{simulator.url}/v1"}
    assert program.main(["--out", str(tmp_path)], environ) == 1
    assert "nothing is known here of asking in openai.chat" in capsys.readouterr().out


def test_differences_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider with a field of its own."""
    odd = frames.answer("one", with_usage=True)
    odd[1] = odd[1].replace(b'"index":0', b'"index":0,"aura":{"hue":"blue"}')
    script: list[Step] = [REQUEST, STREAM_HEAD + chunks(*odd) + LAST_CHUNK]

    async def main() -> None:
        async with ScriptedUpstream(script * 3) as upstream:
            pool = Pool(LoopClock().now_ns)
            (way,) = ways(Directory(settings_for(upstream.base_url), pool), ["up"])
            assert await program._provider(pool, way, "m", tmp_path, {})
            pool.close()

    run_in("asyncio", main)
    said = capsys.readouterr().out
    assert "field new to us (1): choices[].aura.hue: str" in said
    assert "the answer should have been cancelled, and was: complete" in said
