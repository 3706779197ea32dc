"""The server of a Next.js page with `useChat`: `python server.py`. No key is needed.

    CHAT_MODEL=openai/gpt-4o-mini python server.py      # with the keys of your environment

It speaks the AI SDK's own protocol (versions 5 to 7). The tool runs here, and the page sees its call and its result.
The page is `app/page.tsx`.
"""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

import tokenwire
from tokenwire.fastapi import Relay

MODEL = os.environ.get("CHAT_MODEL", "sim/gpt-4o")
PAGE = os.environ.get("CHAT_PAGE", "http://localhost:3000")


class Part(BaseModel):
    type: str
    text: str = ""


class Message(BaseModel):
    role: str
    parts: list[Part]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if part.type == "text")


class Chat(BaseModel):
    """What `useChat` posts, as far as it is needed here."""

    messages: list[Message]


async def get_weather(city: str) -> dict[str, str | int]:
    """The weather in a city, now.

    Args:
        city: Its name, in English.
    """
    return {"city": city, "celsius": 4 if city == "Oslo" else 17}


relay = Relay(principal=lambda request: request.headers.get("x-user"))  # put your session's user here
app = FastAPI(lifespan=relay.lifespan)
app.include_router(relay.router)  # GET /api/chat/{id}/stream to resume, POST /api/chat/{id}/stop to stop
app.add_middleware(CORSMiddleware, allow_origins=[PAGE], allow_methods=["*"], allow_headers=["*"])


@app.post("/api/chat")
async def chat(request: Request, chat: Chat) -> Response:
    messages = [{"role": message.role, "content": message.text} for message in chat.messages if message.text]
    answer = tokenwire.stream(MODEL, messages=messages, tools=[get_weather])
    return relay.respond(request, source=answer, body=await request.body(), dialect="ui-messages")


if __name__ == "__main__":
    uvicorn.run(app, http="tokenwire.fastapi:HttpProtocol")
