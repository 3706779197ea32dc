"""tokenwire within somebody's FastAPI app, under uvicorn with our protocol class: what embedding costs.

python -m bench.embedded 8787 tokenwire.toml
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, Request

from tokenwire.fastapi import Relay

if TYPE_CHECKING:
    from tokenwire.fastapi import RelayResponse


def app_for(config: str) -> FastAPI:
    """The two routes that the harness asks, answered from the settings file *config*."""
    relay = Relay(config)
    app = FastAPI(lifespan=relay.lifespan)

    # Annotations would be looked up in the module, where a type that is only checked is not.
    async def chat(request: Request) -> RelayResponse:
        return relay.respond(request, body=await request.body(), dialect="openai.chat")

    async def messages(request: Request) -> RelayResponse:
        return relay.respond(request, body=await request.body(), dialect="anthropic")

    app.post("/v1/chat/completions", response_model=None)(chat)
    app.post("/v1/messages", response_model=None)(messages)
    return app


if __name__ == "__main__":
    uvicorn.run(
        app_for(sys.argv[2]),
        port=int(sys.argv[1]),
        http="tokenwire.fastapi:HttpProtocol",
        loop="uvloop",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
