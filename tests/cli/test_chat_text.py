"""What is handed in, and is no text; what a terminal holds while an answer comes; how two clauses are joined."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.cli.chat_answer import _clauses
from tokenwire.cli.chat_text import Mended
from tokenwire.testing.processes import Running

SAID = "tokenwire: what is no UTF-8 was replaced by U+FFFD\n"


@pytest.mark.parametrize(
    ("given", "mended", "said"),
    [
        ("café \N{REPLACEMENT CHARACTER}", "café \N{REPLACEMENT CHARACTER}", ""),
        ("caf\udce9", "caf\N{REPLACEMENT CHARACTER}", SAID),
        ("caf\udcc3\udca9", "café", ""),  # a locale that is not UTF-8, bytes that are
    ],
)
def test_bytes_that_are_no_text(given: str, mended: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    mend = Mended()
    assert [mend(given), mend(given)] == [mended, mended]
    assert capsys.readouterr().err == said, "once"


@pytest.mark.parametrize(("argument", "piped"), [(b"caf\xe9", b""), (b"x", b"caf\xe9\n"), (b"\xff", b"caf\xe9\n")])
@pytest.mark.parametrize("locale", ["C.UTF-8", "POSIX"])
def test_a_question_that_is_no_utf_8_is_asked(
    chat_relay: Running, argument: bytes, piped: bytes, locale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    command: list[str | bytes] = [sys.executable, "-m", "tokenwire", "chat", "sim/echo", "--url", chat_relay.url, "-p"]
    ended = subprocess.run([*command, argument], input=piped, capture_output=True, timeout=20)
    assert ended.returncode == 0
    question = b"\n\n".join(part for part in (argument, piped.rstrip()) if part)
    assert ended.stdout.decode() == question.decode("utf-8", "replace") + "\n"
    assert ended.stderr.decode().count(SAID) == 1


@pytest.mark.parametrize("key", ["a\nb", "a b", "", "ké"])
def test_a_key_that_no_field_can_hold_is_refused(
    tokenwire: Callable[..., Any], chat_relay: Running, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.setenv("TOKENWIRE_KEY", "")
    ended = tokenwire("chat", "sim/echo", "-p", "x", "--url", chat_relay.url, f"--key={key}")
    if not key:
        assert ended.code == 0, "an empty one is none"
        return
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "tokenwire: key: the relay's key must be printable ASCII without blanks and line ends\n"


def test_ctrl_d_during_an_answer_leaves_after_it(terminal: Callable[..., Any], chat_relay: Running) -> None:
    chat = terminal("sim/gpt-4o", "--url", chat_relay.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"TTFT \d+ ms")
    chat.type("\x04")
    chat.until(r"\d+ tokens/s · \d+ tokens\b")
    assert chat.end() == 0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("too busy", "too busy; may help"),
        ("Too busy. Come later.", "Too busy. Come later; may help"),
        ("Too busy!", "Too busy! May help"),
        ("Wait...\n", "Wait... May help"),
    ],
)
def test_advice_follows_a_sentence(message: str, said: str) -> None:
    assert _clauses(message, "may help") == said
