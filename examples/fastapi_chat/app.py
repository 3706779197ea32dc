"""A chat with a page: run `python app.py`, and open http://127.0.0.1:8000. No key is needed.

    CHAT_MODEL=openai/gpt-4o-mini python app.py     # with the keys of your environment

Tokens are shown as they come; Stop stops the model; a reload, or a line that dropped, goes on where it was. Answers are
stored when they are over, also if their readers have left.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from tokenwire.fastapi import Completed, Relay

MODEL = os.environ.get("CHAT_MODEL", "sim/gpt-4o")
STORE = os.environ.get("CHAT_STORE", "chat.sqlite3")
PAGE = Path(__file__).with_name("index.html")


class Question(BaseModel):
    prompt: str = Field(min_length=1, max_length=20_000)


def user_of(request: Request) -> str | None:
    """Who asks: what nobody else can guess. Put your own session's user here."""
    return request.cookies.get("user")


def rows(statement: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(STORE)) as store, store:
        store.execute("CREATE TABLE IF NOT EXISTS turns (stream TEXT, user TEXT, prompt TEXT, answer TEXT)")
        return store.execute(statement, values).fetchall()


async def keep(done: Completed) -> None:
    """Told of each answer when it is over, however it ended; the file must not hold up the tokens of others."""
    row = (done.id, done.principal or "", done.metadata["prompt"], done.text)
    await asyncio.to_thread(rows, "INSERT INTO turns VALUES (?, ?, ?, ?)", *row)


relay = Relay(principal=user_of, on_complete=keep, on_disconnect="finish")
app = FastAPI(lifespan=relay.lifespan)
app.include_router(relay.router)  # GET /streams/{id}/events to follow and resume, POST /streams/{id}/cancel to stop


@app.post("/ask")
def ask(request: Request, question: Question) -> Response:
    said = [text for turn in turns(request) for text in (turn["prompt"], turn["answer"])] + [question.prompt]
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return relay.respond(request, model=MODEL, messages=messages, metadata={"prompt": question.prompt})


@app.get("/turns")
def turns(request: Request) -> list[dict[str, str]]:
    found = rows("SELECT stream, prompt, answer FROM turns WHERE user = ? ORDER BY rowid", user_of(request) or "")
    return [{"stream": stream, "prompt": prompt, "answer": answer} for stream, prompt, answer in found]


@app.get("/")
def page(request: Request) -> Response:
    response = FileResponse(PAGE)
    if user_of(request) is None:
        response.set_cookie("user", secrets.token_urlsafe(24), max_age=31_536_000, httponly=True, samesite="strict")
    return response


if __name__ == "__main__":
    uvicorn.run(app, http="tokenwire.fastapi:HttpProtocol")  # any ASGI server does; this way tokens cost least
