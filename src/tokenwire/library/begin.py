"""``tokenwire.stream``: from its arguments to a stream that begins when it is first read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import msgspec

from tokenwire.client import Client
from tokenwire.errors import BadArgument, RequestRefused
from tokenwire.gateway.starting import parse_linger
from tokenwire.library.answer import Answer
from tokenwire.library.asking import ask
from tokenwire.library.node import Node, node_of_loop
from tokenwire.library.output import Output
from tokenwire.library.streams import Stream
from tokenwire.library.talk import Talk
from tokenwire.library.tools import tools_of
from tokenwire.library.turn import DirectTurn, RelayTurn

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Effort
    from tokenwire.library.asking import Ask, Message
    from tokenwire.library.tool_run import Approve
    from tokenwire.library.tools import Tool
    from tokenwire.library.turn import Turn

T = TypeVar("T")

#: The address of the relay that is asked where none is named.
RELAY_VARIABLE: Final = "TOKENWIRE_RELAY"


@overload
def stream(
    model: str,
    prompt: str | Sequence[Message] | None = None,
    *,
    messages: Sequence[Message] | None = None,
    system: str | None = None,
    tools: Iterable[Tool | Callable[..., Any]] = (),
    output: type[T],
    max_tokens: int | None = None,
    temperature: float | None = None,
    effort: Effort | None = None,
    request: Mapping[str, Any] | None = None,
    dialect: str = "openai.chat",
    relay: str | Client | None = None,
    node: Node | None = None,
    session: str | None = None,
    on_disconnect: str | None = None,
    max_turns: int = 8,
    approve: Approve | None = None,
    tool_timeout: float = 60.0,
) -> Stream[T]: ...


@overload
def stream(
    model: str,
    prompt: str | Sequence[Message] | None = None,
    *,
    messages: Sequence[Message] | None = None,
    system: str | None = None,
    tools: Iterable[Tool | Callable[..., Any]] = (),
    output: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    effort: Effort | None = None,
    request: Mapping[str, Any] | None = None,
    dialect: str = "openai.chat",
    relay: str | Client | None = None,
    node: Node | None = None,
    session: str | None = None,
    on_disconnect: str | None = None,
    max_turns: int = 8,
    approve: Approve | None = None,
    tool_timeout: float = 60.0,
) -> Stream[Any]: ...


def stream(
    model: str,
    prompt: str | Sequence[Message] | None = None,
    *,
    messages: Sequence[Message] | None = None,
    system: str | None = None,
    tools: Iterable[Tool | Callable[..., Any]] = (),
    output: type[Any] | Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    effort: Effort | None = None,
    request: Mapping[str, Any] | None = None,
    dialect: str = "openai.chat",
    relay: str | Client | None = None,
    node: Node | None = None,
    session: str | None = None,
    on_disconnect: str | None = None,
    max_turns: int = 8,
    approve: Approve | None = None,
    tool_timeout: float = 60.0,
) -> Stream[Any]:
    """Ask *model*, and read its answer while it is being written. ::

        for text in tokenwire.stream("sim/gpt-4o", "Tell me of the sea.").text_stream:
            print(text, end="", flush=True)

    Nothing is sent before it is first read. The provider is asked by the engine in this process, with the keys of the
    environment (``OPENAI_API_KEY`` …) or the settings of *node*; ``sim/…`` models are simulated, and need none. With
    *relay* a relay is asked, and an answer is resumed by itself when the connection drops.

    Args:
        model: ``UPSTREAM/MODEL``, an alias of the settings, or a bare name that one upstream has.
        prompt: what the user says; or messages.
        messages: the conversation, as OpenAI's chat has it.
        system: a system prompt before it.
        tools: functions that the model may call. They run here, and the answer goes on with what they gave.
        output: what the text is to be: a type or a JSON Schema. The model is asked for that, and ``partial`` and
            ``Answer.value`` give it.
        max_tokens: the most that may be generated.
        temperature: of sampling.
        effort: how much to think: ``none``, ``minimal``, ``low``, ``medium``, ``high`` …
        request: further members of the request, in the words of *dialect*; they win.
        dialect: in which *request* is written, and the provider asked if it speaks that. In another one than OpenAI's
            chat, everything but *messages* is told in *request*.
        relay: the address of a relay, or a ``tokenwire.Client`` of it. Default: ``TOKENWIRE_RELAY`` of the
            environment; without that, none.
        node: upstreams and connections of one's own, instead of the running loop's.
        session: which conversation this is, for the relay's list.
        on_disconnect: what becomes of the answer if this process is gone: ``cancel``, ``linger=SECONDS``, ``finish``;
            for a relay. Leaving the stream always cancels.
        max_turns: of the model, at most, where it calls tools; after them ``TooManyTurns`` is raised.
        approve: asked before each call runs: True, or False or words of refusal, which the model is told. A plain
            function runs in a thread, for one call at a time, and may block; a coroutine for all at once.
        tool_timeout: seconds that a call may take.

    Raises, at once:
        BadArgument: what cannot be asked.
        BadTool: a function that cannot be a tool.
        InvalidSchema: an *output* that cannot be used.
    """
    if not isinstance(tools, Iterable):
        raise BadArgument("tools", "a list of functions is wanted: tools=[function]")
    known = tools_of(tools)
    wanted: Output[Any] = Output(output)
    asked = ask(
        model,
        prompt,
        messages,
        system=system,
        dialect=dialect,
        request=request,
        tools=[tool.definition() for tool in known.values()],
        output=wanted.asked,
        max_tokens=max_tokens,
        temperature=temperature,
        effort=effort,
    )
    if not isinstance(max_turns, int) or max_turns < 1:
        raise BadArgument("max_turns", f"a whole number is wanted, 1 at least, not {max_turns!r}")
    if not isinstance(tool_timeout, int | float) or not tool_timeout > 0:
        raise BadArgument("tool_timeout", f"seconds are wanted, more than 0, not {tool_timeout!r}")
    if session is not None and not (isinstance(session, str) and session.isascii() and session.isprintable()):
        raise BadArgument("session", f"a name of printable ASCII is wanted, not {session!r}")
    try:
        msgspec.json.encode(asked.body(asked.messages))
    except (TypeError, ValueError, RecursionError) as error:  # half characters are a ValueError
        raise BadArgument("request" if request else "messages", f"it cannot be written as JSON: {error}") from None
    if on_disconnect is not None:
        _checked(on_disconnect)
    way = _Way(asked, relay or os.environ.get(RELAY_VARIABLE) or None, node, session, on_disconnect)
    answer = Answer(model, asked.messages, wanted)
    if not known:
        return Stream(answer, partial(way.turn, asked.messages), wanted)

    def talk() -> Turn:
        talk = Talk(
            way.node, way.turn, asked.messages, known.values(),
            max_turns=max_turns, approve=approve, timeout=tool_timeout,
        )  # fmt: skip
        answer.conversation = lambda: talk.messages
        return talk

    return Stream(answer, talk, wanted, has_tools=True)


class _Way:
    """Whom to ask, and how: directly, or through a relay."""

    def __init__(
        self, asked: Ask, relay: str | Client | None, node: Node | None, session: str | None, on_disconnect: str | None
    ) -> None:
        self._asked = asked
        self._relay = relay
        self._node = node
        self._session = session
        self._on_disconnect = on_disconnect

    @property
    def node(self) -> Node:
        """In which it runs."""
        return self._node or node_of_loop()

    def turn(self, messages: Sequence[Message]) -> Turn:
        """One answer to *messages*. To be called in the loop in which it is read."""
        node = self.node
        asked = self._asked
        body = asked.body(messages)
        if self._relay is None:
            headers = [] if self._session is None else [(b"x-tokenwire-session", self._session.encode())]
            return DirectTurn(node, msgspec.json.encode(body), asked.model, asked.dialect, headers, linger=0.0)
        client = node.client(self._relay) if isinstance(self._relay, str) else self._relay
        return RelayTurn(node, client, body, asked.dialect, session=self._session, on_disconnect=self._on_disconnect)


def _checked(on_disconnect: str) -> None:
    try:
        parse_linger(on_disconnect, math.inf)
    except RequestRefused as error:
        raise BadArgument("on_disconnect", str(error)) from None
