"""``tokenwire chat`` as a person has it: a process of its own on a pseudo-terminal, a relay, a simulator."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.testing.processes import Running, wait_for

Start = Callable[..., Any]
Stats = Callable[[], dict[str, int]]
Ask = Callable[..., Any]

STREAM = {
    "dialect": "openai.chat",
    "request": {"model": "sim/gpt-4o", "messages": [{"role": "user", "content": "sea"}]},
}


def test_text_comes_piece_by_piece_and_ctrl_c_stops_it_and_the_model(
    terminal: Start, chat_relay: Running, stats: Stats
) -> None:
    chat = terminal("slow/instant", "--url", chat_relay.url)
    chat.until("slow/instant at http://127.0.0.1:")
    chat.until("> ")
    chat.type("Tell me of the sea\r")
    chat.until(r"TTFT \d+ ms")
    for _ in range(5):  # a token every 20 ms: what is shown late would come in one read
        assert chat.read(5.0)
    assert stats()["active"] == 1
    chat.type("\x03")
    chat.until(r"stopped · TTFT \d+ ms · ~?\d+ tokens/s · ~?\d+ tokens")
    now = wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))
    written = now["tokens"]
    chat.until("> ")
    assert now["tokens_after_leave"] <= 50  # a second's worth: the bound is for slow machines
    chat.type("again\r")  # the conversation goes on
    chat.until(r"TTFT \d+ ms")
    assert stats()["tokens"] > written
    chat.type("\x03")
    chat.until("stopped")
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (2, 0))
    chat.until("> ")
    assert chat.leave() == 0


def test_a_second_ctrl_c_leaves_although_the_relay_does_not_answer_the_first(
    terminal: Start, started: Start, config: Callable[[str], str], chat_config: str, stats: Stats
) -> None:
    relay = started("serve", "--config", config(chat_config), "--port", "0")
    chat = terminal("slow/instant", "--url", relay.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"TTFT \d+ ms")
    relay.popen.send_signal(signal.SIGSTOP)
    chat.type("\x03")
    chat.until("stopping")
    chat.type("\x03")
    assert chat.end() == 130
    relay.popen.send_signal(signal.SIGCONT)
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


def test_before_the_first_token_too(terminal: Start, chat_relay: Running, stats: Stats) -> None:
    chat = terminal("sim/fault-stall-first", "--url", chat_relay.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"0\.\d s without a token")
    wait_for(stats, lambda now: now["active"] == 1)
    chat.type("\x03")
    chat.until(r"stopped · \d+\.\d s without a token")
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))
    chat.until("> ")
    assert chat.leave() == 0


def test_what_is_typed_is_not_lost_and_ctrl_c_clears_it(terminal: Start, chat_relay: Running) -> None:
    chat = terminal("--url", chat_relay.url)
    chat.until("no model was named: asking parrot")
    chat.until("> ")
    chat.type("half a quest")
    chat.until("half a quest")
    chat.interrupt()
    chat.until("> ")
    chat.type('"""two\rlines"""\r')
    chat.until(r"two\r\n  lines.*two\x1b.*lines")
    chat.until(r"token")
    chat.type("/quit\r")
    assert chat.end() == 0


def test_what_is_typed_while_an_answer_comes_waits_for_the_prompt(terminal: Start, chat_relay: Running) -> None:
    chat = terminal("sim/gpt-4o", "--url", chat_relay.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"TTFT \d+ ms")
    chat.type("/model parrot\r")
    answer = chat.until(r"^(.*)\d+ tokens/s · \d+ tokens\b")[1]
    assert "parrot" not in answer
    chat.until("the model is parrot")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0


def test_the_commands(terminal: Start, chat_relay: Running) -> None:
    chat = terminal("parrot", "--url", chat_relay.url, NO_COLOR="1")
    chat.until("> ")
    for line, said in {
        "/help": "Ctrl-C stops an answer",
        "/models": r"parrot +sim/echo",
        "/model": "the model is parrot",
        "/model sim/eco": "does not list; it lists sim/echo",
        "/model sim/echo": r"the model is sim/echo\x1b",
        "/system Speak low.": "the system prompt is set",
        "/system": "there is no system prompt",
        "/new": "forgotten",
        "/modles": "did you mean /model",
        "/xyzzy": "/help lists them",
        "//etc": r"//etc.*/etc",
    }.items():
        chat.type(line + "\r")
        chat.until(said)
        chat.until("> ")
    assert "\x1b[31" not in chat.shown
    chat.type("/exit\r")
    assert chat.end() == 0


def words(shown: str) -> list[str]:
    """What is left on the terminal: without the status lines, which are drawn and erased, and without styles."""
    return re.sub(r"\x1bD\x1b\[A\x1b7.*?\x1b8|\x1b\[[0-9;]*[Jm]", "", shown).split()


def test_resuming_shows_the_same_text(terminal: Start, tokenwire: Start, chat_relay: Running, ask: Ask) -> None:
    """On a terminal while it is still being written, once more afterwards, and in a pipe."""
    stream = ask(f"{chat_relay.url}/v1/streams", STREAM)["id"]
    for _ in range(2):
        chat = terminal("--resume", stream, "--url", chat_relay.url)
        text = chat.until(r"^(.*)TTFT \d+ ms · \d+ tokens/s · \d+ tokens\b")[1]
        chat.until("what you ask now goes to sim/gpt-4o, with this answer")
        chat.until("> ")
        chat.type("\x04")
        assert chat.end() == 0
        plain = tokenwire("chat", "--resume", stream, "--url", chat_relay.url)
        assert plain.code == 0
        assert len(plain.out) > 500
        assert words(text) == plain.out.split()


def test_a_relay_that_dies_and_comes_back_without_its_streams_is_a_clear_end(
    terminal: Start, started: Start, config: Callable[[str], str], chat_config: str
) -> None:
    """The store is its memory: the stream is gone, and the user is told; the next question is answered."""
    path = config(chat_config)
    first = started("serve", "--config", path, "--port", "0")
    chat = terminal("slow/instant", "--url", first.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"TTFT \d+ ms")
    first.popen.kill()
    chat.until("connection lost")
    started("serve", "--config", path, "--port", first.url.rpartition(":")[2])
    chat.until("the relay does not have this stream")
    chat.until("> ")
    chat.type("/model parrot\r")
    chat.until("> ")
    chat.type("are you back?\r")
    chat.until(r"are you back\?.*are you back\?")
    chat.until("> ")
    chat.type("\x04")
    assert chat.end() == 0


def test_ctrl_c_leaves_a_relay_that_is_gone(
    terminal: Start, started: Start, config: Callable[[str], str], chat_config: str
) -> None:
    relay = started("serve", "--config", config(chat_config), "--port", "0")
    chat = terminal("slow/instant", "--url", relay.url)
    chat.until("> ")
    chat.type("hi\r")
    chat.until(r"TTFT \d+ ms")
    relay.popen.kill()
    chat.until("connection lost")
    chat.type("\x03")
    chat.until("stopped · .*the relay could not be told: .*Connection refused")
    chat.until("> ")
    chat.type("anybody there?\r")
    chat.until("cannot be reached: connect failed: Connection refused")
    chat.until("> ")
    assert chat.leave() == 0


def gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("how", ["Ctrl-D", "kill"])
def test_without_a_relay_it_has_one_of_its_own(terminal: Start, nobody: str, how: str) -> None:
    chat = terminal("sim/echo", usual=nobody)
    chat.until(rf"no relay at {nobody}; this chat has one of its own at http://\S+ \(upstreams: sim\)")
    chat.until("> ")
    chat.type("hello\r")
    chat.until(r"hello.*hello")
    (relay,) = Path(f"/proc/{chat.popen.pid}/task/{chat.popen.pid}/children").read_text().split()
    if how == "kill":
        chat.popen.kill()
    else:
        chat.until("> ")
        chat.type("\x04")
    assert chat.end() == (0 if how == "Ctrl-D" else -9)
    wait_for(lambda: gone(relay))
