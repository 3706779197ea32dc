"""What the README's blocks print is what it says that they do. `test_pages` runs them with all others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from tests.docs import pages
from tests.docs.backdrop import Backdrop
from tests.docs.conftest import Ran


@pytest.fixture
def printed(ran: Callable[[str], Ran]) -> dict[str, str]:
    """What the blocks that have names printed."""
    return {block.note: output for block, output in ran("README.md") if block.mark == "run"}


def test_the_library_blocks_print_what_they_say(printed: dict[str, str]) -> None:
    assert len(printed["three"].split()) > 100
    figures = printed["figures"].removeprefix(printed["three"])
    assert figures.startswith("\n234 tokens, None dollars, the first after ")
    first, *_, last = printed["value"].splitlines()
    assert "days=None" in first
    assert re.search(r"days=\d+ sights=\['", last)
    assert "4 degrees in Oslo" in printed["tools"]
    assert "4 degrees in Rome" in printed["tools"]


def test_the_app_block_answers_in_the_words_of_use_chat(printed: dict[str, str]) -> None:
    *parts, end = [line.removeprefix("data: ") for line in printed["app"].splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    said = [json.loads(part) for part in parts]
    assert "".join(part["delta"] for part in said if part["type"] == "text-delta") == printed["three"]


def test_the_sdk_block_prints_an_answer(printed: dict[str, str]) -> None:
    assert len(printed["sdk"].split()) > 20


def test_the_curl_block_starts_follows_and_resumes(printed: dict[str, str]) -> None:
    started, _, followed = printed["curl"].partition("}")
    assert json.loads(started + "}")["state"] == "connecting"
    # The priming id is the reader's own. After it comes the rest; in how many pieces depends on who is behind.
    whole, _, again = followed.rpartition("id: 1-17\n\n")
    assert "event: done" in whole
    text, end = told(whole)
    rest, same = told(again)
    assert end == same
    assert len(text) > len(rest) > 0
    assert text.endswith(rest)


def told(events: str) -> tuple[str, str]:
    """The text of native events, and how they end."""
    pieces = re.findall(r"event: text\ndata: ([^\n]*)\n", events)
    return "".join(json.loads(piece)["t"] for piece in pieces), events.partition("event: done")[2].strip()


def test_the_plain_block_prints_text_and_its_end(printed: dict[str, str]) -> None:
    *events, end = [line.removeprefix("data: ") for line in printed["plain"].split("\n\n")[:-1]]
    assert len("".join(json.loads(event)["text"] for event in events).split()) > 20
    assert end == "[DONE]"


def test_the_readme_does_not_depend_on_the_tests_relay(backdrop: Backdrop) -> None:
    """The address that is replaced is the one that `tokenwire serve` has."""
    from tokenwire.gateway.settings import ServerSettings

    settings = ServerSettings()
    text = "".join(block.text for block in pages.blocks("README.md"))
    assert f"http://{settings.host}:{settings.port}" in text
    assert backdrop.relay not in text
