"""AG-UI's own client, with its verifier, as a reader of what our encoder writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.bodies import Answer, serving, streamed
from tests.dialects.client_dialects import body_of, deltas_of, fold_of, joined, recorded

from tokenwire.dialects.agui.dialect import DIALECT

SCRIPTS = Path(__file__).parent / "node"
Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def ask(node_program: str, missing: Callable[[str], None]) -> Ask:
    """ask(url, jobs) -> what agui.mjs prints of each; it may not warn."""
    if not (SCRIPTS / "node_modules" / "@ag-ui").is_dir():
        missing("no npm clients: run .ci/node-packages")

    def run(url: str, jobs: list[dict[str, Any]]) -> Any:
        command = [node_program, str(SCRIPTS / "agui.mjs"), url]
        done = subprocess.run(command, input=json.dumps(jobs).encode(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        printed = json.loads(done.stdout)
        assert printed["warnings"] == []
        return printed["runs"]

    return run


@pytest.mark.slow
def test_whoever_joins_at_any_event_ends_with_the_same_messages(ask: Ask) -> None:
    answers: dict[str, Answer] = {}
    places: list[tuple[str, int]] = []
    for case in recorded():
        deltas = deltas_of(case)
        for at in range(len(deltas) + 1):
            body = joined(DIALECT, deltas, at) if at else body_of(DIALECT, deltas)
            answers[f"/{len(places)}"] = streamed(DIALECT, body)
            places.append((case, at))
    with serving(answers) as server:
        found = ask(server.url, [{"path": f"/{number}"} for number in range(len(places))])
    whole: dict[str, Any] = {}
    for (case, at), seen in zip(places, found, strict=True):
        assert seen == whole.setdefault(case, seen), (case, at)
    for case, seen in whole.items():
        check(case, seen)


def check(case: str, seen: Any) -> None:
    """What the client has at the end is what was said."""
    fold = fold_of(deltas_of(case))
    choice = fold.choice()

    def text(role: str) -> str:
        return "".join(message.get("content", "") for message in seen["messages"] if message["role"] == role)

    assert text("assistant") == "".join(s.text for s in choice.segments() if s.kind in ("text", "refusal"))
    assert text("reasoning") == choice.reasoning
    assert [(call[0], call[1], call[2]) for call in seen["calls"]] == [
        (call.id, call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls.values() if call.ended
    ]
    assert [value for name, value in seen["custom"] if name == "citation"] == [c.data for c in choice.citations]
    assert len(seen["ends"]) == 1
    assert ("usage" in seen["ends"][0]) == (fold.usage is not None)
    if fold.failed is None:
        assert (seen["error"], seen["ends"][0]["type"]) == (None, "RUN_FINISHED")
        assert json.loads(DIALECT.fold_response(fold, "st_1", 1.0, "m"))["messages"] == seen["messages"]
    else:
        assert seen["ends"][0]["code"] == fold.failed.code
