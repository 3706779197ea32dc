"""What came so far, and in the end the whole answer: one fold of everything that its user was handed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tokenwire.client import Done, Dropped, Notice, Reset, Resumed
from tokenwire.dialects.deltas import Opaque, ToolResult, Usage
from tokenwire.dialects.transcript import Transcript, merge_usage
from tokenwire.library.tool_messages import assistant_message, redacted_of, says_something
from tokenwire.measure.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.client import Update
    from tokenwire.dialects.deltas import FinishReason
    from tokenwire.dialects.transcript import ToolCall
    from tokenwire.library.asking import Message
    from tokenwire.library.output import Output

T = TypeVar("T")

#: Pieces of text that are kept apart before they are made one string: ten times its size, each of them.
_PIECES: Final = 1024
_NEWS: Final = (Done, Dropped, Notice, Reset, Resumed, Opaque)


class Answer(Generic[T]):
    """An answer, as far as it came.

    Attributes:
        model: that was asked.
        id: of its stream; of the first one, where tools were called.
        asked: the conversation that it answers.
        turns: what the model said, turn by turn: one, or one more than it was given results of tools.
        timing: when what came.
        conversation: what ``messages`` are, where tools were called.
    """

    def __init__(self, model: str, asked: Sequence[Message], output: Output[T]) -> None:
        self.model = model
        self.id: str | None = None
        self.asked = list(asked)
        self.turns: list[Transcript] = [Transcript()]
        self.timing = Timing()
        self.conversation: Callable[[], list[dict[str, Any]]] | None = None
        self._output = output
        self._usage: Usage | None = None
        self._pieces = 0
        self._redacted: list[tuple[int, str]] = []
        self._told = False  # results stand at the end: what comes next begins another turn

    @property
    def text(self) -> str:
        """All text of the first choice: what ``text_stream`` gave."""
        return "".join([turn.choice().text for turn in self.turns])

    @property
    def reasoning(self) -> str:
        """All thinking of the first choice, as far as the provider shows it."""
        return "".join([turn.choice().reasoning for turn in self.turns])

    @property
    def refusal(self) -> str:
        """The words in which the model declined; empty if it did not."""
        return "".join([turn.choice().refusal for turn in self.turns])

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls of all turns. One that is not ``ended`` was cut: its arguments are not whole."""
        return [call for turn in self.turns for call in turn.choice().tool_calls.values()]

    @property
    def reason(self) -> FinishReason | None:
        """Why the last turn ended: ``stop``, ``length``, ``tool_use`` …; None while it has not."""
        return self.turns[-1].choice().reason

    @property
    def usage(self) -> Usage | None:
        """Tokens of all turns together; None while nobody told any."""
        return self._usage

    @property
    def cost_usd(self) -> float | None:
        """What that costs, in US dollars; None where no price is known."""
        return None if self._usage is None else self._usage.cost_usd

    @property
    def value(self) -> T:
        """The last turn's text as the type that was asked for (``output=``); without one, as JSON.

        Raises ``InvalidJson`` or ``SchemaViolation`` if it is none; ``IncompleteJson`` while it is not whole.
        """
        return self._output.value(self.turns[-1].choice().text)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation to go on with: what was asked, and what was said, in the words of OpenAI's chat. Calls of
        tools that were not run here stand in its last message: a message of role ``tool`` for each has to follow."""
        if self.conversation is not None:
            return list(self.conversation())
        message = assistant_message(self.turns[-1], redacted=self._redacted)
        return [*map(dict, self.asked), *([message] if says_something(message) else [])]

    def apply(self, update: Update, arrived_ns: int) -> None:
        """Fold in what came at *arrived_ns*."""
        if isinstance(update, Reset):
            self.turns[-1] = Transcript()
        if isinstance(update, _NEWS):
            if isinstance(update, Opaque) and (data := redacted_of(update)) is not None:
                self._redacted.append((len(self.turns[-1].choice().segments()), data))
            return
        if isinstance(update, Usage):
            self._usage = merge_usage(self._usage, update)
            return
        result = isinstance(update, ToolResult)
        if self._told and not result:
            self.turns.append(Transcript())
        self._told = result
        turn = self.turns[-1]
        turn.apply(update)
        self.timing.see(update, arrived_ns)
        self._pieces += 1
        if self._pieces % _PIECES == 0:
            turn.copy()  # which makes one string of what both have
