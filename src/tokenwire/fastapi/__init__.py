"""tokenwire in other people's apps, FastAPI's and any other ASGI app. Each name is imported when it is first asked for.

`StreamDebugger` needs nothing of the relay, and does not load it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenwire.fastapi.debugger import StreamDebugger as StreamDebugger

#: Where each public name lives.
_HOMES: Final = {
    "StreamDebugger": "debugger",
}

__all__ = ["StreamDebugger"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tokenwire.fastapi.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
