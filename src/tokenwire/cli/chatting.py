"""``tokenwire chat``: a conversation in the terminal; or one answer, for pipes and programs."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict, replace
from rich.console import Console

from tokenwire.cli.chat_loop import Chat
from tokenwire.cli.chat_prompt import Prompt
from tokenwire.cli.chat_relay import own_relay
from tokenwire.cli.chat_requests import Conversation
from tokenwire.cli.chat_screen import Plain, Screen, Terminal
from tokenwire.cli.chat_text import Mended, lenient
from tokenwire.client import Client, Retry
from tokenwire.errors import ConfigError, RelayError, RelayUnreachable, StreamNotFound

if TYPE_CHECKING:
    from tokenwire.cli.chat_answer import Outcome

DEFAULT_URL: Final = "http://127.0.0.1:8787"
#: Somebody sits and waits: a relay that is not back after so long is gone, and the stream lingers no longer anyway.
RETRY: Final = Retry(give_up=30.0)
#: A relay that has just started is still asking its providers for their models.
MODELS_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.05


class Wishes(Struct, frozen=True, kw_only=True):
    """The command's arguments. *url*: None where the user named no relay."""

    model: str | None = None
    prompt: str | None = None
    resume: str | None = None
    url: str | None = None
    key: str | None = None
    thinking: bool = True
    think: bool = False


def run_chat(environ: Mapping[str, str], wishes: Wishes) -> int:
    """Chat until the user leaves, or answer once; the exit status. Raises ``ConfigError``.

    0: all is well. 1: no (whole) answer. 130: stopped by Ctrl-C. 141: nobody reads our output any more.
    """
    if wishes.resume is not None and wishes.prompt is not None:
        raise ConfigError("a resumed stream has its prompt already; use one of --resume and --prompt", where="--resume")
    try:
        with ExitStack() as stack:
            return _chat(environ, wishes, stack)
    except RelayError as error:
        print(f"tokenwire: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is still buffered has no reader either: Python would complain of it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _chat(environ: Mapping[str, str], wishes: Wishes, stack: ExitStack) -> int:
    lenient()
    mended = Mended()
    wishes = replace(wishes, **{name: mended(wish) for name, wish in asdict(wishes).items() if isinstance(wish, str)})
    alone = wishes.prompt is not None or not sys.stdin.isatty()
    question = None
    if alone and wishes.resume is None:
        question = mended(_question(wishes.prompt))  # before anything is started for it
    screen = _screen(alone)
    runner = stack.enter_context(asyncio.Runner())
    client = _client(environ, wishes, runner, screen, stack)
    stack.callback(lambda: runner.run(_close(client)))
    talk = Conversation(wishes.model or "", session=f"chat-{secrets.token_hex(8)}")
    talk.think = wishes.think
    talk.model = model = _model(wishes, runner, client, screen, talk)
    chat = Chat(runner, client, talk, screen, thinking=wishes.thinking)
    if question is not None:
        return _status(chat.ask(question))
    if wishes.resume is not None:
        outcome = chat.resume(wishes.resume)
        if alone:
            return _status(outcome)
        screen.line("note", f"what you ask now goes to {model}, with this answer but without what was said before it")
    else:
        screen.line("note", f"{model} at {client.url}; /help says what can be done here")
    return chat.loop(Prompt(mended))


async def _close(client: Client) -> None:
    client.close()
    await asyncio.sleep(0)  # sockets close in the loop's next turn, and a relay of our own waits for that


def _question(prompt: str | None) -> str:
    """The argument, and what standard input holds if it is not a person's."""
    piped = "" if sys.stdin.isatty() else sys.stdin.read()
    question = "\n\n".join(part for part in (prompt, piped.rstrip("\n")) if part)
    if not question.strip():
        raise ConfigError("nothing was asked: standard input is empty; use --prompt, or a terminal", where="chat")
    return question


def _screen(alone: bool) -> Screen:
    console = Console(highlight=False)
    return Plain() if alone or not console.is_terminal or console.is_dumb_terminal else Terminal(console)


def _status(outcome: Outcome) -> int:
    return {"completed": 0, "stopped": 130}.get(outcome.state, 1)


def _client(
    environ: Mapping[str, str], wishes: Wishes, runner: asyncio.Runner, screen: Screen, stack: ExitStack
) -> Client:
    """A client of the relay that was named, or of the usual one, or of one of our own."""
    named = wishes.url or environ.get("TOKENWIRE_URL")

    async def reach(url: str) -> Client:
        client = Client(url, key=wishes.key or environ.get("TOKENWIRE_KEY") or None, retry=RETRY)
        try:
            await client.ping()
        except RelayError:
            client.close()
            raise
        return client

    try:
        return runner.run(reach(named or DEFAULT_URL))
    except RelayUnreachable:
        if named:
            raise
        if wishes.resume is not None:
            raise StreamNotFound(
                404, "no_relay", f"no relay listens at {DEFAULT_URL}, so no stream can be resumed; name it with --url"
            ) from None
    url, upstreams = stack.enter_context(own_relay())
    screen.line("note", f"no relay at {DEFAULT_URL}; this chat has one of its own at {url} ({upstreams})")
    return runner.run(reach(url))


def _model(wishes: Wishes, runner: asyncio.Runner, client: Client, screen: Screen, talk: Conversation) -> str:
    """The model that was named; that of the stream which is resumed; or the first that there is, said aloud.

    *talk* is told what is listed, if the relay was asked.
    """
    if wishes.resume is not None:
        model = runner.run(client.look(wishes.resume)).get("model")
        return wishes.model or (model if isinstance(model, str) else "")
    if wishes.model is not None:
        return wishes.model

    async def first() -> str | None:
        deadline = client.clock.now_ns() + MODELS_SECONDS * 1e9
        while not (listed := await client.dialects()) and client.clock.now_ns() < deadline:
            await client.sleep(_AGAIN_SECONDS)
        talk.dialects |= listed
        return next(iter(listed), None)

    name = runner.run(first())
    if name is None:
        raise ConfigError(f"the relay at {client.url} lists no models; name one: tokenwire chat UPSTREAM/MODEL")
    screen.line("note", f"no model was named: asking {name}")
    return name
