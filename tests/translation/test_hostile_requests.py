"""Requests that are not as they should be are refused, in any dialect, and nothing worse."""

from __future__ import annotations

import copy
import gc
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from tests.translation.page import prompts
from tests.translation.samples import sample

from tokenwire.dialects.prompt.fit import CARRIED, FEATURES, Prompts, translate
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.errors import RequestRefused

WRITTEN = {name: each for name, each in prompts().items() if each.write is not None}

SCALARS = st.none() | st.booleans() | st.integers(-2, 5000) | st.floats(0, 3) | st.sampled_from(
    ["", "x", "auto", "none", "text", "user", "data:,", "\ud83c", "type"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner)
)


def bodies(name: str, each: Prompts) -> list[dict[str, Any]]:
    """A request in the dialect *name* for each feature that it has."""
    assert each.write is not None
    fitting = [feature for feature in FEATURES if each.table.get(feature, CARRIED).fate != "refused"]
    return [json.loads(each.write(sample(feature, name), "m", True)) for feature in fitting]


BODIES = {name: bodies(name, each) for name, each in WRITTEN.items()}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in *value*."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in inside for found in paths(inner, (*path, key)))]


def inner_paths(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Those but to the conversation itself: that it is an array was seen before anything is translated."""
    return [path for path in paths(body)[1:] if path[1:] or path[0] not in ("messages", "contents", "input")]


def changed(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """*body* with *value* at *path*."""
    body = copy.deepcopy(body)
    at: Any = body
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return body


def request(body: dict[str, Any]) -> GenerateRequest:
    members = {name: Raw(json.dumps(value).encode()) for name, value in body.items()}
    return GenerateRequest("m", True, True, members)


def outcome(asked: GenerateRequest, source: str, target: str) -> tuple[int, bytes]:
    """The body for the upstream, or the status of the refusal."""
    try:
        return 200, translate(asked, WRITTEN[source], WRITTEN[target], target, "m").body
    except RequestRefused as refusal:
        return refusal.status, b""


@pytest.mark.untraced
@pytest.mark.parametrize("source", WRITTEN)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_request_with_anything_in_it_is_translated_or_refused(source: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(BODIES[source]))
    for _ in range(data.draw(st.integers(1, 2))):
        body = changed(body, data.draw(st.sampled_from(inner_paths(body))), data.draw(VALUES))
    for target in WRITTEN:
        status, written = outcome(request(body), source, target)
        assert status == 400 or isinstance(msgspec.json.decode(written), dict)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("depth", [90, 900, 100_000])
def test_a_schema_without_a_bottom_is_translated_or_refused(name: str, depth: int) -> None:
    each = WRITTEN[name]
    assert each.write is not None
    members = msgspec.json.decode(each.write(sample("tools", name), "m", True), type=dict[str, Raw])
    deep = b'{"properties":' * depth + b"{}" + b"}" * depth
    marked = bytes(members["tools"]).replace(b'{"type":"string"}', deep)
    assert marked != bytes(members["tools"])
    deeper = GenerateRequest("m", True, True, {**members, "tools": Raw(marked)})
    for target in WRITTEN:
        status, written = outcome(deeper, name, target)
        assert deep in written or (status == 400 and depth > 90)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["anthropic", "openai.chat"])
def test_a_long_conversation_costs_its_length(name: str) -> None:
    each = WRITTEN[name]

    def seconds(turns: int) -> float:
        said = [{"role": role, "content": "Hi."} for _ in range(turns) for role in ("user", "assistant")]
        members = {"messages": Raw(json.dumps(said).encode()), "max_tokens": Raw(b"5")}
        asked = GenerateRequest("m", True, True, members)
        gc.disable()
        try:
            begun = time.perf_counter()
            for target, other in WRITTEN.items():
                translate(asked, each, other, target, "m")
            return time.perf_counter() - begun
        finally:
            gc.enable()

    seconds(100)
    assert min(seconds(4000) for _ in range(3)) < 10 * min(seconds(1000) for _ in range(3))
