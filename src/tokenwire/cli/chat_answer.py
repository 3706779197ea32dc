"""One answer: followed, shown as it comes, measured, and stopped when the user says so."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.cli.chat_figures import Figures
from tokenwire.client import Done, Dropped, Notice, Reset
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.errors import RelayError, RelayRefused, StreamNotFound

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any, Self

    from tokenwire.cli.chat_screen import Screen
    from tokenwire.client import Client, Following, Update

#: The status line is drawn anew so often; people read no faster.
STATUS_SECONDS: Final = 0.1
#: A cancelled stream ends at once. If its end does not come, it is not waited for.
GRACE_SECONDS: Final = 2.0

#: Why an answer may end early, in words.
_REASONS: Final = {
    "length": "cut off: the model's or the request's limit of tokens was reached",
    "context_window": "cut off: the conversation is as long as the model can bear",
    "content_filter": "cut off by the provider's content filter",
    "pause": "paused by the provider",
}


class Outcome(NamedTuple):
    """What became of an answer. *text*: what was shown of it; *state*: as ``Done`` has it, or ``stopped``, ``lost``."""

    text: str
    state: str


class Interrupts:
    """Ctrl-C while an answer comes: the first is a wish to stop it, ``stopping``; the second cancels the current task.

    A context manager, inside the loop and in the main thread.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.leaving = False
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.pressed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def pressed(self) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
        else:
            self.leaving = True
            assert self._task is not None
            self._task.cancel()


class Showing:
    """Follows one stream, and shows it. *asked_ns*: when it was asked for; None: by somebody else."""

    def __init__(self, client: Client, stream: str, screen: Screen, *, asked_ns: int | None, thinking: bool) -> None:
        self._client = client
        self._stream = stream
        self._screen = screen
        self._thinking = thinking
        self._figures = Figures(asked_ns)
        self._following: Following = client.follow(stream)
        self._text: list[str] = []
        self._muted = False
        self._trouble: str | None = None  # what the status says besides the figures
        self._resumed: str | None = None
        self._sources: dict[str, None] = {}
        self._choices: set[int] = set()
        self._calls: dict[int, str] = {}
        self._open: int | None = None

    async def run(self, interrupts: Interrupts) -> Outcome:
        """Until the stream is over, stopped or lost. Never raises ``RelayError``: it is said.

        Cancelling (the second Ctrl-C) drops the connection. If nobody takes our output any more (``OSError``), the
        model is stopped.
        """
        ticking = asyncio.ensure_future(self._tick())
        try:
            async with self._following:
                return await self._run(interrupts)
        except OSError:
            with suppress(RelayError):
                await self._client.cancel(self._stream)
            raise
        finally:
            ticking.cancel()
            self._screen.end()

    async def _run(self, interrupts: Interrupts) -> Outcome:
        reading = asyncio.ensure_future(self._read())
        wish = asyncio.ensure_future(interrupts.stopping.wait())
        try:
            await asyncio.wait({reading, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return await self._stop(reading)
            return self._over(reading)
        finally:
            wish.cancel()
            await _cancelled(reading)

    async def _stop(self, reading: asyncio.Task[None]) -> Outcome:
        """The user has seen enough: nothing more is shown, and the relay closes the provider's connection."""
        self._muted = True
        self._trouble = "stopping"
        self._draw()
        untold = None
        try:
            await self._client.cancel(self._stream)
            await asyncio.wait({reading}, timeout=GRACE_SECONDS)
        except RelayError as error:
            untold = str(error)
        done = self._following.answer.done
        self._screen.end()
        if done is not None and done.state == "completed":  # it had ended meanwhile: first terminal wins
            self._screen.line("note", "the answer was already whole")
        else:
            self._figures_line("stopped")
        if untold is not None:
            self._screen.line("error", f"the relay could not be told: {untold}")
        return Outcome("".join(self._text), "stopped")

    def _over(self, reading: asyncio.Task[None]) -> Outcome:
        screen, answer = self._screen, self._following.answer
        screen.end()
        try:
            reading.result()
        except StreamNotFound as error:
            came = "what came of it is above; ask again" if self._text else "ask again"
            screen.line("error", f"the relay does not have this stream (any more): {error}; {came}")
        except RelayRefused as error:
            screen.line("error", f"{error.code}: {error}")
        except RelayError as error:
            screen.line("error", str(error))
        done = answer.done
        if done is None:
            if self._text:
                self._figures_line("incomplete")
            return Outcome("".join(self._text), "lost")
        self._remarks(done)
        self._figures.ended(answer)
        self._figures_line("" if done.state == "completed" else done.state)
        return Outcome("".join(self._text), done.state)

    def _remarks(self, done: Done) -> None:
        """What there is to say at the end besides the figures."""
        if done.reason in _REASONS:
            self._screen.line("note", _REASONS[done.reason])
        if self._sources:
            self._screen.line("note", "sources: " + ", ".join(self._sources))
        if others := len(self._choices - {0}):
            self._screen.line("note", f"of {others + 1} answers the first is shown")
        if self._resumed is not None:
            self._screen.line("note", f"the connection was lost ({self._resumed}), and the stream resumed")
        if done.mismatch is not None:
            self._screen.line("error", f"this is not what the relay sent: {done.mismatch}")

    def _figures_line(self, head: str) -> None:
        line = self._figures.line(self._client.clock.now_ns(), self._following.answer.cost_usd)
        if parts := [part for part in (head, line) if part]:
            self._screen.line("figures", " · ".join(parts))

    def _draw(self) -> None:
        line = self._figures.line(self._client.clock.now_ns(), self._following.answer.cost_usd)
        self._screen.status(" · ".join(part for part in (line, self._trouble) if part))

    async def _tick(self) -> None:
        while True:
            self._draw()
            await self._client.sleep(STATUS_SECONDS)

    # ------------------------------------------------------------------ what comes

    async def _read(self) -> None:
        async for update in self._following:
            waited = self._figures.tokens == 0
            self._figures.take(update, self._client.clock.now_ns())
            if waited and self._figures.tokens:
                self._draw()  # the first token is not delayed, nor is its time
            if not self._muted:
                self._trouble = None
                self._show(update)

    def _show(self, update: Update) -> None:
        choice = getattr(update, "choice", 0)
        self._choices.add(choice)
        if choice:
            return
        if isinstance(update, TextDelta | RefusalDelta):
            self._text.append(update.text)
            self._screen.write("text" if isinstance(update, TextDelta) else "refusal", update.text)
        elif isinstance(update, ReasoningDelta):
            if self._thinking:
                self._screen.write("thinking", update.text)
        elif isinstance(update, ToolCallStarted | ToolCallDelta | ToolCallEnded):
            self._call(update)
        else:
            self._rarely(update)

    def _call(self, update: ToolCallStarted | ToolCallDelta | ToolCallEnded) -> None:
        """``name({"its": "arguments"})``, one call in a line; providers may write several side by side."""
        block = update.block
        if isinstance(update, ToolCallEnded):
            if block == self._open:
                self._screen.write("tool", ")")
                self._open = None
            return
        if isinstance(update, ToolCallStarted):
            self._calls[block] = update.name
        if block != self._open:
            before = ("" if self._open is None else " …") + ("\n" if len(self._calls) > 1 else "")
            more = "" if isinstance(update, ToolCallStarted) else "… "
            self._screen.write("tool", f"{before}{self._calls[block]}({more}")
            self._open = block
        if isinstance(update, ToolCallDelta):
            self._screen.write("tool", update.json)

    def _rarely(self, update: Update) -> None:
        if isinstance(update, Failed):
            advice = "trying again may help" if update.retryable else "trying again will not help"
            status = "" if update.upstream_status is None else f" (status {update.upstream_status})"
            self._screen.line("error", f"{update.code}{status}: {_clauses(update.message, advice)}")
        elif isinstance(update, Dropped):
            self._trouble = f"connection lost ({update.cause}); trying again"
            self._draw()
            self._resumed = self._resumed or update.cause
        elif isinstance(update, Reset):
            self._text.clear()
            self._calls.clear()
            self._open = None
            self._screen.line("note", f"what was shown cannot be continued ({update.reason}); here it is anew:")
        elif isinstance(update, Notice):
            told = ", ".join(f"{name} {value}" for name, value in update.fields.items())
            self._screen.line("note", f"{update.code}: {told}" if told else update.code)
        elif isinstance(update, Citation):
            known = (update.data.get(name) for name in ("url", "title", "document_title"))
            if source := next((text for text in known if isinstance(text, str) and text), None):
                self._sources[source] = None


def _clauses(message: str, advice: str) -> str:
    """*advice* behind a provider's *message*, which may be a sentence."""
    message = message.rstrip()
    if message.endswith(("!", "?", "…", "...")):
        return f"{message} {advice.capitalize()}"
    return f"{message.removesuffix('.')}; {advice}"


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End *task*, and take what it raised: it was said, or does not matter any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def interruptible(work: Coroutine[Any, Any, Outcome], interrupts: Interrupts) -> Outcome:
    """*work*, within *interrupts*. Raises ``KeyboardInterrupt`` at the second Ctrl-C."""
    try:
        with interrupts:
            return await work
    except asyncio.CancelledError:
        if not interrupts.leaving:
            raise
        raise KeyboardInterrupt from None
