"""Each client on the recorded streams of its own vendor, without a relay: what the drivers read is what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.clients.matrix.driver import Client, Kind
from tests.clients.matrix.everyone import CLIENTS
from tests.clients.matrix.outcome import Outcome
from tests.clients.matrix.player import FOLDERS, expected, playing, recordings
from tests.clients.matrix.tasks import THINKING

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Received unexpected tool content block"),  # langchain-anthropic, of `caller`
]

#: Recordings of several answers at once, which no client of the matrix asks for.
LEFT_OUT = frozenset({"multiple-choices"})
VENDORS = [kind for kind in CLIENTS if kind.dialect in FOLDERS]


@pytest.fixture(scope="module")
def player() -> Iterator[str]:
    with playing() as url:
        yield url


@pytest.fixture(scope="module", params=VENDORS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def client(kind: Kind, player: str) -> Iterator[Client]:
    with closing(kind.make(player)) as made:
        yield made


@pytest.mark.untraced
def test_what_is_recorded_is_read(kind: Kind, client: Client) -> None:
    wrong = {}
    for case in recordings(kind.dialect):
        if case not in LEFT_OUT:
            found = _differences(kind, client.ask(THINKING, case), case)
            if found:
                wrong[case] = found
    assert not wrong


def _differences(kind: Kind, outcome: Outcome, case: str) -> dict[str, object]:
    said = expected(kind.dialect, case)
    wanted = {
        "text": said["text"] or "",
        "reasoning": said["reasoning"] or "",
        "refusal": said["refusal"] or (said.get("stop_details") or {}).get("explanation", ""),
        "calls": [(call["name"], call["arguments"]) for call in said["tool_calls"]],
        "failed": not said["complete"],
    }
    seen = {
        "text": outcome.text,
        "reasoning": outcome.reasoning,
        "refusal": outcome.refusal,
        "calls": [tuple(call) for call in outcome.calls],
        "failed": outcome.error is not None,
    }
    return {
        name: (seen[name], wanted[name])
        for name in wanted
        if seen[name] != wanted[name] and name not in kind.blind and (name, case) not in kind.misses
    }
