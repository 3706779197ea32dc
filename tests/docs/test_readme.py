"""Every block of the README that is marked ``<!-- run: NAME -->`` runs, against a relay that was started as it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import programs

from tokenwire.gateway.settings import from_mapping

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", README, re.DOTALL))


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    """``tokenwire serve`` without settings; its address."""
    environ = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenwire", "serve", "--port", "0"], stdout=subprocess.PIPE, env=environ, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match is not None, line
        yield match.group(0)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def at(block: str, address: str) -> str:
    text: str = BLOCKS[block]
    return text.replace("http://127.0.0.1:8787", address)


def test_the_readme_has_the_blocks_that_are_tested() -> None:
    assert set(BLOCKS) == {"sdk", "curl", "plain", "toml"}


def test_the_sdk_block_prints_an_answer(relay: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(at("sdk", relay), "README.md", "exec"), {})
    assert len(out.getvalue().split()) > 20


def test_the_curl_block_starts_follows_and_resumes(relay: str) -> None:
    programs.program("curl")
    start, _, rest = at("curl", relay).partition("# {")
    begun = json.loads(subprocess.run(["sh", "-c", start], capture_output=True, check=True).stdout)
    follow, resume = [line.replace("st_…", begun["id"]) for line in rest.splitlines() if line.startswith("curl")]
    whole = subprocess.run(["sh", "-c", follow], capture_output=True, check=True).stdout.decode()
    again = subprocess.run(["sh", "-c", resume], capture_output=True, check=True).stdout.decode()
    assert "event: done" in whole
    # The priming id is the reader's own; after it comes exactly what the first reader had after that event, but for
    # estimates: those are told while it grows, and may have that event's id.
    log = re.sub(r"event: usage\ndata: [^\n]*\"estimated\":true}\nid: 1-[0-9]+\n\n", "", whole)
    assert again == "id: 1-17\n\n" + log.partition("id: 1-17\n\n")[2]


def test_the_plain_block_prints_text_and_its_end(relay: str) -> None:
    programs.program("curl")
    said = subprocess.run(["sh", "-c", at("plain", relay)], capture_output=True, check=True).stdout.decode()
    *events, end = [line.removeprefix("data: ") for line in said.split("\n\n")[:-1]]
    assert len("".join(json.loads(event)["text"] for event in events).split()) > 20
    assert end == "[DONE]"


def test_the_toml_block_is_a_valid_configuration() -> None:
    settings = from_mapping(tomllib.loads(BLOCKS["toml"]), {})
    assert settings.models["smart"].route == ["local/llama", "spare/llama"]
