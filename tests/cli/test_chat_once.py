"""One answer, for pipes and programs: text on standard output, everything else on standard error."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tokenwire.cli import chat_relay, chatting, serving
from tokenwire.cli.chat_relay import own_relay
from tokenwire.errors import ConfigError
from tokenwire.testing.processes import Running, wait_for

Command = Callable[..., Any]
FIGURES = r"TTFT \d+ ms( · \d+ tokens/s)? · \d+ tokens?\n"


@pytest.fixture(autouse=True)
def _nothing_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.delenv("TOKENWIRE_URL", raising=False)
    monkeypatch.delenv("TOKENWIRE_KEY", raising=False)


def test_a_prompt_is_answered(tokenwire: Command, chat_relay: Running) -> None:
    ended = tokenwire("chat", "sim/echo", "--url", chat_relay.url, "-p", "say this")
    assert (ended.code, ended.out) == (0, "say this\n")
    assert re.fullmatch(FIGURES, ended.err)


def test_a_pipe_is_the_prompt(tokenwire: Command, chat_relay: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENWIRE_URL", chat_relay.url)
    monkeypatch.setattr(sys, "stdin", io.StringIO("the text\n"))
    ended = tokenwire("chat")
    assert (ended.code, ended.out) == (0, "the text\n")
    assert ended.err.startswith("no model was named: asking parrot\nTTFT ")


def test_prompt_and_pipe_go_together(tokenwire: Command, chat_relay: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the text\n"))
    ended = tokenwire("chat", "sim/echo", "--url", chat_relay.url, "-p", "Summarise:")
    assert ended.out == "Summarise:\n\nthe text\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing was asked: standard input is empty"),
        (["-p", "hi", "--resume", "st_1"], "use one of --resume and --prompt"),
        (["-p", "hi", "--url", "localhost:8787"], "must begin with http://"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_started(
    tokenwire: Command, arguments: list[str], said: str
) -> None:
    ended = tokenwire("chat", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "sim/fault-429",
            r"rate_limit_exceeded \(status 429\): .*; trying again may help\nfailed · \d\.\d s without a token\n",
        ),
        ("sim/nothing", "trying again will not help"),
        ("who/knows", "no upstream serves the model 'who/knows'"),
    ],
)
def test_no_answer_is_a_failure(tokenwire: Command, chat_relay: Running, model: str, said: str) -> None:
    ended = tokenwire("chat", model, "--url", chat_relay.url, "-p", "hi")
    assert (ended.code, ended.out) == (1, "")
    assert re.search(said, ended.err)


def test_a_failure_in_the_middle_leaves_what_came(tokenwire: Command, chat_relay: Running) -> None:
    ended = tokenwire("chat", "cut/instant", "--url", chat_relay.url, "-p", "hi")
    assert ended.code == 1
    assert len(ended.out.split()) >= 2
    assert "trying again may help\nfailed · TTFT" in ended.err


def test_a_named_relay_that_is_not_there_is_an_error(tokenwire: Command, nobody: str) -> None:
    ended = tokenwire("chat", "-p", "hi", "--url", nobody)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"tokenwire: the relay at {nobody} cannot be reached: connect failed: Connection refused\n"


def test_to_resume_a_stream_takes_its_relay(
    tokenwire: Command, nobody: str, chat_relay: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatting, "DEFAULT_URL", nobody)
    ended = tokenwire("chat", "--resume", "st_1")
    assert (ended.code, ended.out) == (1, "")
    assert f"no relay listens at {nobody}, so no stream can be resumed" in ended.err
    ended = tokenwire("chat", "--resume", "st_1", "--url", chat_relay.url)
    assert (ended.code, ended.out) == (1, "")
    assert "no stream 'st_1'" in ended.err


def test_a_relay_without_models_wants_one_named(
    tokenwire: Command, started: Command, config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatting, "MODELS_SECONDS", 0.1)
    relay = started("serve", "--port", "0", "--config", config(""))
    ended = tokenwire("chat", "-p", "hi", "--url", relay.url)
    assert ended.code == 2
    assert "lists no models; name one" in ended.err


def test_without_a_relay_one_is_started_for_the_answer(
    tokenwire: Command, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatting, "DEFAULT_URL", nobody)
    ended = tokenwire("chat", "sim/echo", "-p", "hello")
    assert (ended.code, ended.out) == (0, "hello\n")
    assert f"no relay at {nobody}; this chat has one of its own at http://127.0.0.1:" in ended.err


def test_a_relay_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'tokenwire: upstreams.x: no' >&2\nexit 2\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ConfigError, match=r"one of our own did not start: upstreams\.x: no"), own_relay():
        pass


def test_a_relay_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    script = tmp_path / "python"
    script.write_text(
        "#!/bin/sh\ntrap '' TERM\necho tokenwire http://127.0.0.1:1\necho ' upstreams: x'\n"
        "while read line; do :; done\nwhile :; do :; done\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(chat_relay, "_PATIENCE_SECONDS", 0.1)
    with own_relay() as told:
        assert told == ("http://127.0.0.1:1", "upstreams: x")


def run(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command as a process of its own, in a pipe."""
    command = [sys.executable, "-m", "tokenwire", "chat", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **options
    )


def test_ctrl_c_stops_the_model_and_ends_with_130(chat_relay: Running, stats: Callable[[], dict[str, int]]) -> None:
    with run("slow/instant", "-p", "hi", "--url", chat_relay.url) as process:
        assert process.stdout is not None
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out.endswith(b"\n")
    assert b"stopped \xc2\xb7 TTFT" in err
    assert b"\x1b" not in out + err
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


def test_whoever_reads_us_may_have_enough(chat_relay: Running, stats: Callable[[], dict[str, int]]) -> None:
    with run("slow/instant", "-p", "hi", "--url", chat_relay.url) as process:
        assert process.stdout is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


def test_a_conversation_may_be_recorded(
    tokenwire: Command, chat_relay: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person types, and the output goes to a file: answers only, prompts and notes on standard error."""
    typed = io.StringIO('one\n"""two\nlines"""\n/quit\n')
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr("tokenwire.cli.chat_loop.unechoed", nullcontext)
    ended = tokenwire("chat", "sim/echo", "--url", chat_relay.url)
    assert (ended.code, ended.out) == (0, "one\ntwo\nlines\n")
    assert ended.err.count("> ") == 3
    assert "\x1b" not in ended.err


def test_our_own_relay_ends_when_its_input_does(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    killed: list[tuple[int, int]] = []
    system = SimpleNamespace(read=lambda *_: b"", kill=lambda *what: killed.append(what), getpid=lambda: 7, environ={})
    monkeypatch.setattr(chat_relay, "os", system)
    served: list[dict[str, Any]] = []

    def serve(environ: dict[str, str], **options: Any) -> None:
        served.append(options)
        wait_for(lambda: len(killed) == 2)
        if len(served) > 1:
            raise ConfigError("no such thing")

    monkeypatch.setattr(serving, "run_serve", serve)
    chat_relay.main()
    assert killed == [(7, signal.SIGTERM)] * 2
    assert (served[0]["port"], served[0]["config"]) == (0, None)
    killed.clear()
    with pytest.raises(SystemExit) as caught:
        chat_relay.main()
    assert caught.value.code == 2
    assert capfd.readouterr().err == "tokenwire: no such thing\n"
