"""The engine in a user's own process: settings, the simulator, and an end with its loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.library.conftest import paced, settings

import tokenwire
from tokenwire.errors import ConfigError, LocalProtocolError, UnknownModel
from tokenwire.gateway.settings import Settings
from tokenwire.library.node import node_of_loop, settings_for
from tokenwire.simulator import serve
from tokenwire.testing.rig import LOOPS, run_in, settle


def test_settings_come_from_a_file_a_mapping_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokenwire.toml"
    file.write_text('[upstreams.a]\nbase_url = "http://127.0.0.1:1/v1"\n')
    assert list(settings_for(file).upstreams) == ["a"]
    assert list(settings_for(str(file)).upstreams) == ["a"]
    assert list(settings_for({"upstreams": {"b": {"base_url": "http://127.0.0.1:1/v1"}}}).upstreams) == ["b"]
    monkeypatch.setenv("TOKENWIRE_CONFIG", str(file))
    assert list(settings_for(None).upstreams) == ["a"]
    monkeypatch.delenv("TOKENWIRE_CONFIG")
    monkeypatch.setenv("GROQ_API_KEY", "k")
    assert "groq" in settings_for(None).upstreams
    given = Settings()
    assert settings_for(given) is given
    with pytest.raises(ConfigError, match="upstreams"):
        settings_for({"upstream": {}})


def test_a_key_that_the_environment_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENWIRE_CONFIG", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def main() -> None:
        for model, told in (
            ("openai/gpt-4o", r"'openai/gpt-4o': OPENAI_API_KEY is not in the environment"),
            ("gpt-4o", "OPENAI_API_KEY"),
            ("nobody/gpt-4o", r"'nobody/gpt-4o'$"),
        ):
            with pytest.raises(UnknownModel, match=told):
                await tokenwire.stream(model, "hi").final()
        async with tokenwire.Node({}) as node:  # the environment has no say there
            with pytest.raises(UnknownModel, match=r"'openai/gpt-4o'$"):
                await tokenwire.stream("openai/gpt-4o", "hi", node=node).final()

    run_in("asyncio", main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loops_own_node_lives_as_long_as_the_loop(loop: str) -> None:
    nodes: list[tokenwire.Node] = []

    async def main() -> None:
        texts = await asyncio.gather(*(tokenwire.stream("sim/gpt-4o", "hi", request=paced(3)).text() for _ in range(3)))
        assert all(texts)
        nodes.append(node_of_loop())
        assert node_of_loop() is nodes[0]

    for _ in range(2):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())
        with pytest.raises(LocalProtocolError, match="closed"):
            _ = nodes.pop().core


def test_a_closed_node_has_cut_what_ran_and_closed_what_was_open() -> None:
    async def main() -> None:
        simulator = await serve()
        async with tokenwire.Node(settings(simulator)) as node:
            stream = tokenwire.stream("up/gpt-4o", "hi", request=paced(10_000, 1), node=node)
            await anext(stream)
        await settle()
        assert simulator.stats.aborted == 1
        with pytest.raises(tokenwire.errors.AnswerStopped):
            await stream.final()
        await node.close()
        with pytest.raises(LocalProtocolError):
            await tokenwire.stream("up/gpt-4o", "hi", node=node).text()
        await simulator.close()

    run_in("asyncio", main)


def test_the_simulator_does_not_stand_in_for_a_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def main() -> None:
        assert await tokenwire.stream("sim/gpt-4o", "hi", request=paced(2)).text()
        with pytest.raises(tokenwire.errors.UnknownModel):
            await tokenwire.stream("gpt-4o", "hi").text()

    asyncio.run(main())


def test_names_of_the_library_are_handed_out_by_the_package() -> None:
    assert "stream" in dir(tokenwire)
    assert tokenwire.Stream.__module__ == "tokenwire.library.streams"
    with pytest.raises(AttributeError, match="bananas"):
        _ = tokenwire.bananas
