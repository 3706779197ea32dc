"""Python functions as tools of a model. ::

    @tool
    def weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, float]:
        \"""The weather in a city.

        Args:
            city: Its name, in English.
        \"""

Name, description and the JSON Schema of the parameters are the function's own: its name, its docstring (any style),
its annotations and defaults. Parameters may be whatever pydantic has a JSON Schema for (also in ``Annotated`` with a
``Field``, or with a text that describes them), and msgspec's structs. What cannot be a tool is told at once.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import docstring_parser

from tokenwire.errors import BadTool
from tokenwire.library.tool_schema import Parameters, can_be_strict

#: What every vendor takes for the name of a function.
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

#: Where a plain function keeps the tool that was made of it.
_KEPT: Final = "__tokenwire_tool__"


class ToolContext:
    """What a tool may know of its call. Given to every parameter that is annotated so; the model sees none of them.

    Attributes:
        id: the call's, as the model knows it.
        name: the tool's.
        cancelled: set when nobody waits for the result any more: the call is over its time, or the stream was closed. A
            function that runs long in a thread should look at it now and then, for threads cannot be cancelled.
    """

    __slots__ = ("cancelled", "id", "name")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.cancelled = threading.Event()


class Tool:
    """A function that a model may call. It can still be called as the function that it is.

    Async functions run in the event loop, others in a thread. What they return is told to the model: a ``str`` as it
    is, everything else as JSON (pydantic's and msgspec's types, dataclasses, dates …), ``None`` as ``null``.

    Args:
        function: a function, a bound method, a ``functools.partial`` or an object that can be called. Every parameter
            needs an annotation; ``*args`` and ``**kwargs`` have none that a model could read.
        name: in place of the function's.
        description: in place of the docstring's.
        timeout: seconds that one call may take, in place of the loop's; ``math.inf``: no limit.
        strict: whether to ask vendors to hold the model to the schema; by default where all of them can.

    Attributes:
        parameters: JSON Schema of the arguments.

    Raises:
        BadTool: the function cannot be a tool, and why.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> None:
        if isinstance(function, Tool):
            raise BadTool(function.name, "this is a tool already")
        plain = _plain(function)
        self.function = function
        self.name: str = _name(function) if name is None else name
        if not _NAME.fullmatch(self.name):
            raise BadTool(self.name, "a tool's name has 1 to 64 letters, digits, _ and -; give it one: tool(name=…)")
        if timeout is not None and not timeout > 0:
            raise BadTool(self.name, f"its time limit must be more than 0 s, not {timeout!r}")
        self.timeout = timeout
        self._check_kind(plain)
        said, described = _docs(function, plain)
        self.description = said if description is None else description
        self._contexts: list[str] = []
        self._positional: dict[str, Any] = {}  # name -> default
        #: Made of a function that still wants its ``self``.
        self.unbound = False
        self._read = Parameters(self.name, self._parameters(plain), described)
        self.parameters = self._read.schema
        self.strict = can_be_strict(self.parameters) if strict is None else strict
        functools.update_wrapper(self, plain, assigned=("__module__", "__qualname__", "__doc__"), updated=())

    def _check_kind(self, plain: Any) -> None:
        if inspect.isclass(self.function):
            raise BadTool(self.name, "a class is no tool; give a function, or an object that can be called")
        if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
            raise BadTool(self.name, "a generator has no one result; return a list")

    def _parameters(self, plain: Any) -> list[tuple[str, Any, Any]]:
        """What the model gives; the others are noted."""
        try:
            signature = inspect.signature(self.function)
            hints = _hints(plain)
        except (NameError, TypeError, ValueError, AttributeError) as error:
            raise BadTool(self.name, f"its signature cannot be read: {error}") from error
        bound = _bound(self.function)
        found: list[tuple[str, Any, Any]] = []
        for number, (name, parameter) in enumerate(signature.parameters.items()):
            annotation = hints.get(name, parameter.annotation)
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise BadTool(self.name, f"*{name} is no parameter that a model could fill: name them all")
            if name in bound:
                continue  # a partial's own
            if annotation is parameter.empty:
                if number or name != "self" or self.function is not plain:
                    raise BadTool(self.name, f"the parameter {name!r} has no annotation: a model must know its type")
                self.unbound = True
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self._positional[name] = parameter.default
            if annotation is ToolContext:
                self._contexts.append(name)
            else:
                found.append((name, annotation, parameter.default))
        return found

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return inspect.iscoroutinefunction(_plain(self.function))

    def definition(self) -> dict[str, Any]:
        """The tool as a member of ``tools`` in a chat request."""
        function: dict[str, Any] = {"name": self.name, "parameters": self.parameters}
        if self.description:
            function["description"] = self.description
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}

    def read(self, arguments: str) -> dict[str, Any]:
        """The model's *arguments* (JSON text) as values, by name. Raises ``BadArguments``, in words for the model."""
        return self._read.read(arguments)

    def start(self, values: dict[str, Any], context: ToolContext) -> Any:
        """Call the function with what ``read`` gave, in this thread: its result, or a coroutine if ``is_async``."""
        named = values | dict.fromkeys(self._contexts, context)
        first = [named.pop(name, default) for name, default in self._positional.items()]
        return self.function(*first, **named)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Tool:
        """A decorated method of an object is a tool with that object."""
        if instance is None or not self.unbound:
            return self
        twin = copy.copy(self)  # the schema is the same
        twin.function, twin.unbound = self.function.__get__(instance, owner), False
        return twin

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None, strict: bool | None = None
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a function a ``Tool``: ``@tool``, or ``@tool(name=…, description=…, timeout=…, strict=…)``. On a method it
    gives a tool for each object. Raises ``BadTool``."""
    if function is not None:
        return Tool(function)
    return lambda decorated: Tool(decorated, **options)


def tools_of(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """The tools by name; plain functions become some. Raises ``BadTool``, also for two of one name."""
    found: dict[str, Tool] = {}
    for each in tools:
        made = each if isinstance(each, Tool) else _tool_of(each)
        if made.unbound:
            raise BadTool(made.name, "this method has no object yet: give object.method")
        if made.name in found:
            raise BadTool(made.name, "two tools have this name; give one another: tool(name=…)")
        found[made.name] = made
    return found


def _tool_of(function: Callable[..., Any]) -> Tool:
    """Made once for a plain function, and kept with it: that takes milliseconds, and a server gets the same functions
    with each request."""
    if not isinstance(function, types.FunctionType):
        return Tool(function)
    kept = function.__dict__.get(_KEPT)
    if not isinstance(kept, Tool) or kept.function is not function:  # wrappers take over what is kept with a function
        kept = function.__dict__[_KEPT] = Tool(function)
    return kept


def _plain(function: Any) -> Any:
    """The function that has the annotations."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    if not callable(function):
        raise BadTool(repr(function), "this cannot be called")
    return type(function).__call__


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    found: str = getattr(function, "__name__", type(function).__name__)
    return found


def _bound(function: Any) -> set[str]:
    """The parameters that a partial has set by name: the model must not change them."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return names


def _hints(plain: Any) -> dict[str, Any]:
    """The annotations of *plain*. Those that are texts may name what is local to the function that makes the tool."""
    try:
        return typing.get_type_hints(plain, include_extras=True)
    except NameError:
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__") == __name__:
            frame = frame.f_back
        if frame is None or "<locals>" not in plain.__qualname__:
            raise
        return typing.get_type_hints(plain, localns=frame.f_locals, include_extras=True)


def _docs(function: Any, plain: Any) -> tuple[str, dict[str, str]]:
    """What the docstring says of the function, and of its parameters."""
    while isinstance(function, functools.partial):
        function = function.func
    text = inspect.getdoc(function if inspect.isroutine(function) else type(function)) or inspect.getdoc(plain) or ""
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, {}  # of no style that it knows: better read than lost
    return (parsed.description or "").strip(), {
        each.arg_name: each.description for each in parsed.params if each.description
    }


__all__ = ["Tool", "ToolContext", "tool", "tools_of"]
