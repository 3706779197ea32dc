"""What every driver of a client can do. ::

with closing(kind.make("http://127.0.0.1:8787")) as client:
    client.ask(TEXT, "openai/gpt-4o")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from tests.clients.matrix.outcome import Outcome
from tests.clients.matrix.tasks import Task


class Client(Protocol):
    """One way of using one SDK, set up as its users do it; without retries, which would hide what it was answered."""

    def ask(self, task: Task, model: str) -> Outcome:
        """The answer to its end, or to the error that ended it."""
        ...

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        """The turn after *first*, whose calls gave *results*, in their order."""
        ...

    def close(self) -> None: ...


class Kind(NamedTuple):
    """A client of the matrix.

    Attributes:
        name: its row.
        dialect: what it speaks.
        make: address of the relay -> the client.
        blind: member of an outcome -> why this client does not tell it, whatever it is sent.
        misses: (member, recording) that it does not tell although others of its dialect do.
        errors: how it tells an error in mid-stream: the exception's class, or the type of the event.
        forms: how it can ask: for a ``stream``, for the ``whole`` answer, or both.
    """

    name: str
    dialect: str
    make: Callable[[str], Client]
    errors: frozenset[str]
    blind: Mapping[str, str] = {}
    misses: frozenset[tuple[str, str]] = frozenset()
    forms: tuple[str, ...] = ("stream", "whole")
