"""In which dialect a model is asked, and how it is asked to think."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.cli.chat_requests import Conversation, Turn, anthropic, openai_chat
from tokenwire.errors import RelayRefused, RelayUnreachable
from tokenwire.testing.processes import Running

GONE = RelayUnreachable("http://x", "connect failed")
BOTH = ["openai.chat", "anthropic"]


class Relay:
    """A client that lists *listed*, and refuses what is not in *spoken*. *asked*: the dialects of the questions."""

    def __init__(self, listed: dict[str, list[str]] | Exception, spoken: list[str]) -> None:
        self.listed = listed
        self.lists = 0
        self.asked: list[str] = []
        self._spoken = spoken

    async def dialects(self) -> dict[str, list[str]]:
        self.lists += 1
        if isinstance(self.listed, Exception):
            raise self.listed
        return self.listed

    async def start(self, body: Any, *, dialect: str, session: str) -> str:
        self.asked.append(dialect)
        if dialect not in self._spoken:
            raise RelayRefused(400, "unsupported_dialect", f"ask for it in {self._spoken[0]}")
        return "st_1"


@pytest.mark.parametrize(
    ("model", "listed", "spoken", "asked", "lists"),
    [
        ("up/claude", {"up/claude": BOTH}, BOTH, ["anthropic", "anthropic"], 1),
        ("up/Claude", {"up/Claude": ["anthropic"]}, ["anthropic"], ["anthropic", "anthropic"], 1),
        ("up/claude", {"up/claude": ["openai.chat"]}, BOTH, ["openai.chat", "openai.chat"], 1),
        ("up/claude", {"up/claude": []}, ["anthropic"], ["openai.chat", "anthropic", "anthropic"], 1),
        ("up/claude", {}, BOTH, ["openai.chat", "openai.chat"], 2),  # its provider may list it yet
        ("up/claude", GONE, ["anthropic"], ["openai.chat", "anthropic", "anthropic"], 1),
        ("up/gpt", {}, BOTH, ["openai.chat", "openai.chat"], 0),
    ],
)
def test_the_dialect_that_suits_is_asked_first(
    model: str, listed: Any, spoken: list[str], asked: list[str], lists: int
) -> None:
    async def main() -> None:
        relay, talk = Relay(listed, spoken), Conversation(model, "s")
        for _ in range(2):
            await talk.start(relay)  # type: ignore[arg-type]
        assert (relay.asked, relay.lists) == (asked, lists)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("listed", "asked"),
    [(["anthropic", "openai.chat"], "anthropic"), (["gemini", "openai.chat"], "openai.chat"), (["x"], "openai.chat")],
)
def test_what_is_known_already_is_used(listed: list[str], asked: str) -> None:
    async def main() -> None:
        relay, talk = Relay({}, BOTH), Conversation("up/m", "s")
        talk.dialects["up/m"] = listed
        await talk.start(relay)  # type: ignore[arg-type]
        assert (relay.asked, relay.lists) == ([asked], 0)

    asyncio.run(main())


def test_bodies_that_ask_for_thinking() -> None:
    talk = Conversation("up/m", "s")
    talk.turns.append(Turn("user", "Why?"))
    assert "reasoning_effort" not in openai_chat(talk)
    assert "thinking" not in anthropic(talk)
    talk.think = True
    assert openai_chat(talk)["reasoning_effort"] == "medium"
    body = anthropic(talk)
    assert body["thinking"]["type"] == "enabled"
    assert body["max_tokens"] > body["thinking"]["budget_tokens"] >= 1024


def test_thinking_that_was_asked_for_is_shown(
    terminal: Callable[..., Any], started: Callable[..., Any], chat_simulator: Running, config: Callable[[str], str]
) -> None:
    toml = (
        f'[upstreams.up]\nbase_url = "{chat_simulator.url}/v1"\nmodels = ["claude-sonnet-4-6"]\ndialect = "anthropic"\n'
    )
    relay = started("serve", "--port", "0", "--config", config(toml))
    chat = terminal("up/claude-sonnet-4-6", "--think", "--url", relay.url)
    chat.until("> ")
    chat.type("Why?\r")
    dimmed = r"\x1b\[2;3m"
    chat.until(dimmed)
    chat.type("\x03")
    chat.until("stopped")
    chat.until("> ")
    chat.type("/think\r")
    chat.until("models are not asked to think any more")
    chat.type("Why?\r")
    whole = chat.until(r"^(.*\d+ tokens/s · \d+ tokens\b)")[1]
    assert re.search(dimmed, whole) is None
    chat.until("> ")
    chat.type("/think\r")
    chat.until("models are asked to think")
    chat.until("> ")
    chat.type("\x04")  # at a prompt: between two of them the terminal itself would take it
    assert chat.end() == 0
