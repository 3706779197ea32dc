"""Error bodies in every shape there is, and ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.openai_chat.errors import EXCERPT, describe_error, error_body, error_object

M = "it broke"


@pytest.mark.parametrize(
    ("body", "status", "code", "message", "retryable"),
    [
        (
            {"error": {"message": M, "type": "invalid_request_error", "code": "model_not_found"}},
            404,
            "model_not_found",
            M,
            False,
        ),
        (
            {"error": {"message": M, "type": "tokens", "code": "rate_limit_exceeded"}},
            429,
            "rate_limit_exceeded",
            M,
            True,
        ),
        (
            {"error": {"message": M, "type": "insufficient_quota", "code": "insufficient_quota"}},
            429,
            "insufficient_quota",
            M,
            False,
        ),
        ({"error": {"message": M, "code": "429"}}, 429, "rate_limit_exceeded", M, True),
        ({"error": {"message": M, "code": 402, "metadata": {"raw": "x"}}}, 402, "billing_error", M, False),
        ({"error": {"message": M, "type": "overloaded_error"}}, 529, "overloaded_error", M, True),
        ({"statusCode": 404, "message": M}, 404, "not_found", M, False),
        ({"code": "Some sentence.", "error": M}, 400, "invalid_request_error", M, False),
        ({"error": M}, 500, "server_error", M, True),
        ([{"error": {"code": 400, "message": M, "status": "INVALID_ARGUMENT"}}], 400, "INVALID_ARGUMENT", M, False),
        (
            {"object": "error", "message": M, "type": "invalid_request_message_order", "code": "3051"},
            400,
            "invalid_request_message_order",
            M,
            False,
        ),
        ({"message": M, "request_id": "r"}, 401, "invalid_api_key", M, False),
        ({"detail": M}, 403, "permission_denied", M, False),
        (
            {"detail": [{"msg": M, "loc": ["body"]}]},
            422,
            "upstream_error",
            '[{"msg":"it broke","loc":["body"]}]',
            False,
        ),
        ({"errors": [{"msg": M}]}, 408, "timeout", M, True),
        ({"errors": [M]}, 409, "upstream_error", "the upstream gave no reason", True),
        ({"error": {"code": "odd_word"}}, 500, "odd_word", "odd_word", True),
        ({"error": {"message": {"text": M}}}, 500, "server_error", '{"text":"it broke"}', True),
        ({"error": {"message": " "}}, 500, "server_error", "the upstream gave no reason", True),
        ({}, 503, "overloaded", "the upstream gave no reason", True),
        ({"ok": True}, 500, "server_error", '{"ok": true}', True),
    ],
)
def test_json_bodies(body: Any, status: int, code: str, message: str, retryable: bool) -> None:
    failure = describe_error(json.dumps(body).encode(), status)
    assert (failure.code, failure.message, failure.retryable, failure.upstream_status) == (
        code,
        message,
        retryable,
        status,
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html><head><title>502 Bad\nGateway</title></head><body>nginx</body></html>", "502 Bad Gateway"),
        (b"<html><style>p{}</style><script>x()</script><p>Sorry,<br>down</p>", "Sorry, down"),
        (b"<title> </title>down", "down"),
        (b"upstream connect error", "upstream connect error"),
        (b"", "the upstream gave no reason"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error":', 'malformed JSON from the upstream: {"error":'),
    ],
)
def test_bodies_that_are_no_json(body: bytes, message: str) -> None:
    assert describe_error(body, 502) == Failed("server_error", message, True, 502, message)


def test_excerpts_are_bounded() -> None:
    failure = describe_error(b"<p>" + b"long " * 100_000, 502)
    assert len(failure.message) <= EXCERPT
    assert len(describe_error(b"[" * 100_000, 502).message) <= EXCERPT


def test_torn_characters_in_an_error_are_replaced() -> None:
    failure = describe_error(b'{"error":{"message":"a\\ud83c","x":["\\ud83c"]}}', 500)
    assert failure.message == "a\ufffd"
    error_body(failure, 500).decode()


def test_a_status_that_is_no_error_leaves_it_to_the_body() -> None:
    assert describe_error(b'{"error":{"message":"x","code":"503"}}', 200).upstream_status == 503
    assert describe_error(b"oops", 200).upstream_status is None


@pytest.mark.parametrize(
    ("code", "status", "type"),
    [
        ("x", 400, "invalid_request_error"), ("x", 404, "invalid_request_error"), ("x", 429, "rate_limit_error"),
        ("x", 500, "server_error"), ("x", 503, "server_error"), ("x", None, "server_error"),
        ("model_not_found", None, "invalid_request_error"), ("overloaded_error", None, "server_error"),
        ("rate_limit_exceeded", None, "rate_limit_error"), ("insufficient_quota", 429, "insufficient_quota"),
    ],
)  # fmt: skip
def test_the_type_goes_with_the_status(code: str, status: int | None, type: str) -> None:
    assert error_object(Failed(code, M), status) == {"message": M, "type": type, "param": None, "code": code}


def test_the_status_of_the_failure_stands_in_for_one() -> None:
    assert error_object(Failed("x", M, upstream_status=404))["type"] == "invalid_request_error"


def test_only_an_object_of_openais_form_is_passed_on() -> None:
    own = {"message": "own", "type": "server_error", "code": None}
    assert error_object(Failed("server_error", M, raw=own)) == {**own, "param": None}
    for raw in ({"message": "x"}, {"type": "error", "message": "x"}, "x", None):
        assert error_object(Failed("c", M, raw=raw))["message"] == M


def test_error_bodies_are_openais() -> None:
    assert json.loads(error_body(Failed("c", M), 400)) == {
        "error": {"message": M, "type": "invalid_request_error", "param": None, "code": "c"}
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "status", "detail", "errors", "object", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@pytest.mark.untraced
@settings(max_examples=200, deadline=None)
@given(anything.map(json.dumps).map(str.encode) | st.binary(), st.sampled_from([200, 400, 404, 429, 500]))
def test_describe_error_never_raises(body: bytes, status: int) -> None:
    failure = describe_error(body, status)
    assert failure.code
    assert failure.message
    error_body(failure, status)
