"""Responses requests: what is checked, what is refused, what goes upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenwire.dialects.openai_responses.request import parse_request, rewrite
from tokenwire.errors import RequestRefused


@pytest.mark.parametrize(
    "more",
    [
        {"input": "Hi"},
        {"input": []},
        {"prompt": {"id": "p"}},
        {"previous_response_id": "resp_1"},
        {"conversation": "c"},
    ],
)
def test_what_is_asked_is_read(more: dict[str, Any]) -> None:
    request = parse_request(json.dumps({"model": "m", "stream": True, **more}).encode())
    assert (request.model, request.stream, request.include_usage) == ("m", True, True)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_request", None),
        (b'{"input":"a"}', "missing_required_parameter", "model"),
        (b'{"model":"m"}', "missing_required_parameter", "input"),
        (b'{"model":"m","input":null,"prompt":null}', "missing_required_parameter", "input"),
        (b'{"model":"m","input":{"role":"user"}}', "invalid_request", "input"),
        (b'{"model":"m","input":3}', "invalid_request", "input"),
        (b'{"model":3,"input":"a"}', "invalid_request", "model"),
        (b'{"model":"m","input":"a","stream":"yes"}', "invalid_request", "stream"),
    ],
)
def test_what_the_relay_cannot_work_with_is_refused(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_request(body)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


def test_the_body_goes_upstream_as_it_came_but_for_the_model() -> None:
    body = b'{"model":"up/m","input":[ {"role":"user"} ],"temperature":1.00,"x":"\\u00e9","stream":true}'
    request = parse_request(body)
    for include_usage in (True, False):
        assert rewrite(request, model="m", include_usage=include_usage) == (
            b'{"model":"m","input":[ {"role":"user"} ],"temperature":1.00,"x":"\\u00e9","stream":true}'
        )
