"""The AI SDK, ai 5, 6 and 7 unmodified, as a reader of what our encoders write."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.clients import nodes
from tests.clients.bodies import Answer, serving, streamed
from tests.dialects.client_dialects import body_of, deltas_of, fold_of, joined, recorded

from tokenwire.dialects.ui_messages.dialect import VERSIONS

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def ask() -> Ask:
    """ask(url, case, version, input) -> what ui-messages.mjs makes of it."""

    def run(url: str, case: str, version: int, given: Any) -> Any:
        with nodes.running("ui-messages.mjs", str(version)) as process:
            return process.value(url, case, given=given)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_whoever_joins_at_any_event_ends_with_the_same_message(ask: Ask, version: int) -> None:
    dialect = VERSIONS[version]
    answers: dict[str, Answer] = {}
    places: list[tuple[str, int]] = []
    for case in recorded():
        deltas = deltas_of(case)
        for at in range(len(deltas) + 1):
            body = joined(dialect, deltas, at) if at else body_of(dialect, deltas)
            answers[f"/api/chat/{len(places)}/stream"] = streamed(dialect, body)
            places.append((case, at))
    with serving(answers) as server:
        found = ask(server.url, "fold", version, [str(number) for number in range(len(places))])
    whole: dict[str, Any] = {}
    for (case, at), seen in zip(places, found, strict=True):
        assert seen == whole.setdefault(case, seen), (case, at)
    for case, seen in whole.items():
        check(case, version, seen)


def check(case: str, version: int, seen: Any) -> None:
    """What the client has at the end is what was said."""
    deltas = deltas_of(case)
    fold = fold_of(deltas)
    parts = seen["message"]["parts"]
    choice = fold.choice()

    def text(kind: str) -> str:
        return "".join(part["text"] for part in parts if part["type"] == kind)

    assert text("text") == "".join(s.text for s in choice.segments() if s.kind in ("text", "refusal"))
    assert text("reasoning") == choice.reasoning
    calls = [part for part in parts if part["type"].startswith("tool-")]
    assert [(part["toolCallId"], part["type"]) for part in calls] == [
        (call.id, f"tool-{call.name}") for call in choice.tool_calls.values()
    ]
    for part, call in zip(calls, choice.tool_calls.values(), strict=True):
        assert (part["state"] == "input-available") == call.ended
        if call.ended:
            assert part["input"] == json.loads(call.arguments)
    assert [part["providerMetadata"]["tokenwire"]["citation"] for part in parts if "source" in part["type"]] == [
        citation.data for citation in choice.citations
    ]
    metadata = seen["message"].get("metadata", {})
    assert ("usage" in metadata) == (fold.usage is not None)
    assert seen["errors"] == ([] if fold.failed is None else [fold.failed.message])
    if fold.failed is None:
        answer = json.loads(VERSIONS[version].fold_response(fold, "st_1", 1.0, "m"))
        raw = [part.pop("rawInput", None) for part in [*answer["parts"], *parts]]
        assert len(raw) == len(answer["parts"]) + len(parts)
        for part in parts:
            if part["type"] == "reasoning":
                part.pop("id", None)  # ai 5 and 7 keep it
        assert answer == seen["message"]


def test_no_active_stream_is_204(ask: Ask) -> None:
    with serving({}) as server:
        assert ask(server.url, "fold", 5, ["x"]) == [None]
