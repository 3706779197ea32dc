"""Where questions come from: a line of a terminal, with history and editing where Python has readline."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import readline
except ImportError:  # pragma: no cover - a Python built without it
    readline = None  # type: ignore[assignment]

#: Begins and ends a question of several lines.
FENCE: Final = '"""'


class Cleared(Exception):
    """Ctrl-C with something typed: that is thrown away, as shells do it."""


class Prompt:
    """Reads questions from standard input. *mended* makes text of them; *mark* is shown before each."""

    def __init__(self, mended: Callable[[str], str] = str, mark: str = "> ") -> None:
        self._mended = mended
        self._mark = mark
        self._both = sys.stdin.isatty() and sys.stdout.isatty()

    def read(self) -> str | None:
        """The next question; None at the end of input (Ctrl-D). Raises ``KeyboardInterrupt`` at an empty prompt."""
        while True:
            try:
                line = self._line(self._mark)
                if line is None:
                    return None
                if not line.lstrip().startswith(FENCE):
                    return self._mended(line)
                return self._mended(self._fenced(line.lstrip().removeprefix(FENCE)))
            except Cleared:
                print(file=sys.stdout if self._both else sys.stderr)

    def _fenced(self, first: str) -> str:
        lines = [first]
        while not lines[-1].rstrip().endswith(FENCE):
            line = self._line("  ")
            if line is None:
                return "\n".join(lines).strip()
            lines.append(line)
        lines[-1] = lines[-1].rstrip().removesuffix(FENCE)
        return "\n".join(lines).strip()

    def _line(self, mark: str) -> str | None:
        before = signal.signal(signal.SIGINT, _interrupted)
        try:
            if self._both:
                return input(mark)
            print(mark, end="", file=sys.stderr, flush=True)  # the answer's output is somebody else's
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        except EOFError:
            return None
        finally:
            signal.signal(signal.SIGINT, before)


def _interrupted(number: int, frame: Any) -> None:
    if readline is not None and readline.get_line_buffer():
        raise Cleared
    raise KeyboardInterrupt


@contextmanager
def unechoed() -> Iterator[None]:
    """While an answer comes, what is typed must not appear in it; it is there for the next prompt.

    Ctrl-D too: readline takes over a terminal that holds it as a key, not as the end of a line that it never saw.
    """
    if not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(0)
    edited = readline is not None and sys.stdout.isatty()  # as `input` decides it
    hidden = termios.ECHO | (termios.ICANON if edited else 0)
    quiet = [*before[:3], before[3] & ~hidden, *before[4:]]
    termios.tcsetattr(0, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
