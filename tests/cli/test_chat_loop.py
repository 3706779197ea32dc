"""The conversation: commands, questions, leaving; and the prompt that they come from."""

from __future__ import annotations

import builtins
import io
import json
import os
import pty
import signal
import sys
import termios
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.cli import chat_prompt
from tokenwire.cli.chat_answer import Outcome
from tokenwire.cli.chat_figures import Figures, dollars
from tokenwire.cli.chat_loop import Chat
from tokenwire.cli.chat_prompt import Cleared, Prompt, unechoed
from tokenwire.cli.chat_requests import Conversation, Turn
from tokenwire.client import Answer, Done
from tokenwire.dialects.deltas import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStarted, Usage
from tokenwire.errors import RelayUnreachable
from tokenwire.wire.sse import Event


class Lines:
    """A prompt that was typed beforehand; an exception among them is raised."""

    def __init__(self, *lines: str | BaseException | None) -> None:
        self._lines = iter(lines)

    def read(self) -> str | None:
        line = next(self._lines)
        if isinstance(line, BaseException):
            raise line
        return line


class Screen:
    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, kind: str, text: str) -> None: ...

    def line(self, kind: str, text: str) -> None:
        self.said.append(text)

    def status(self, text: str) -> None: ...

    def end(self) -> None: ...


class Loop(Chat):
    """A chat without a relay: it keeps what it is asked, and lists what it is given."""

    def __init__(self, names: list[str] | Exception = []) -> None:  # noqa: B006 - it is not changed
        self.screen = Screen()
        self.talk = Conversation("up/m", "s")
        super().__init__(None, None, self.talk, self.screen, thinking=True)  # type: ignore[arg-type]
        self.asked: list[str] = []
        self.names = names

    def ask(self, question: str) -> Outcome:
        if question == "leave":
            raise KeyboardInterrupt
        self.asked.append(question)
        return Outcome("", "completed")

    def models(self) -> list[str]:
        if isinstance(self.names, Exception):
            raise self.names
        return self.names

    def through(self, *lines: str | BaseException | None) -> int:
        return self.loop(Lines(*lines))  # type: ignore[arg-type]


GONE = RelayUnreachable("http://x", "connect failed")


@pytest.mark.parametrize(
    ("last", "code"), [(None, 0), ("/quit", 0), ("/exit", 0), (KeyboardInterrupt(), 0), ("leave", 130)]
)
def test_leaving(last: Any, code: int) -> None:
    assert Loop().through("hi", last) == code


def test_questions_are_asked_and_commands_are_not() -> None:
    chat = Loop()
    chat.through("  hi ", "", "   ", "/help", "//etc/passwd", "/nonsense/here", None)
    assert chat.asked == ["hi", "/etc/passwd"]
    assert "Ctrl-C stops an answer" in chat.screen.said[1]


@pytest.mark.parametrize(
    ("names", "line", "said"),
    [
        ([], "/model", "the model is up/m; /model NAME changes it, /models lists them"),
        (["sim/echo"], "/model sim/echo", "the model is sim/echo"),
        (["sim/echo"], "/model sim/eco", "the model is sim/eco, which the relay does not list; it lists sim/echo"),
        (["sim/echo"], "/model Q", "the model is Q, which the relay does not list"),
        (GONE, "/model Q", "the model is Q"),
        (GONE, "/models", "the relay at http://x cannot be reached: connect failed"),
        ([], "/system  Be brief. ", "the system prompt is set"),
        ([], "/system", "there is no system prompt"),
        ([], "/think", "models are asked to think"),
        ([], "/new", "the conversation is forgotten"),
        ([], "/hlep", "no command /hlep; did you mean /help?"),
        ([], "/xyz", "no command /xyz; /help lists them"),
    ],
)
def test_commands(names: Any, line: str, said: str) -> None:
    chat = Loop(names)
    chat.talk.turns.append(Turn("user", "before"))
    assert chat.through(line, None) == 0
    assert chat.screen.said[0] == said
    assert chat.talk.turns == ([] if line == "/new" else [Turn("user", "before")])
    if line.startswith("/system"):
        assert chat.talk.system == ("Be brief." if "brief" in line else None)
    if line.startswith("/model "):
        assert chat.talk.model == line.removeprefix("/model ")


@pytest.mark.parametrize(("names", "shown"), [(["sim/echo", "[b]x"], ["sim/echo", "[b]x"]), ([], ["none"])])
def test_the_list_of_models(names: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Loop(names).through("/models", None)
    assert capsys.readouterr().out.split() == shown


# ---------------------------------------------------------------------- the prompt


class Typed(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Prompt]:
    """``typed(*lines)``: a prompt of a terminal at which they are typed."""

    def prompt(*lines: str | BaseException) -> Prompt:
        rest = iter(lines)

        def read(mark: str) -> str:
            line = next(rest, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(sys, "stdin", Typed())
        monkeypatch.setattr(sys, "stdout", Typed())
        monkeypatch.setattr(builtins, "input", read)
        return Prompt()

    return prompt


def test_lines(typed: Callable[..., Prompt]) -> None:
    prompt = typed("one", '""" two', "and", 'three"""', '"""four"""', '"""five', Cleared(), "six", '"""seven')
    assert [prompt.read() for _ in range(6)] == ["one", "two\nand\nthree", "four", "six", "seven", None]


def test_ctrl_c_at_the_prompt_leaves_or_clears(monkeypatch: pytest.MonkeyPatch, typed: Callable[..., Prompt]) -> None:
    before = signal.getsignal(signal.SIGINT)
    prompt = typed()
    buffer = ["something typed", ""]
    heard: list[str] = []

    def read(mark: str) -> str:
        heard.append(mark)
        signal.raise_signal(signal.SIGINT)
        return "never"

    class Readline:
        @staticmethod
        def get_line_buffer() -> str:
            return buffer.pop(0)

    monkeypatch.setattr(builtins, "input", read)
    monkeypatch.setattr(chat_prompt, "readline", Readline)
    with pytest.raises(KeyboardInterrupt):
        prompt.read()
    assert heard == ["> ", "> "]
    monkeypatch.setattr(chat_prompt, "readline", None)
    with pytest.raises(KeyboardInterrupt):
        prompt.read()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_typed_is_not_echoed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(termios, "tcgetattr", lambda number, get=termios.tcgetattr: get(slave))
        monkeypatch.setattr(
            termios, "tcsetattr", lambda number, when, what, put=termios.tcsetattr: put(slave, when, what)
        )

        def echo() -> bool:
            return bool(termios.tcgetattr(0)[3] & termios.ECHO)

        assert echo()
        with unechoed():
            assert not echo()
        assert echo()
    os.close(master)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with unechoed():
        pass


# ---------------------------------------------------------------------- figures

MS = 1_000_000


def test_figures_of_an_answer_as_it_comes() -> None:
    figures = Figures(0)
    assert figures.line(1500 * MS, None) == "1.5 s without a token"
    figures.take(TextDelta("Hello"), 400 * MS)
    assert (figures.ttft, figures.rate) == (0.4, None)
    assert figures.line(0, None) == "TTFT 400 ms · ~1 token"
    figures.take(ReasoningDelta("x" * 36), 1400 * MS)
    assert (figures.tokens, figures.rate) == (10, 9.0)
    figures.take(ToolCallStarted("a", "b"), 1400 * MS)
    figures.take(ToolCallDelta("y" * 20), 1400 * MS)
    figures.take(RefusalDelta("é" * 10), 1400 * MS)
    assert figures.tokens == round((5 + 36 + 20 + 20) / 4)
    figures.take(Usage(output=50), 1500 * MS)
    assert figures.line(0, 0.00042) == "TTFT 400 ms · 49 tokens/s · 50 tokens · $0.00042"
    figures.take(TextDelta("!"), 1600 * MS)
    figures.take(Usage(input=3), 1600 * MS)
    assert figures.line(0, None, dot="|") == "TTFT 400 ms | ~42 tokens/s | ~51 tokens"


def test_a_burst_has_no_rate() -> None:
    figures = Figures(0)
    figures.take(TextDelta("a"), MS)
    figures.take(TextDelta("b"), 2 * MS)
    assert figures.rate is None


@pytest.mark.parametrize("estimated", [True, False])
def test_usage_at_the_end_is_the_last_word(estimated: bool) -> None:
    figures = Figures(0)
    figures.take(TextDelta("Hello"), 400 * MS)
    answer = Answer()
    data = {"input": 1, "output": 7, "estimated": estimated, "cost_usd": 0.5}
    answer.feed(Event("usage", json.dumps(data)))
    figures.ended(answer)
    assert figures.line(0, answer.cost_usd) == f"TTFT 400 ms · {'~' if estimated else ''}7 tokens · $0.50"


def test_who_did_not_ask_knows_no_times_but_the_relays() -> None:
    figures = Figures(None)
    assert figures.line(0, None) == ""
    figures.take(TextDelta("Hello"), 400 * MS)
    assert figures.line(0, None) == "~1 token"
    answer = Answer()
    figures.ended(answer)
    answer.done = Done("completed", ttft_ms=100.0, e2e_ms=300.0)
    figures.take(TextDelta("x" * 15), 500 * MS)
    figures.ended(answer)
    assert figures.line(0, None) == "TTFT 100 ms · ~20 tokens/s · ~5 tokens"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "$0.00"),
        (12.345, "$12.35"),
        (0.5, "$0.50"),
        (0.042, "$0.042"),
        (0.00042, "$0.00042"),
        (1e-12, "$0.000000000"),
    ],
)
def test_dollars(amount: float, shown: str) -> None:
    assert dollars(amount) == shown
