"""The bodies of POST /api/chat and /api/generate, checked and turned into what was asked."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from tokenwire.simulator.answer import ANY_OBJECT, Ask
from tokenwire.simulator.tokens import count
from tokenwire.simulator.tools import Tool
from tokenwire.simulator.vendors.ollama.errors import invalid

# What a chat template adds to each message (roles and separators), in tokens.
_PER_MESSAGE = 4

_EFFORTS = ("low", "medium", "high", "max")


class CalledFunction(Struct):
    name: str = ""


class Call(Struct):
    """A call of an earlier turn, as far as it is looked at."""

    function: CalledFunction
    id: str | None = None


class Message(Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Function(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolEntry(Struct):
    function: Function
    type: str | None = None


class Options(Struct):
    """The options that change the answer; all others are accepted and ignored."""

    num_predict: int | None = None
    seed: int | None = None
    stop: list[str] | None = None


class Prompted(Struct, kw_only=True):
    """What both requests have. ``stream``: a stream is what one that does not say asks for."""

    model: str = ""
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def streamed(self) -> bool:
        return self.stream is not False

    @property
    def thinks(self) -> bool:
        return bool(self.think)

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to each token; None if no log-probabilities were asked for."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def idle(self) -> Literal["load", "unload"]:
        """What a request without a prompt does."""
        return "unload" if self.keep_alive in (0, "0", "0s") else "load"

    def schema(self) -> Any:
        return ANY_OBJECT if self.format == "json" else self.format or None

    def ask(self, prompt: str, seed: int, tokens: int | None, **more: Any) -> Ask:
        """What the request asks for, in the vendor-neutral form.

        Args:
            prompt: the user's words.
            seed: decides what the request leaves open, unless it brings its own.
            tokens: exact length of a text answer, None for as it comes.
        """
        options = self.options or Options()
        return Ask(
            prompt=prompt,
            seed=seed if options.seed is None else options.seed,
            stop=tuple(each for each in options.stop or () if each),
            schema=self.schema(),
            tokens=tokens,
            echo=self.model.removesuffix(":latest") == "echo",
            **more,
        )

    @property
    def limit(self) -> int | None:
        """The most tokens, thoughts included; None for as many as it likes."""
        most = self.options.num_predict if self.options else None
        return most if most is not None and most > 0 else None


class ChatRequest(Prompted, kw_only=True):
    messages: list[Message] = []
    tools: list[ToolEntry] | None = None

    def prompt_tokens(self) -> int:
        """What the prompt would count, by our own tokenizer."""
        spoken = sum(_PER_MESSAGE + count(message.content or "") for message in self.messages)
        return spoken + (count(msgspec.json.encode(self.tools).decode()) if self.tools else 0)

    def asked(self, seed: int, tokens: int | None) -> Ask:
        prompt = next((message.content or "" for message in reversed(self.messages) if message.role == "user"), "")
        tools = tuple(
            Tool(entry.function.name, entry.function.description or "", _parameters(entry.function.parameters))
            for entry in self.tools or ()
        )
        return self.ask(prompt, seed, tokens, tools=tools, results=self._results())

    def _results(self) -> tuple[tuple[str, str], ...]:
        """(tool name, content) of the results after the last user message, if the request ends with them."""
        if not self.messages or self.messages[-1].role != "tool":
            return ()
        names = {call.id: call.function.name for message in self.messages for call in message.tool_calls or ()}
        turn: list[tuple[str, str]] = []
        for message in reversed(self.messages):
            if message.role == "user":
                break
            if message.role == "tool":
                name = message.tool_name or names.get(message.tool_call_id) or "the tool"
                turn.append((name, message.content or ""))
        return tuple(reversed(turn))


class GenerateRequest(Prompted, kw_only=True):
    prompt: str = ""
    system: str = ""
    suffix: str = ""
    template: str = ""
    raw: bool = False
    context: list[int] | None = None
    images: list[str] | None = None

    def prompt_tokens(self) -> int:
        """As for chat; a context holds a token in each number."""
        framed = 0 if self.raw else _PER_MESSAGE * (1 + bool(self.system))
        return framed + count(self.system) + count(self.prompt) + len(self.context or ())

    def asked(self, seed: int, tokens: int | None) -> Ask:
        return self.ask(self.prompt, seed, tokens)


Wanted = TypeVar("Wanted", ChatRequest, GenerateRequest)


def parse(body: bytes, kind: type[Wanted]) -> Wanted:
    """The request body.

    Raises:
        ApiError: 400: nothing, not JSON, a member of the wrong type.
    """
    if not body.strip():
        raise invalid("missing request body")
    try:
        request = msgspec.convert(_whole(msgspec.json.decode(body)), kind)
    except msgspec.ValidationError as error:
        raise invalid(f"json: cannot unmarshal the request: {error}") from None
    except (ValueError, RecursionError) as error:
        raise invalid(f"invalid JSON: {error}") from None
    if not request.model:
        raise invalid("model is required")
    if isinstance(request.think, str) and request.think and request.think not in _EFFORTS:
        raise invalid(f'invalid think value: "{request.think}" (must be "high", "medium", "low", true, or false)')
    if isinstance(request.format, str) and request.format not in ("", "json"):
        raise invalid(f'invalid format: "{request.format}"; expected "json" or a valid JSON Schema object')
    return request


def _whole(body: Any) -> Any:
    """*body* with the options that must be whole numbers as such: the server takes 40.0 for one."""
    options = body.get("options") if isinstance(body, dict) else None
    if not isinstance(options, dict):
        return body
    for name in ("num_predict", "seed"):
        value = options.get(name)
        if isinstance(value, float) and value.is_integer():
            options[name] = int(value)
    return body


def _parameters(parameters: dict[str, Any] | None) -> Any:
    """The schema of the arguments, which are always an object; no schema means no arguments."""
    return {"type": "object", **parameters} if parameters else {"type": "object", "additionalProperties": False}
