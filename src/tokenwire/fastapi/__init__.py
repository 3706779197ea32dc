"""tokenwire in other people's apps, FastAPI's and any other ASGI app::

    from fastapi import FastAPI, Request
    from tokenwire.fastapi import Relay

    relay = Relay(principal=lambda request: request.headers.get("x-user"))
    app = FastAPI(lifespan=relay.lifespan)
    app.include_router(relay.router)  # resume and stop

    @app.post("/api/chat")  # what useChat posts to
    async def chat(request: Request):
        return relay.respond(request, model="openai/gpt-4o", body=await request.body(), dialect="ui-messages")

`Relay` has the engine of ``tokenwire serve`` within the app: each answer is a stream with a log, any number of readers,
ids to resume after, and an end that is told. `StreamDebugger` needs nothing of it. `HttpProtocol` makes both as cheap
as the standalone relay: ``uvicorn.run(app, http="tokenwire.fastapi:HttpProtocol")``.

Each name is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenwire.fastapi.completed import Completed as Completed
    from tokenwire.fastapi.debugger import StreamDebugger as StreamDebugger
    from tokenwire.fastapi.protocol import HttpProtocol as HttpProtocol
    from tokenwire.fastapi.relay import Relay as Relay
    from tokenwire.fastapi.response import RelayResponse as RelayResponse

#: Where each public name lives.
_HOMES: Final = {
    "Completed": "completed",
    "HttpProtocol": "protocol",
    "Relay": "relay",
    "RelayResponse": "response",
    "StreamDebugger": "debugger",
}

__all__ = ["Completed", "HttpProtocol", "Relay", "RelayResponse", "StreamDebugger"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tokenwire.fastapi.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
