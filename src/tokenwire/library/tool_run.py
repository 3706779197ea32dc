"""One call of a tool, from its arguments to what the model is told.

Whatever goes wrong with a call is told to the model, in words and without a traceback, for it may do better: an unknown
name, arguments that do not fit, a refusal, an exception, a time limit. Only the program's own hook may raise. What a
tool did not mean to raise is logged as well, with its traceback, at level ``INFO``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct
from pydantic_core import to_json

from tokenwire.dialects.deltas import ToolResult
from tokenwire.errors import ToolError
from tokenwire.library.tool_thread import in_thread
from tokenwire.library.tools import Tool, ToolContext

log = logging.getLogger(__name__)

#: What the model is told of a call that somebody did not allow.
REFUSED: Final = "the user did not allow this call"


class CallRequest(Struct, frozen=True):
    """A call that waits to be allowed: what the hook ``approve`` is asked.

    Attributes:
        id: of the call.
        name: of the tool.
        arguments: as the model gave them, read from JSON. They fit the tool.
        tool: the tool itself.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    tool: Tool


#: ``True`` lets a call run. ``False`` refuses it, and so does a text, which says why; an awaitable gives one of these.
#: A plain function runs in a thread, and may block; one call at a time is asked about then.
Approve: TypeAlias = Callable[[CallRequest], bool | str | Awaitable[bool | str]]


class Runner:
    """Runs calls of tools.

    Args:
        tools: by name.
        approve: asked before each tool runs: an async function for all calls of a turn at once, a plain one in a thread
            and for one call after the other. May take as long as it likes. What it raises is the program's own
            trouble, and comes out of ``run``.
        timeout: seconds that one call may take, not counting what came before it ran; ``math.inf``: no limit.
        parallel: tools that run at the same time, at most.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        *,
        approve: Approve | None = None,
        timeout: float = 60.0,
        parallel: int = 8,
    ) -> None:
        self._tools = tools
        self._approve = approve
        self._timeout = timeout
        self._slots = asyncio.Semaphore(parallel)
        self._asking = asyncio.Lock()

    async def run(self, id: str, name: str, arguments: str, *, choice: int = 0, block: int = 0) -> ToolResult:
        """Run one call whose arguments are whole, and tell what came of it.

        If cancelled, an async tool is cancelled and awaited; a thread is told by its ``ToolContext`` and left alone.
        """
        try:
            content, error = await self._run(id, name, arguments), False
        except ToolError as told:
            content, error = f"Error: {told}", True
        return ToolResult(id, name, content, error, choice, block)

    async def _run(self, id: str, name: str, arguments: str) -> str:
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name!r}; there are: {', '.join(self._tools) or 'none'}")
        values = tool.read(arguments)
        if self._approve is not None:
            await self._allowed(CallRequest(id, name, msgspec.json.decode(arguments or "{}"), tool))
        async with self._slots:
            return await _result(tool, values, ToolContext(id, name), tool.timeout or self._timeout)

    async def _allowed(self, request: CallRequest) -> None:
        try:
            said = await self._asked(request)
        except asyncio.CancelledError:
            if _cancelled():
                raise
            said = "the question was withdrawn"  # whoever was to decide is gone
        if said is not True:
            raise ToolError(f"{REFUSED}: {said}" if isinstance(said, str) and said else REFUSED)

    async def _asked(self, request: CallRequest) -> object:
        """What the hook says."""
        approve = self._approve
        assert approve is not None
        said: Any
        if inspect.iscoroutinefunction(approve):
            said = await approve(request)
        else:
            async with self._asking:  # two questions on one terminal would be no questions
                said = await in_thread(lambda: approve(request), "approve")
            if inspect.isawaitable(said):
                said = await said
        return said


async def _result(tool: Tool, values: dict[str, Any], context: ToolContext, limit: float) -> str:
    """What the tool returned, as text. Raises ``ToolError`` with whatever else happened."""
    try:
        async with asyncio.timeout(None if limit == math.inf else limit) as scope:
            if tool.is_async:
                value = await tool.start(values, context)
            else:
                value = await in_thread(lambda: tool.start(values, context), tool.name)
                if inspect.isawaitable(value):  # a plain function that hands on another's coroutine
                    value = await value
        return text_of(value)
    except ToolError:
        raise
    except TimeoutError as error:
        context.cancelled.set()
        if scope.expired():
            raise ToolError(f"no result within {limit:g} s: the call was stopped") from None
        raise ToolError(_told(error)) from error
    except asyncio.CancelledError as error:
        context.cancelled.set()
        if _cancelled():
            raise
        raise ToolError(_told(error)) from error  # nobody cancelled us: the tool lost something of its own
    except (Exception, SystemExit) as error:  # sys.exit() in a tool must not end a server
        log.info("tool %s failed, and the model is told so", tool.name, exc_info=error)
        raise ToolError(_told(error)) from error


def _cancelled() -> bool:
    """Whether it is we who are cancelled, not what we wait for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def text_of(value: Any) -> str:
    """A tool's result as the model reads it: a text as it is, everything else as JSON; ``None`` is ``null``.

    Raises:
        ToolError: it has no JSON.
    """
    if isinstance(value, str):
        return str(value)
    try:
        return to_json(value, fallback=msgspec.to_builtins, inf_nan_mode="null", bytes_mode="base64").decode()
    except ValueError as error:
        raise ToolError(f"the tool gave a {type(value).__name__}, which has no JSON: {error}") from error


def _told(error: BaseException) -> str:
    kind, said = type(error).__name__, str(error)
    return f"{kind}: {said}" if said else kind
