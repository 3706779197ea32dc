"""Each fault of the simulator through a relay: what the client saw, how soon, and that it was never lied to.

With ``TOKENWIRE_WRITE_FAULTS=1`` in the environment the outcomes are written to ``docs/faults.md``, a table for each
vendor whose dialect the relay has.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tokenwire.simulator.faults import FAULTS, TABLE, Spec
from tokenwire.simulator.texts import pick
from tokenwire.testing.processes import Running, running_relay, running_simulator

#: Seconds, all deadlines of the relay alike; an answer that takes longer than ``TOTAL`` has hung.
DEADLINE = 0.4
TOTAL = 6.0
CONFIG = """
[upstreams.sim]
base_url = "{simulator}/v1"
dialect = "{dialect}"
models = []
deadlines = {{ headers = {deadline}, first_token = {deadline}, between_tokens = {deadline}, total = 3.0 }}
"""
PROMPT = "a week in emoji"
TOOL_PROMPT = "weather in Oslo"
#: Numbers that fit the deadlines above.
NUMBERS = {"slow-head": "-100", "slow-first": "-100", "slow-headers": "-0"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True)
class Vendor:
    """How one vendor is asked, and how its answers are read.

    Attributes:
        text: (whole object or event) -> the text in it.
        done: the data of the last event of a whole stream.
        reason: (whole object or event) -> why it stopped, None if it does not say.
    """

    name: str
    dialect: str
    path: str
    headers: dict[str, str]
    body: Callable[[str, bool], dict[str, Any]]
    text: Callable[[Any], str]
    done: Callable[[str], bool]
    reason: Callable[[Any], str | None]


def _openai_body(prompt: str, tools: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    return body


def _openai_text(event: Any) -> str:
    choices = event.get("choices") or [{}]
    return str((choices[0].get("delta") or choices[0].get("message") or {}).get("content") or "")


def _anthropic_body(prompt: str, tools: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"max_tokens": 4096, "messages": [{"role": "user", "content": prompt}]}
    if tools:
        body["tools"] = [{"name": "get_weather", "input_schema": SCHEMA}]
    return body


def _anthropic_text(event: Any) -> str:
    if "content" in event:
        return "".join(block.get("text", "") for block in event["content"])
    return str(event.get("delta", {}).get("text", ""))


VENDORS = {
    "openai": Vendor(
        "OpenAI", "openai.chat", "/v1/chat/completions", {}, _openai_body, _openai_text,
        lambda data: data == "[DONE]", lambda event: (event.get("choices") or [{}])[0].get("finish_reason"),
    ),
    "anthropic": Vendor(
        "Anthropic", "anthropic", "/v1/messages", {"anthropic-version": "2023-06-01", "x-api-key": "any"},
        _anthropic_body, _anthropic_text, lambda data: data.startswith('{"type":"message_stop"'),
        lambda event: event.get("stop_reason") or event.get("delta", {}).get("stop_reason"),
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What a client saw of an answer: text, the error if one came, and seconds to the first and the last byte.

    ``part``: it ended as if it were whole, and was not.
    """

    status: int
    text: str = ""
    complete: bool = False
    part: bool = False
    error: str | None = None
    first: float = 0.0
    last: float = 0.0

    @property
    def told(self) -> str:
        if self.complete:
            return "a part, ended as if it were the whole" if self.part else "the whole answer"
        if self.error is None:
            return "an end without a word"
        where = f"HTTP {self.status}" if self.status >= 400 else "an error event"
        after = " after some text" if self.text else ""
        return f"{where}{after}: {self.error}"


def ask(relay: Running, vendor: Vendor, fault: Spec, stream: bool) -> Outcome:
    """One answer with *fault*, to its end."""
    tools = fault.name == "cut-tool"
    body = vendor.body(TOOL_PROMPT if tools else PROMPT, tools)
    body |= {"model": f"sim/fault-{fault.name}{NUMBERS.get(fault.name, '')}", "stream": stream}
    connection = http.client.HTTPConnection(urlsplit(relay.url).netloc, timeout=TOTAL)
    begun = time.perf_counter()
    try:
        connection.request(
            "POST", vendor.path, json.dumps(body), {"content-type": "application/json", **vendor.headers}
        )
        response = connection.getresponse()
        outcome = Outcome(response.status, first=time.perf_counter() - begun)
        raw = response.read()
    finally:
        connection.close()
    outcome.last = time.perf_counter() - begun
    if stream and response.status == 200:
        _read_stream(outcome, vendor, raw.decode())
    else:
        _read_whole(outcome, vendor, json.loads(raw))
    outcome.part = outcome.complete and not tools and outcome.text != pick(PROMPT).body
    return outcome


def _read_stream(outcome: Outcome, vendor: Vendor, raw: str) -> None:
    ended = False  # by a reason, or by the end marker: some providers send only one of the two
    for line in raw.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or outcome.error:
            continue
        if vendor.done(data):
            ended = True
            break
        event = json.loads(data)
        if event.get("error"):
            outcome.error = _said(event["error"])
            continue
        outcome.text += vendor.text(event)
        ended = ended or vendor.reason(event) is not None
    outcome.text = outcome.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves that were joined
    outcome.complete = ended and outcome.error is None


def _read_whole(outcome: Outcome, vendor: Vendor, body: Any) -> None:
    if body.get("error"):
        outcome.error = _said(body["error"])
        return
    outcome.text = vendor.text(body)
    outcome.complete = vendor.reason(body) is not None


def _said(error: Any) -> str:
    return str(error.get("code") or error.get("type"))


Table = dict[tuple[str, bool], Outcome]


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture(scope="module")
def outcomes(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """(fault, stream) -> what was seen. A few at a time, for some wait for seconds: more would measure this machine."""
    folder = tmp_path_factory.mktemp(vendor.name)
    with running_simulator(folder) as simulator:
        config = CONFIG.format(simulator=simulator.url, dialect=vendor.dialect, deadline=DEADLINE)
        with running_relay(config, folder) as relay:
            cases = [(fault, stream) for fault in TABLE for stream in (True, False) if fault.name != "stale"]
            with ThreadPoolExecutor(6) as pool:
                found = list(pool.map(lambda case: ask(relay, vendor, *case), cases))
            table = {(fault.name, stream): outcome for (fault, stream), outcome in zip(cases, found, strict=True)}
            for stream in (True, False):  # it strikes the next request, which must be no other test's
                ask(relay, vendor, FAULTS["stale"], stream)
                table["stale", stream] = ask(relay, vendor, FAULTS["stale"], stream)
    yield table
    if os.environ.get("TOKENWIRE_WRITE_FAULTS"):
        write(vendor, table)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_a_client_is_never_lied_to(outcomes: Table, fault: Spec, stream: bool) -> None:
    outcome = outcomes[fault.name, stream]
    honest = pick(PROMPT).body
    assert outcome.last < TOTAL
    # Complete, or an error: never an end without a word, and never a part that looks like the whole.
    assert outcome.complete is (outcome.error is None)
    if fault.name != "cut-tool":
        assert honest.startswith(outcome.text)
    if fault.name not in ("cut-tool", "done-only"):  # done-only: the provider itself said that this was all
        assert not outcome.part
    if not fault.flawed:
        assert outcome.complete, outcome
    if outcome.status >= 400:
        assert outcome.text == ""
        assert outcome.first >= 0


# The page

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
_OPENING = f"""\
# Faults

What a client of the relay sees of each fault that `tokenwire simulate` can make (`tokenwire simulate --faults` lists
them), and how soon. Written by `TOKENWIRE_WRITE_FAULTS=1 python -m pytest tests/clients/test_faults_table.py`; do not
edit. All deadlines of the relay were {DEADLINE} s, and 3 s for all of an answer. "At once" is less than 0.1 s. `stale`
is what the second request on the connection saw.
"""


def soon(seconds: float) -> str:
    """How long, in words that the next run will use as well."""
    return "at once" if seconds < 0.1 else f"{seconds:.1f} s"


def section(vendor: Vendor, table: Table) -> str:
    """A vendor's part of the page."""
    lines = [
        f"## {vendor.name}",
        "",
        "| fault | where | what happens | the client of a stream sees | how soon | and of a whole answer | how soon |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in TABLE:
        stream, whole = table[spec.name, True], table[spec.name, False]
        cells = [f"`{spec.name}`", spec.phase, spec.what, stream.told, soon(stream.last), whole.told, soon(whole.last)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(sections: dict[str, str]) -> str:
    """The whole page: *sections* by vendor's name."""
    return "\n".join([_OPENING, *(sections[name] for name in sorted(sections, reverse=True))])


def write(vendor: Vendor, table: Table) -> None:
    """Put the vendor's section on the page; those of other vendors stay."""
    sections = {}
    for part in (DOCS.read_text("utf-8") if DOCS.exists() else "").split("\n## ")[1:]:
        sections[part.partition("\n")[0]] = f"## {part.rstrip()}\n"
    sections[vendor.name] = section(vendor, table)
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(page(sections), "utf-8")


def untimed(text: str) -> list[list[str]]:
    """The rows of a section, without how soon: that differs from run to run."""
    rows = [line.split(" | ") for line in text.split("\n") if line.startswith("| `")]
    return [row[:4] + row[5:6] for row in rows]


@pytest.mark.slow
def test_the_page_says_what_is_seen(outcomes: Table, vendor: Vendor) -> None:
    written = DOCS.read_text("utf-8").partition(f"\n## {vendor.name}\n")[2].partition("\n## ")[0]
    assert untimed(written) == untimed(section(vendor, outcomes)), "write it anew: see the page's first lines"


def test_the_page_is_made_of_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "DOCS", tmp_path / "d" / "f.md")
    outcome = Outcome(200, "some", error="truncated", last=0.45)
    table = {(spec.name, stream): outcome for spec in TABLE for stream in (True, False)}
    for vendor in VENDORS.values():
        write(vendor, table)
    write(VENDORS["openai"], {**table, ("cut", True): Outcome(200, "all", complete=True)})
    text = (tmp_path / "d" / "f.md").read_text("utf-8")
    assert [line for line in text.split("\n") if line.startswith("#")] == ["# Faults", "## OpenAI", "## Anthropic"]
    assert text.count("\n| `") == 2 * len(TABLE)
    assert "| the whole answer | at once | an error event after some text: truncated | 0.5 s |" in text
    assert Outcome(503, error="x").told == "HTTP 503: x"
    assert Outcome(200).told == "an end without a word"
