"""What the tables are asked: the features of a prompt; and the small tools of the readers."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from msgspec import Raw
from tests.translation.samples import PNG

from tokenwire.dialects.prompt import media
from tokenwire.dialects.prompt.fit import Note, Prompts, changed, check, dropped, features, refused, translate
from tokenwire.dialects.prompt.reading import Fields, fields_of
from tokenwire.dialects.prompt.vocabulary import Media, Prompt, Result, Said, Thought, ToolChoice, Turn
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.errors import RequestRefused


def used(**members: Any) -> list[str]:
    return [feature for feature, _ in features(Prompt(**members), "x")]


def test_what_says_nothing_is_no_feature() -> None:
    assert used(n=1, stop=[], metadata={}, parallel_tools=True, frequency_penalty=0, presence_penalty=0.0) == []
    assert used(turns=[Turn(role="user", parts=[Said(text="Hi.")])]) == []


def test_zero_says_something_elsewhere() -> None:
    assert used(temperature=0, top_k=0, seed=0, max_tokens=0) == ["max_tokens", "temperature", "top_k", "seed"]


def test_one_tool_is_forced_only_where_some_tool_is_required() -> None:
    assert used(tool_choice=ToolChoice(mode="required", names=["f"])) == ["tool choice named"]
    assert used(tool_choice=ToolChoice(mode="auto", names=["f"])) == ["tool choice several"]


def test_media_in_results_count_twice() -> None:
    result = Result(call_id="c", parts=[Media(kind="image", data=PNG, detail="high", where="w")], where="r")
    found = list(features(Prompt(turns=[Turn(role="tool", parts=[result])]), "x"))
    assert found == [("result", "r"), ("result media", "w"), ("image data", "w"), ("image detail", "w")]


def test_a_thought_without_a_signature_is_nobodys() -> None:
    unsigned, own = Thought(text="Hm.", dialect="x"), Thought(signature="s", dialect="x")
    assert used(turns=[Turn(role="assistant", parts=[unsigned, own])]) == ["foreign thought", "own thought"]


def _prompts(**more: Any) -> Prompts:
    given: dict[str, Any] = {
        "read": lambda request: Prompt(seed=1, rest=dict.fromkeys(request.fields)),
        "write": lambda prompt, model, stream: f"{model} {stream}".encode(),
        "table": {},
        "harmless": frozenset({"known", "*.deep"}),
    }
    return Prompts(**{**given, **more})


def _request(*members: str) -> GenerateRequest:
    return GenerateRequest("m", False, False, {name: Raw(b"1") for name in members})


def test_a_translation_is_a_stream_with_notes_on_what_was_left_out() -> None:
    target = _prompts(table={"seed": dropped("no")}, limits=lambda prompt: [("seed", changed("so"))])
    done = translate(_request("known", "a.0.deep"), _prompts(), target, "y", "theirs")
    assert done.body == b"theirs True"
    assert done.notes == [
        Note("seed", "dropped", "no"), Note("seed", "changed", "so"),
        Note("known", "dropped", "y has no counterpart"), Note("a.0.deep", "dropped", "y has no counterpart"),
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["unknown", "deep.known", "a.known"])
def test_a_member_that_nobody_knows_is_refused(member: str) -> None:
    with pytest.raises(RequestRefused, match="has no counterpart") as caught:
        translate(_request(member), _prompts(), _prompts(), "y", "m")
    assert caught.value.param == member


def test_the_same_thing_is_noted_once() -> None:
    prompt = Prompt(turns=[Turn(role="system", parts=[], where="s"), Turn(role="system", parts=[], where="s")])
    assert check(prompt, {"system": dropped("no")}, "y") == [Note("s", "dropped", "no")]


def test_limits_may_refuse() -> None:
    with pytest.raises(RequestRefused, match="too hot") as caught:
        check(Prompt(), {}, "y", [("temperature", refused("too hot"))])
    assert caught.value.code == "unsupported_parameter"


def test_fields_tell_what_nobody_asked_for() -> None:
    fields = Fields({"a": 1, "b": {"c": 2}, "d": None, "e": [{"f": 1}]})
    assert fields.whole("a") == 1
    inner = fields.object("b")
    assert inner is not None
    assert inner.rest() == {"b.c": 2}
    assert [entry.where for entry in fields.objects("e")] == ["e.0"]
    assert fields.rest() == {}
    assert fields.object("none") is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 1), ("whole", True), ("whole", 1.5), ("number", "1"), ("number", False), ("flag", 0), ("array", {}),
        ("texts", ["a", 1]), ("mapping", []), ("need", None),
    ],
)  # fmt: skip
def test_fields_of_a_wrong_type_are_refused(kind: str, value: Any) -> None:
    with pytest.raises(RequestRefused) as caught:
        getattr(Fields({"a": value}, "top"), kind)("a")
    assert caught.value.param == "top.a"


def test_numbers_are_as_they_came() -> None:
    fields = Fields({"a": 1, "b": 1.5})
    assert (fields.number("a"), fields.number("b"), fields.number("c")) == (1, 1.5, None)


def test_members_that_are_no_json_are_refused_by_name() -> None:
    with pytest.raises(RequestRefused) as caught:
        fields_of({"a": Raw(b"1"), "b": Raw(b"{")})
    assert caught.value.param == "b"
    with pytest.raises(RequestRefused, match="must be an object"):
        Fields([])


def test_a_file_is_known_by_its_first_bytes() -> None:
    assert media.guess(PNG) == "image/png"
    assert media.guess("/9j/4AAQ") == "image/jpeg"
    assert media.guess("AAAA") == "application/octet-stream"
    assert media.guess("AAAA", "image/png") == "image/png"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.com/,", None),
        ("data:image/png", None),
        ("data:image/png;base64,AA==", ("image/png", "AA==")),
        ("DATA:image/png;x=y;BASE64,AA==", ("image/png", "AA==")),
        ("data:;base64,AA==", (None, "AA==")),
        ("data:,a%20b", ("text/plain", base64.b64encode(b"a b").decode())),
        ("data:text/html,hi", ("text/html", base64.b64encode(b"hi").decode())),
    ],
)
def test_an_address_may_hold_the_file(url: str, found: Any) -> None:
    assert media.open_data_url(url) == found


def test_text_in_base64() -> None:
    assert media.to_text(media.of_text("Zażółć")) == "Zażółć"
    assert media.to_text("/w==") is None
    assert media.to_text("é") is None
    assert media.data_url("a/b", "AA") == "data:a/b;base64,AA"
