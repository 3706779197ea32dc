"""What the relay reads of a chat request, and that it changes nothing but what it must."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.openai_chat.request import parse_request, rewrite
from tokenwire.errors import RequestRefused

BODY: dict[str, Any] = {"model": "gpt", "messages": []}


def encoded(**more: Any) -> bytes:
    return json.dumps({**BODY, **more}).encode()


def test_what_is_read() -> None:
    request = parse_request(encoded(stream=True, n=3, stream_options={"include_usage": True}, temperature=1))
    assert (request.model, request.stream, request.include_usage, request.n) == ("gpt", True, True, 3)
    assert bytes(request.fields["temperature"]) == b"1"


@pytest.mark.parametrize(
    "more", [{}, {"stream": None, "n": None, "stream_options": None}, {"stream": False, "stream_options": {"x": 1}}]
)
def test_defaults(more: dict[str, Any]) -> None:
    request = parse_request(encoded(**more))
    assert (request.stream, request.include_usage, request.n) == (False, False, 1)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"model":"m","messages":[]}x', "invalid_json", None),
        (b'{"\xff":1}', "invalid_json", None),
        (b'{"\xff":"\\ud83c"}', "invalid_json", None),
        (b'{"x":NaN,"y":"\\ud83c"}', "invalid_json", None),
        (b'["\\ud83c"]', "invalid_request", None),
        (b' "\\ud83c"', "invalid_request", None),
        (b"[" * 100_000, "invalid_request", None),
        (b"[]", "invalid_request", None),
        (b'"x"', "invalid_request", None),
        (b'{"messages":[]}', "missing_required_parameter", "model"),
        (b'{"model":"m"}', "missing_required_parameter", "messages"),
        (encoded(model=5), "invalid_request", "model"),
        (encoded(model=None), "invalid_request", "model"),
        (encoded(model=""), "invalid_request", "model"),
        (b'{"model":"\\ud83c","messages":[]}', "invalid_request", "model"),
        (encoded(messages="hi"), "invalid_request", "messages"),
        (encoded(messages=None), "invalid_request", "messages"),
        (encoded(stream="true"), "invalid_request", "stream"),
        (encoded(stream=1), "invalid_request", "stream"),
        (encoded(stream_options=[]), "invalid_request", "stream_options"),
        (encoded(stream_options={"include_usage": "yes"}), "invalid_request", "stream_options"),
        (encoded(n=0), "invalid_request", "n"),
        (encoded(n=True), "invalid_request", "n"),
        (encoded(n=1.5), "invalid_request", "n"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_request(body)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)
    assert param is None or f"'{param}'" in str(caught.value) or param == "stream_options"


def test_only_the_model_changes() -> None:
    body = (
        b'{ "seed":1.0e2, "model":"a", "messages":[ {"role":"user","content":"\\u00e9\\/ \xc3\xa9"} ],'
        b'"x":{"b":1,"a":12345678901234567890}}'
    )
    assert rewrite(parse_request(body), model="b/ü", include_usage=True) == (
        b'{"seed":1.0e2,"model":"b/\xc3\xbc","messages":[ {"role":"user","content":"\\u00e9\\/ \xc3\xa9"} ],'
        b'"x":{"b":1,"a":12345678901234567890}}'
    )


def test_half_a_character_in_a_message_is_the_providers_to_judge() -> None:
    """JavaScript cuts texts within a character, and writes the half as an escape: legal JSON, and not our business."""
    body = b' {"messages" : [ {"content":"a\\ud83c"} ] , "\\ud83d\\ude00":1.50,"model":"a","user":"\\ude00"}\n'
    assert rewrite(parse_request(body), model="b", include_usage=True) == (
        b'{"messages":[ {"content":"a\\ud83c"} ],"\xf0\x9f\x98\x80":1.50,"model":"b","user":"\\ude00"}'
    )
    assert rewrite(parse_request(b'{"model":"a","messages":[],"\\ud83c":{}}'), model="b", include_usage=True) == (
        b'{"model":"b","messages":[],"\xef\xbf\xbd":{}}'
    )


@pytest.mark.parametrize(
    ("more", "asked", "options"),
    [
        ({"stream": True}, True, {"include_usage": True}),
        ({"stream": True}, False, None),
        ({"stream": False}, True, None),
        ({"stream": True, "stream_options": None}, True, {"include_usage": True}),
        (
            {"stream": True, "stream_options": {"include_usage": False, "y": 1.50}},
            True,
            {"include_usage": True, "y": 1.5},
        ),
        ({"stream": True, "stream_options": {"include_usage": True}}, False, {"include_usage": True}),
    ],
)
def test_usage_is_asked_for_beside_the_callers_options(more: dict[str, Any], asked: bool, options: Any) -> None:
    request = parse_request(encoded(**more))
    sent = json.loads(rewrite(request, model="gpt", include_usage=asked))
    assert sent.get("stream_options") == options
    assert {**sent, "stream_options": None} == {**BODY, **more, "stream_options": None}
    assert rewrite(request, model="gpt", include_usage=asked) == rewrite(request, model="gpt", include_usage=asked)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)
names = st.text(max_size=5).filter(lambda name: name not in ("stream", "n"))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_every_other_value_arrives_as_it_was(more: dict[str, Any]) -> None:
    body = {**more, **BODY}
    whole = json.dumps(body, indent=2).encode()
    assert json.loads(rewrite(parse_request(whole), model="other", include_usage=True)) == {**body, "model": "other"}
    half = json.dumps({**body, "half": "\ud83c"}, indent=2).encode()
    changed = {**body, "half": "\ud83c", "model": "other"}
    assert json.loads(rewrite(parse_request(half), model="other", include_usage=True)) == changed
