"""Structured output: growing values of types and schemas, whole ones at the end, early ends for what cannot be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pydantic
import pytest
from tests.library.conftest import Ask, Asked, Way, both_ways, paced

import tokenwire
from tokenwire.errors import IncompleteJson, InvalidJson, InvalidSchema, SchemaViolation, StreamClosed
from tokenwire.library.output import NOTHING, Output
from tokenwire.simulator import Simulator
from tokenwire.testing.rig import until


class Item(pydantic.BaseModel):
    name: str
    price: float


class Order(pydantic.BaseModel):
    title: str
    items: list[Item]


@dataclasses.dataclass
class Loose:
    title: str
    note: str = "none"


@both_ways
def test_a_value_grows_and_ends_whole(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        titles: list[str] = []
        lengths: list[int] = []
        stream = ask("up/gpt-4o", "an order", output=Order, request=paced(seed=5) | {"seed": 5})
        async for value in stream.partial():
            assert isinstance(value, Order)
            titles.append(value.title or "")
            lengths.append(len(value.items or ()))
        assert isinstance(value, Order)
        assert len(set(titles)) > 2
        assert all(later.startswith(earlier) for earlier, later in pairwise(titles))
        assert lengths == sorted(lengths)
        assert titles[-1] == value.title
        assert value == Order.model_validate_json(stream.answer.text)
        assert stream.answer.value == value
        sent = json.loads(simulator.recent[-1].body)["response_format"]
        assert sent["type"] == "json_schema"
        assert sent["json_schema"]["name"] == "Order"
        assert sent["json_schema"]["strict"] is True

    asked(main, way)


def test_without_a_type_it_is_any_json_and_with_a_schema_what_that_allows(asked: Asked) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "n", output=schema, request=paced())
        values = [dict(value) async for value in stream.partial()]
        assert values[-1] == json.loads(stream.answer.text)
        assert isinstance(values[-1]["n"], int)
        again = ask("up/gpt-4o", "n", output=Loose, request=paced())
        *_, value = [value async for value in again.partial(dict)]
        assert value == json.loads(again.answer.text)
        late = ask("up/gpt-4o", "n", output=Loose, request=paced())
        read = [await anext(late.text_stream) for _ in range(3)]
        *_, loose = [value async for value in late.partial()]
        assert loose.title == json.loads(late.answer.text)["title"], "what was read before counts"
        assert late.answer.text.startswith("".join(read))

    asked(main)


@both_ways
def test_what_cannot_be_json_closes_the_upstream(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "hi", request=paced(10_000, 1))
        json_only = {"type": "object"}
        with pytest.raises((InvalidJson, SchemaViolation)):
            async for _ in stream.partial(json_only):
                pass
        assert len(stream.answer.text) > 1000, "prose before an object may be long: only the end tells"

    async def early(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/echo", '{"a": [1, 2}' + " and so on" * 500, request=paced(2_000, 1))
        with pytest.raises(InvalidJson, match=r"'\}'"):
            async for _ in stream.partial():
                pass
        await until(lambda: simulator.stats.active == 0)
        assert simulator.stats.aborted == 1
        wrong = ask("up/echo", '{"a": 1, "b": 2}' + " and so on" * 500, request=paced(2_000, 1))
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        with pytest.raises(SchemaViolation, match="/a") as caught:
            async for _ in wrong.partial(schema):
                pass
        assert caught.value.path == ("a",)
        await until(lambda: simulator.stats.active == 0)

    asked(early, way)
    if way == "direct":
        asked(lambda *args: _short(main, *args), way)


async def _short(main: Any, ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
    def short(model: str, prompt: str, **arguments: Any) -> Any:
        return ask(model, prompt, request=paced(400))

    await main(short, simulator, node)


def test_a_cut_value_is_an_error_and_a_cancelled_one_as_well(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/echo", '{"a": "b', request=paced())
        partials = stream.partial()
        assert await anext(partials) == {}
        with pytest.raises(IncompleteJson):
            await _all(partials)
        with pytest.raises(IncompleteJson):
            _ = stream.answer.value
        stopped = ask("up/echo", '{"a": "b"}', request=paced())
        partials = stopped.partial()
        await anext(partials)
        await stopped.cancel()
        with pytest.raises(StreamClosed):
            await anext(partials)

    asked(main)


async def _all(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


def test_fences_and_prose_around_the_value_are_borne() -> None:
    output = Output(Loose)
    assert output.value('Sure!\n```json\n{"title": "x"}\n```\nAnything else?') == Loose("x")
    assert Output[str](str).value('"a"') == "a"
    assert Output[Any](None).value("[1, 2]") == [1, 2]
    with pytest.raises(SchemaViolation, match="title"):
        output.value('{"title": 1}')
    growth = Output[Any](None).growth()
    assert growth.feed("Sure!") is NOTHING
    with pytest.raises(InvalidJson):
        growth.close()
    assert Output(Loose).asked is not None
    assert Output[Any](None).asked is None


def test_a_type_that_has_no_schema_is_told_at_once() -> None:
    with pytest.raises(InvalidSchema):
        tokenwire.stream("sim/gpt-4o", "hi", output=type("Odd", (), {}))
    with pytest.raises(InvalidSchema):
        tokenwire.stream("sim/gpt-4o", "hi", output={"type": "strung"})


def test_values_grow_without_await_as_well() -> None:
    from tokenwire.library.sync import background

    stream = tokenwire.stream("sim/gpt-4o", "an order", output=Order, request=paced())
    with stream as plain:
        values = list(plain.partial())
    assert isinstance(values[-1], Order)
    assert list(tokenwire.stream("sim/echo", "[1, 2]", request=paced()).partial())[-1] == [1, 2]
    for value in tokenwire.stream("sim/echo", "[1]", request=paced()).sync().partial(list[int]):
        assert value == [1] or value == []
    with pytest.raises(InvalidJson):
        list(tokenwire.stream("sim/echo", "[1,]", request=paced()).partial())
    background().close()
