"""Through a relay, an answer goes on by itself when its connection drops; of a tool's turns, each of them."""

from __future__ import annotations

from typing import Any

from tests.library.conftest import paced, settings

import tokenwire
from tokenwire.client import Client, Retry
from tokenwire.simulator import serve
from tokenwire.testing.relay import serving, settings_for
from tokenwire.testing.rig import run_in


def test_a_dropped_connection_costs_nothing() -> None:
    async def main() -> None:
        simulator = await serve()
        try:
            async with (
                tokenwire.Node(settings(simulator)) as node,
                serving(settings_for(f"{simulator.url}/v1")) as relay,
            ):
                client = Client(f"http://127.0.0.1:{relay.port}", retry=Retry(first=0.001))
                wishes: dict[str, Any] = {"request": paced(60, 8, seed=2), "node": node}
                whole = await tokenwire.stream("up/gpt-4o", "hi", **wishes).text()
                stream = tokenwire.stream("up/gpt-4o", "hi", relay=client, **wishes)
                dropped = resumed = 0
                pieces: list[str] = []
                async for update in stream:
                    dropped += isinstance(update, tokenwire.Dropped)
                    resumed += isinstance(update, tokenwire.Resumed)
                    if isinstance(update, tokenwire.TextDelta):
                        pieces.append(update.text)
                        if len(pieces) == 5:
                            for edge in relay.edges:
                                edge.transport.abort()
                assert "".join(pieces) == whole == stream.answer.text
                assert (dropped, resumed) == (1, 1)
                assert simulator.stats.requests == 2
                assert client.mismatches == 0, "events and the hash of the text are what the relay says they are"
                client.close()
        finally:
            await simulator.close()

    run_in("uvloop", main)
