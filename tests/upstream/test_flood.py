"""An upstream that writes as fast as memory: its answer comes whole, and everybody else gets a turn meanwhile."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tokenwire.engine.states import Policy
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import LAST_CHUNK, head, http_chunk
from tokenwire.testing.rig import Rig, rigged, run_in
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

EVENTS = [chat.text(f"{number} ") for number in range(40_000)]
FIELDS = ("Content-Type", "text/event-stream")


@pytest.mark.untraced
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("framing", ["event a chunk", "large chunks", "until close"])
def test_a_flood_is_read_in_portions(loop: str, framing: str) -> None:
    opening = head(200, FIELDS, ("Transfer-Encoding", "chunked"))
    ending = chat.finish() + chat.DONE
    if framing == "event a chunk":
        flood = opening + b"".join(map(http_chunk, EVENTS)) + http_chunk(ending) + LAST_CHUNK
    elif framing == "large chunks":
        parts = [b"".join(EVENTS[at : at + 5000]) for at in range(0, len(EVENTS), 5000)]
        flood = opening + b"".join(map(http_chunk, parts)) + http_chunk(ending) + LAST_CHUNK
    else:
        flood = head(200, FIELDS) + b"".join(EVENTS) + ending

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, flood, *[CLOSE] * (framing == "until close")]) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(max_bytes=1 << 30))
            portions = [0]
            while asked.stream.terminal is None:
                await asyncio.sleep(0)  # somebody else's turn
                portions.append(asked.stream.log.last)
            assert asked.failure == ("completed", "")
            assert asked.frames[: len(EVENTS)] == EVENTS
            largest = max(after - before for before, after in pairwise(portions))
            assert largest < len(EVENTS) / 4  # libuv alone gives none before all is read
            await asyncio.wait_for(asked.ended(), 1)

    run_in(loop, rigged(main))
