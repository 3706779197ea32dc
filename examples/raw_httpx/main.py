"""What the wire looks like: the bytes of an answer as the network gave them, and what they say.

    pip install tokenwire httpx
    python main.py                                   # a simulator in this process, no key is needed
    OPENAI_API_KEY=… python main.py gpt-4o-mini      # OpenAI's own; OPENAI_BASE_URL names another server

Each line of the first part is one read: how long it was waited for, its size, its beginning. Reads are not events: the
simulator is told to cut them anywhere, as networks and proxies may. The second part is the same bytes, decoded.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from time import perf_counter

import httpx

from tokenwire import simulator
from tokenwire.wire import sse

QUESTION = {"role": "user", "content": "Say hello."}


async def chunks_of(url: str, model: str, headers: dict[str, str]) -> list[bytes]:
    """Ask *model*, and print what comes while it comes."""
    chunks = []
    asked = {"model": model, "messages": [QUESTION], "stream": True, "max_tokens": 12}
    async with (
        httpx.AsyncClient(timeout=60, headers={"accept-encoding": "identity", **headers}) as client,
        client.stream("POST", f"{url}/chat/completions", json=asked) as response,
    ):
        print(f"{response.http_version} {response.status_code}, {response.headers['content-type']}\n")
        before = perf_counter()
        async for chunk in response.aiter_raw():
            now = perf_counter()
            print(f"{(now - before) * 1000:+7.1f} ms {len(chunk):5} bytes  {chunk[:60]!r}")
            before = now
            chunks.append(chunk)
    return chunks


def show(chunks: list[bytes]) -> None:
    """Decode *chunks*, and print the text with what it took."""
    decoder = sse.Decoder()
    text, events, cut = "", 0, 0
    for chunk in chunks:
        for event in decoder.feed(chunk):
            events += 1
            if event.data != "[DONE]":
                for choice in json.loads(event.data)["choices"]:
                    text += choice["delta"].get("content") or ""
        cut += not chunk.endswith(b"\n\n")
    print(f"\n{len(chunks)} reads, {cut} of which end within an event; {events} events:\n\n{text}")


async def main(model: str) -> None:
    key = os.environ.get("OPENAI_API_KEY")
    if key:
        url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        show(await chunks_of(url, model, {"authorization": f"Bearer {key}"}))
        return
    provider = await simulator.serve()
    try:
        show(await chunks_of(f"{provider.url}/v1", model, {"authorization": "Bearer any", "x-sim-fault": "split-150"}))
    finally:
        await provider.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "gpt-4o-mini"))
