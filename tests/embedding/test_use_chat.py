"""The real ``useChat`` against an app's route: an answer, and its rest after a reload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from tests import programs
from tests.embedding.apps import serving

from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import Settings
from tokenwire.testing.rig import run_in, until

NODE = Path(__file__).parent.parent / "clients" / "node"


async def use_chat(port: int, act: str, version: int, options: dict[str, Any]) -> Any:
    """What the user of a chat sees after *act*."""
    process = await asyncio.create_subprocess_exec(
        programs.node(), str(NODE / "ui-messages.mjs"), str(version),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    asked = {"args": [f"http://127.0.0.1:{port}", act], "input": options}
    out, complaints = await process.communicate(json.dumps(asked).encode() + b"\n")
    assert process.returncode == 0, complaints.decode()
    return json.loads(out)["value"]


@pytest.mark.slow
def test_usechat_shows_an_answer_and_its_rest_after_a_reload() -> None:
    if not (NODE / "node_modules" / "ai7").is_dir():
        programs.missing("no npm clients: run .ci/node-packages")
    go = asyncio.Event()
    asked: list[Any] = []

    async def words() -> AsyncIterator[str]:
        yield "hel"
        await go.wait()
        yield "lo"

    relay = Relay(Settings(), principal=lambda request: "anybody")
    app = FastAPI()
    app.include_router(relay.router)

    @app.post("/api/chat", response_model=None)
    async def chat(request: Request) -> Response:
        asked.append(await request.json())
        return relay.respond(request, source=words, body=asked[-1], dialect="ui-messages")

    async def main() -> None:
        async with serving(app, relay=relay) as running:
            sending = asyncio.create_task(use_chat(running.port, "send", 7, {"id": "c1", "text": "hi"}))
            await until_slowly(lambda: relay.running.core.hub.running())
            resuming = asyncio.create_task(use_chat(running.port, "resume", 5, {"id": "c1"}))
            [stream] = relay.running.core.hub.running()
            await until_slowly(lambda: len(stream.readers) == 2)
            go.set()
            for seen in (await sending, await resuming):
                assert (seen["status"], seen["error"]) == ("ready", None)
                assert seen["messages"][-1]["parts"][-1]["text"] == "hello"
            assert (await sending)["messages"][-1]["id"] == (await resuming)["messages"][-1]["id"]
            assert asked[0]["messages"][0]["parts"][0]["text"] == "hi"

    run_in("uvloop", main)


async def until_slowly(condition: Any) -> None:
    """Node takes its time to start, more than ``until`` waits on a busy machine; and needs the processor for it."""
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.02)
    await until(condition)
