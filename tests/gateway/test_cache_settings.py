"""``[models.NAME.cache]``: what it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.engine.clock import Clock
from tokenwire.errors import ConfigError
from tokenwire.gateway.cache_settings import CacheSettings
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import Settings, from_mapping
from tokenwire.testing.clock import ManualClock
from tokenwire.upstream.pool import Pool

UP = {"base_url": "http://127.0.0.1:1/v1", "models": ["m", "n"]}


def load(**cache: Any) -> Settings:
    return from_mapping({"upstreams": {"up": UP}, "models": {"up/m": {"cache": cache}}}, {})


def test_it_is_off_by_default() -> None:
    settings = from_mapping({"upstreams": {"up": UP}, "models": {"a": {"route": ["up/m"]}}}, {})
    assert settings.models["a"].cache == CacheSettings()
    assert settings.models["a"].cache.active is False
    assert load().models["up/m"].cache.active is False


@pytest.mark.parametrize(
    "cache", [{"seconds": 60}, {"share": True}, {"seconds": 0.5, "replay": "paced", "ignore": ["metadata"]}]
)
def test_what_it_takes(cache: dict[str, Any]) -> None:
    found = load(**cache).models["up/m"].cache
    assert found == CacheSettings(**cache)
    assert found.active


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"second": 60}, "models.up/m.cache.second", "did you mean 'seconds'?"),
    ({"seconds": -1}, "models.up/m.cache.seconds", "must be 0 or more"),
    ({"seconds": float("inf")}, "models.up/m.cache.seconds", "must be finite"),
    ({"seconds": "60"}, "models.up/m.cache.seconds", "Expected float"),
    ({"seconds": 60, "replay": "slow"}, "models.up/m.cache.replay", "slow"),
    ({"replay": "paced"}, "models.up/m.cache.seconds", "say how many seconds an answer is kept, or share = true"),
    ({"seconds": 60, "ignore": ["messages"]}, "models.up/m.cache.ignore", "without 'messages' different questions"),
]


@pytest.mark.parametrize(("cache", "where", "message"), REFUSED)
def test_what_it_refuses(cache: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**cache)
    assert caught.value.where == where
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["cache_bytes", "cache_answer_bytes"])
def test_its_bounds_are_above_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        from_mapping({"limits": {name: 0}}, {})


@pytest.fixture
def clock() -> Clock:
    return ManualClock()


def test_which_settings_hold_for_a_name(clock: Clock) -> None:
    settings = from_mapping(
        {
            "upstreams": {"up": UP},
            "models": {
                "up/m": {"cache": {"seconds": 1}},
                "smart": {"route": ["up/m", "up/n"], "cache": {"seconds": 2}},
                "plain": {"route": ["up/m"]},
            },
        },
        {},
    )
    directory = Directory(settings, Pool(clock.now_ns))
    wanted = {"up/m": 1, "m": 1, "smart": 2, "plain": 0, "n": 0, "up/n": 0}
    found = {name: directory.cache(name, directory.route(name)).seconds for name in wanted}
    assert found == wanted
