"""What the gateway's tests share: a relay on a real socket, before an upstream that the test scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing.relay import Edge, Relay, serving, settings_for
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream, Step


@pytest.fixture
def relayed() -> Callable[..., Any]:
    """``relayed(main, *scripts, settings=…, **limits)``: ``main(relay, upstream)``; the nth connection upstream plays
    the nth script; *settings* are the upstream's."""

    def runner(
        main: Callable[[Relay, ScriptedUpstream], Awaitable[Any]],
        *scripts: Sequence[Step],
        edge: Edge = "tokenwire",
        settings: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> Any:
        async def inside() -> Any:
            async with ScriptedUpstream(*scripts) as upstream:
                settings_ = settings_for(upstream.base_url, settings, **limits)
                async with serving(settings_, edge=edge) as relay:
                    return await main(relay, upstream)

        return run_in("uvloop", inside)

    return runner


@pytest.fixture
def simulated() -> Callable[..., Any]:
    """``simulated(main, settings, **limits)``: ``main(relay, simulator)``; *settings* are the upstream's."""

    def runner(
        main: Callable[[Relay, Simulator], Awaitable[Any]], settings: Mapping[str, Any] | None = None, **limits: Any
    ) -> Any:
        async def inside() -> Any:
            simulator = await simulate()
            try:
                async with serving(settings_for(f"{simulator.url}/v1", settings, **limits)) as relay:
                    return await main(relay, simulator)
            finally:
                await simulator.close()

        return run_in("uvloop", inside)

    return runner
