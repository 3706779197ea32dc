"""What ended streams teach of their models' tokens: read when there is time, a portion at a time.

An answer teaches only if it is whole, its provider counted it, and all that was counted is known to be text: none with
tool calls, whose names and brackets count as well, nor one whose thoughts are in the count without being told apart.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tokenwire.dialects.deltas import ReasoningDelta, ReasoningSignature, RefusalDelta, TextDelta, ToolCallStarted
from tokenwire.engine.spoken import Spoken

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.measure.estimator import Estimator

#: Streams that wait to be learned from. Of more than these in a moment the others teach nothing new.
MOST_WAITING: Final = 16
#: Entries decoded in one portion: 1 ms.
PORTION: Final = 128
#: Longer answers are not read for it: one of these fits as well as ten.
MOST_ENTRIES: Final = 10_000
_WHOLE: Final = ("stop", "length")


class Learning:
    """One per hub."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._waiting: deque[Stream] = deque(maxlen=MOST_WAITING)
        self._lesson: _Lesson | None = None

    def ended(self, stream: Stream) -> None:
        """*stream* has its terminal: it may teach something."""
        if teaches(stream) is not None:
            self._waiting.append(stream)

    def go_on(self) -> None:
        """Read a portion of what waits."""
        left = PORTION
        while left > 0 and (self._lesson is not None or self._waiting):
            if self._lesson is None:
                self._lesson = _Lesson(self._waiting.popleft())
            lesson = self._lesson
            left -= lesson.read(left)
            if lesson.over:
                self._lesson = None
                if lesson.text is not None:
                    self._estimator.learn(lesson.stream.model, lesson.text, lesson.tokens)
                left -= _FIT


#: What a fit costs, in entries decoded.
_FIT: Final = 48


def teaches(stream: Stream) -> int | None:
    """The tokens of the answer's text, where *stream* may teach something; only its text says whether it does."""
    held = stream.log
    terminal = held.terminal
    if terminal is None or terminal.state != "completed" or terminal.reason not in _WHOLE:
        return None
    usage = terminal.usage
    if usage is None or usage.output is None or usage.estimated or not held.whole or held.last > MOST_ENTRIES:
        return None
    return usage.output - (usage.reasoning or 0)


class _Lesson:
    """One stream, read for its text. ``text`` is None where there was more than text in what its provider counted."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.tokens = teaches(stream) or 0
        terminal = stream.log.terminal
        self._told_apart = terminal is not None and terminal.usage is not None and terminal.usage.reasoning is not None
        self._spoken = Spoken()
        self._parts: list[str] | None = []

    @property
    def text(self) -> str | None:
        return None if self._parts is None else "".join(self._parts)

    @property
    def over(self) -> bool:
        return self._parts is None or self._spoken.seq >= self._spoken.end(self.stream)

    def read(self, budget: int) -> int:
        """Read about *budget* entries; how many it were."""
        before = self._spoken.spent
        for delta in self._spoken.read(self.stream, budget):
            if isinstance(delta, ToolCallStarted) or (
                isinstance(delta, ReasoningDelta | ReasoningSignature) and not self._told_apart
            ):
                self._parts = None
                break
            if isinstance(delta, TextDelta | RefusalDelta) and self._parts is not None:
                self._parts.append(delta.text)
        if self._spoken.missed:  # a part of it has left memory meanwhile
            self._parts = None
        return self._spoken.spent - before
