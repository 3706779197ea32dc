"""One cell of the matrix: a client, an upstream, a scenario; what the client got, held to what the provider said.

What differs must have been declared: by the client's dialect (``Dialect.loses``, ``Dialect.reasons``), by the table of
the upstream's (``Prompts.table``), or by the client, which may be blind to what it is sent. Everything else is a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from tests.clients.matrix.driver import Client, Kind
from tests.clients.matrix.outcome import Outcome
from tests.clients.matrix.said import VENDORS, recorded, say
from tests.clients.matrix.tasks import RESULTS, STRUCTURED, TEXT, THINKING, TOOLS, WHOLE, Task
from tests.clients.matrix.world import UPSTREAMS, World

from tokenwire import dialects
from tokenwire.dialects.prompt.fit import translate
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.errors import RequestRefused
from tokenwire.simulator.texts import pick

Scenario = Literal["text", "tools", "thinking", "structured output", "refusal", "usage", "whole", "error"]
SCENARIOS: Final[tuple[Scenario, ...]] = Scenario.__args__  # type: ignore[attr-defined]

#: After so many tokens the provider fails.
_FAILS_AFTER: Final = 5


@dataclass
class Cell:
    """What became of a scenario.

    Attributes:
        faults: differences that nobody declared; none in a good cell.
        notes: what was declared and took effect.
        carried: whether there was something to compare at all.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    carried: bool = True

    def expect(self, what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            self.faults.append(f"{what}: {_short(seen)}, not {_short(wanted)}")

    def note(self, why: str) -> None:
        if why not in self.notes:
            self.notes.append(why)

    def nothing(self, why: str) -> Cell:
        """There is nothing to compare, and why."""
        self.carried = False
        self.note(why)
        return self


class Matrix:
    """The cells, by client, dialect of the upstream and scenario; each is found out once."""

    def __init__(self, world: World, client: Callable[[Kind], Client], asked: Callable[[Kind, Task], bytes]) -> None:
        self._world = world
        self._client = client
        self._asked = asked
        self._cells: dict[tuple[str, str, Scenario], Cell] = {}
        self._answers: dict[tuple[str, str, Task], Outcome] = {}
        self._said: dict[tuple[str, Task], Outcome] = {}

    def cell(self, kind: Kind, upstream: str, scenario: Scenario) -> Cell:
        """*upstream* is the name of its dialect."""
        key = (kind.name, upstream, scenario)
        if key not in self._cells:
            self._cells[key] = _JUDGES[scenario](self, kind, upstream, Cell())
        return self._cells[key]

    def answer(self, kind: Kind, upstream: str, task: Task) -> Outcome:
        """What the client got through the relay; it is asked once."""
        key = (kind.name, upstream, task)
        if key not in self._answers:
            self._answers[key] = self._client(kind).ask(task, f"{UPSTREAMS[upstream]}/instant")
        return self._answers[key]

    def said(self, upstream: str, task: Task) -> Outcome:
        """What the provider says."""
        if (upstream, task) not in self._said:
            self._said[upstream, task] = say(self._world.simulator, upstream, task, "instant")
        return self._said[upstream, task]

    def _refused(self, cell: Cell, kind: Kind, upstream: str, task: Task, outcome: Outcome) -> bool:
        """Whether the relay declares that this cannot be asked, and the client was told so. What it declares to have
        left out, or said in another way, is noted."""
        if kind.dialect == upstream:
            return False
        body = self._asked(kind, task)
        request = GenerateRequest("any", True, True, msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        source = dialects.prompts(kind.dialect)
        try:
            notes = translate(request, source, dialects.prompts(upstream), upstream, "instant").notes
        except RequestRefused as refusal:
            cell.nothing(f"400: {refusal}")
            cell.expect("status", outcome.error and outcome.error.status, 400)
            if outcome.error is not None and str(refusal) not in outcome.error.message:
                cell.faults.append(f"the error says {outcome.error.message!r}")
            return True
        for note in notes:
            cell.note(str(note))
        prompt = source.read(request)
        if (task.thinking and prompt.reasoning is None) or (task.schema and prompt.output is None):
            cell.nothing("its requests have no word for it")
            cell.expect("error", outcome.error, None)
            return True
        return False

    def text(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        outcome, said = self.answer(kind, upstream, TEXT), self.said(upstream, TEXT)
        return _compare(cell, kind, outcome, said)

    def whole(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        if "whole" not in kind.forms:
            return cell.nothing("it only streams")
        outcome, said = self.answer(kind, upstream, WHOLE), self.said(upstream, WHOLE)
        _compare(cell, kind, outcome, said)
        return _usage(cell, kind, outcome, said)

    def usage(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        return _usage(cell, kind, self.answer(kind, upstream, TEXT), self.said(upstream, TEXT))

    def tools(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        outcome, said = self.answer(kind, upstream, TOOLS), self.said(upstream, TOOLS)
        if self._refused(cell, kind, upstream, TOOLS, outcome):
            return cell
        assert len(said.calls) == len(RESULTS)
        _compare(cell, kind, outcome, said)
        if cell.faults:
            return cell
        model = f"{UPSTREAMS[upstream]}/instant"
        second = self._client(kind).follow(TOOLS, model, outcome, RESULTS)
        cell.expect("error of the second turn", second.error, None)
        places = [second.text.find(result) for result in RESULTS]
        if -1 in places or places != sorted(places):
            cell.faults.append(f"the results are not in the second turn, in their order: {_short(second.text)}")
        return cell

    def thinking(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        outcome, said = self.answer(kind, upstream, THINKING), self.said(upstream, THINKING)
        if self._refused(cell, kind, upstream, THINKING, outcome):
            return cell
        _compare(cell, kind, outcome, said)
        if not said.reasoning:
            return cell.nothing("the provider tells no thoughts")
        if outcome.reasoning != said.reasoning and not cell.faults:
            cell.carried = False
        return cell

    def structured(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        outcome, said = self.answer(kind, upstream, STRUCTURED), self.said(upstream, STRUCTURED)
        if self._refused(cell, kind, upstream, STRUCTURED, outcome):
            return cell
        assert json.loads(said.text)["query"] == STRUCTURED.prompt
        return _compare(cell, kind, outcome, said)

    def refusal(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        case = VENDORS[upstream].refusal
        if case is None:
            return cell.nothing("the provider has no word for it")
        outcome = self._client(kind).ask(TEXT, f"recorded-{UPSTREAMS[upstream]}/{case}")
        return _compare(cell, kind, outcome, recorded(upstream, case))

    def error(self, kind: Kind, upstream: str, cell: Cell) -> Cell:
        outcome = self._client(kind).ask(TEXT, f"{UPSTREAMS[upstream]}/fault-error-mid-{_FAILS_AFTER}")
        cell.expect("text before the error", outcome.text, "".join(pick(TEXT.prompt).pieces[:_FAILS_AFTER]))
        kinds = "no error" if outcome.error is None else outcome.error.kind
        if kinds not in kind.errors:
            cell.faults.append(f"the error is {outcome.error}, none of {', '.join(sorted(kind.errors))}")
        elif outcome.error is not None and not outcome.error.message:
            cell.faults.append("the error says nothing")
        return cell


_JUDGES: Final[dict[Scenario, Callable[[Matrix, Kind, str, Cell], Cell]]] = {
    "text": Matrix.text, "tools": Matrix.tools, "thinking": Matrix.thinking, "structured output": Matrix.structured,
    "refusal": Matrix.refusal, "usage": Matrix.usage, "whole": Matrix.whole, "error": Matrix.error,
}  # fmt: skip


def _compare(cell: Cell, kind: Kind, outcome: Outcome, said: Outcome) -> Cell:
    """All but the usage."""
    dialect = dialects.get(kind.dialect)
    cell.expect("error", outcome.error, None)
    text = said.text
    for aspect, seen, wanted in (
        ("reasoning", outcome.reasoning, said.reasoning), ("refusal", outcome.refusal, said.refusal)
    ):  # fmt: skip
        if seen == wanted:
            continue
        if aspect in dialect.loses:
            cell.note(dialect.loses[aspect])  # type: ignore[index]
            if aspect == "refusal" and outcome.text == text + wanted:
                text += wanted
        elif aspect in kind.blind:
            cell.note(kind.blind[aspect])
        else:
            cell.expect(aspect, seen, wanted)
    cell.expect("text", outcome.text, text)
    cell.expect("calls", outcome.calls, said.calls)
    return _ended(cell, kind, outcome, said)


def _ended(cell: Cell, kind: Kind, outcome: Outcome, said: Outcome) -> Cell:
    if outcome.finish == said.finish:
        return cell
    if "finish" in kind.blind:
        cell.note(kind.blind["finish"])
        return cell
    # OpenAI's dialects end a refusal with a plain "stop", and say with its words that it is one.
    reasons = [said.finish, "refusal"] if said.refusal else [said.finish]
    if said.refusal and "refusal" not in dialects.get(kind.dialect).loses:
        reasons.append("stop")
    told = dialects.get(kind.dialect).reasons
    if outcome.finish in [told.get(reason, reason) for reason in reasons]:  # type: ignore[call-overload]
        cell.note(f"its end is “{outcome.finish}” here")
    else:
        cell.expect("finish", outcome.finish, said.finish)
    return cell


def _usage(cell: Cell, kind: Kind, outcome: Outcome, said: Outcome) -> Cell:
    if outcome.usage == said.usage:
        return cell
    loses = dialects.get(kind.dialect).loses
    if "usage" in loses:
        return cell.nothing(loses["usage"])
    if "usage" in kind.blind:
        return cell.nothing(kind.blind["usage"])
    cell.expect("usage", outcome.usage, said.usage)
    return cell


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:100]} … {text[-50:]}"
