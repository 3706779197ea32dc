"""The conversation: question, answer, question; and what begins with a slash."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Final

from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from tokenwire.cli.chat_answer import Interrupts, Outcome, Showing, interruptible
from tokenwire.cli.chat_prompt import FENCE, Prompt, unechoed
from tokenwire.cli.chat_requests import Conversation, Turn
from tokenwire.errors import RelayError

if TYPE_CHECKING:
    from tokenwire.cli.chat_screen import Screen
    from tokenwire.client import Client

HELP: Final = f"""\
/model NAME    ask NAME from now on; the conversation stays
/models        what there is to ask
/think         ask for thinking from now on; again: no more
/system TEXT   a system prompt from now on; without TEXT there is none any more
/new           forget the conversation
/quit          leave (or Ctrl-D)
{FENCE}            begins and ends a question of several lines
//…            a question that begins with a slash
Ctrl-C stops an answer, and the model with it; a second one leaves."""

COMMANDS: Final = ("/help", "/model", "/models", "/new", "/quit", "/exit", "/system", "/think")


class Chat:
    """Asks and shows. *runner* holds the loop in which *client* lives; it runs only while an answer comes."""

    def __init__(
        self, runner: asyncio.Runner, client: Client, talk: Conversation, screen: Screen, *, thinking: bool
    ) -> None:
        self._runner = runner
        self._client = client
        self._talk = talk
        self._screen = screen
        self._thinking = thinking

    def ask(self, question: str) -> Outcome:
        """Put *question*, show the answer, keep both. Raises ``KeyboardInterrupt`` at the second Ctrl-C."""
        turns = self._talk.turns
        turns.append(Turn("user", question))
        try:
            outcome = self._run(None)
        except KeyboardInterrupt:
            turns.pop()
            raise
        if outcome.text:
            turns.append(Turn("assistant", outcome.text))
        else:  # a question without an answer would stand before the next one, as if both had been asked
            turns.pop()
        return outcome

    def resume(self, stream: str) -> Outcome:
        """Show *stream*, which somebody started, from its beginning to its end, and go on with it."""
        outcome = self._run(stream)
        if outcome.text:
            self._talk.turns.append(Turn("assistant", outcome.text))
        return outcome

    def loop(self, prompt: Prompt) -> int:
        """Until the user leaves; the exit status."""
        while True:
            try:
                question = prompt.read()
            except KeyboardInterrupt:
                question = None
            if question is None:
                self._screen.line("note", "")
                return 0
            question = question.strip()
            if question.startswith("/") and not question.startswith("//"):
                if not self._command(question):
                    return 0
            elif question:
                try:
                    self.ask(question.removeprefix("/") if question.startswith("//") else question)
                except KeyboardInterrupt:
                    return 130
                self._screen.line("note", "")

    def models(self) -> list[str]:
        """What there is to ask. Raises ``RelayError``."""
        listed = self._runner.run(self._client.dialects())
        self._talk.dialects |= listed
        return list(listed)

    def _run(self, stream: str | None) -> Outcome:
        interrupts = Interrupts()
        with unechoed():
            return self._runner.run(interruptible(self._answer(stream, interrupts), interrupts))

    async def _answer(self, stream: str | None, interrupts: Interrupts) -> Outcome:
        asked_ns = None
        if stream is None:
            asked_ns = self._client.clock.now_ns()
            try:
                stream = await self._talk.start(self._client)
            except RelayError as error:
                self._screen.line("error", str(error))
                return Outcome("", "refused")
        showing = Showing(self._client, stream, self._screen, asked_ns=asked_ns, thinking=self._thinking)
        return await showing.run(interrupts)

    # ------------------------------------------------------------------ commands

    def _command(self, line: str) -> bool:
        """Do it; False to leave."""
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        say = self._screen.line
        if name in ("/quit", "/exit"):
            return False
        if name == "/help":
            say("note", HELP)
        elif name == "/models":
            self._list()
        elif name == "/model":
            self._choose(rest)
        elif name == "/system":
            self._talk.system = rest or None
            say("note", "the system prompt is set" if rest else "there is no system prompt")
        elif name == "/think":
            self._talk.think = not self._talk.think
            say("note", "models are asked to think" if self._talk.think else "models are not asked to think any more")
        elif name == "/new":
            self._talk.turns.clear()
            say("note", "the conversation is forgotten")
        else:
            near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
            say("error", f"no command {name}; " + (f"did you mean {near[0]}?" if near else "/help lists them"))
        return True

    def _choose(self, name: str) -> None:
        if not name:
            self._screen.line("note", f"the model is {self._talk.model}; /model NAME changes it, /models lists them")
            return
        self._talk.model = name
        note = f"the model is {name}"
        try:
            names = self.models()
        except RelayError:
            names = []  # it will be said with the next question
        if names and name not in names:
            near = difflib.get_close_matches(name, names, 3, 0.4)
            note += ", which the relay does not list" + (f"; it lists {', '.join(near)}" if near else "")
        self._screen.line("note", note)

    def _list(self) -> None:
        try:
            names = self.models()
        except RelayError as error:
            self._screen.line("error", str(error))
            return
        Console().print(Columns([Text(name) for name in names], padding=(0, 2)) if names else "none")
