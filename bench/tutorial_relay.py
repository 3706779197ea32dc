"""The relay that every tutorial writes: FastAPI's StreamingResponse over the official openai SDK.

Nothing here is slow on purpose and nothing is tuned: it is the row that says what the usual way costs.

    UPSTREAM=http://127.0.0.1:9000/v1 uvicorn bench.tutorial_relay:app
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

app = FastAPI()
client = AsyncOpenAI(base_url=os.environ.get("UPSTREAM", "http://127.0.0.1:9000/v1"), api_key="x")


@app.post("/v1/chat/completions")
async def chat(request: Annotated[dict[str, Any], Body()]) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        stream = await client.chat.completions.create(model=request["model"], messages=request["messages"], stream=True)
        async for chunk in stream:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
