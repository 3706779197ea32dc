"""The rules of asking again: which failures, and when."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.upstream.retry import Retry, elsewhere, retries, retry_after

NOW = 1_763_600_000.0
Fields = list[tuple[bytes, bytes]]

LATER = Failed("upstream_closed", "gone", retryable=True)
NEVER = Failed("invalid_request_error", "no", retryable=False)


def date(seconds: float) -> bytes:
    return formatdate(NOW + seconds, usegmt=True).encode()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"3")], 3.0),
        ([(b"retry-after", b" 0.25 ")], 0.25),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after-ms", b"120.5")], 0.1205),
        ([(b"retry-after-ms", b"120"), (b"retry-after", b"1")], 0.12),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"1")], 1.0),
        ([(b"retry-after", date(7))], 7.0),
        ([(b"retry-after", date(-7))], 0.0),
        ([(b"retry-after", b"Thu, 20 Nov 2025 00:53:27 +0000")], 7.0),
        ([(b"retry-after", b"-3")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"")], None),
        ([(b"retry-after", b"Thu, 99 Nov 2025 00:53:27 GMT")], None),
        ([(b"retry-after", b"\xff\xfe")], None),
    ],
)
def test_the_wait_that_is_asked_for(headers: Fields, seconds: float | None) -> None:
    found = retry_after(headers, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.binary(max_size=60))
def test_whatever_a_header_says_is_no_error(value: bytes) -> None:
    for name in (b"retry-after", b"retry-after-ms"):
        found = retry_after([(name, value)], NOW)
        assert found is None or found >= 0


def test_backoff_doubles_up_to_the_longest() -> None:
    retry = Retry(base_delay=0.5, max_delay=8.0)
    assert [retry.delay(number, [], NOW, 1.0) for number in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert retry.delay(2000, [], NOW, 1.0) == 8.0


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 60), st.floats(0, 60))
def test_jitter_is_at_most_half(number: int, noise: float, base: float, longest: float) -> None:
    retry = Retry(base_delay=base, max_delay=longest)
    most = retry.delay(number, [], NOW, 1.0)
    wait = retry.delay(number, [], NOW, noise)
    assert most is not None
    assert wait is not None
    assert most <= longest
    assert most / 2 <= wait <= most


@given(st.floats(0, 1000), st.floats(0, 1))
def test_what_the_provider_asks_for_is_obeyed_never_sooner_or_not_at_all(seconds: float, noise: float) -> None:
    seconds = round(seconds, 6)
    wait = Retry(max_retry_after=10).delay(1, [(b"retry-after", b"%.6f" % seconds)], NOW, noise)
    if seconds > 10:
        assert wait is None
    else:
        assert wait is not None
        assert seconds - 1e-9 <= wait <= seconds * 1.1 + 1e-9


@pytest.mark.parametrize(
    ("status", "body", "may"),
    [
        (400, b'{"error":{"type":"invalid_request_error"}}', False),
        (401, b"{}", False),
        (404, b"", False),
        (408, b"", True),
        (409, b"{}", True),
        (422, b"{}", False),
        (429, b'{"error":{"code":"rate_limit_exceeded"}}', True),
        (429, b'{"error":{"code":"insufficient_quota"}}', False),
        (429, b'{"error":{"type":"insufficient_quota","code":null}}', False),
        (500, b"<html>oops", True),
        (503, b"", True),
        (529, b"{}", True),
    ],
)
def test_by_status(status: int, body: bytes, may: bool) -> None:
    failed = describe_error(body, status)
    assert retries(failed, status, []) is may
    assert retries(failed, status, [(b"x-should-retry", b"false")]) is False


@pytest.mark.parametrize(
    ("status", "may"), [(400, True), (404, True), (402, False), (429, False), (301, False), (200, False), (0, False)]
)
def test_a_provider_may_ask_for_it_but_lifts_no_quota(status: int, may: bool) -> None:
    assert retries(NEVER, status, [(b"x-should-retry", b"True ")]) is may


def test_the_header_counts_in_refusals_only() -> None:
    assert retries(LATER, 200, [(b"x-should-retry", b"false")])
    assert retries(LATER, 503, [(b"x-should-retry", b"maybe")])


@pytest.mark.parametrize(
    ("failed", "status", "may"),
    [
        (LATER, 0, True),
        (NEVER, 400, False),
        (NEVER, 422, False),
        (NEVER, 401, True),
        (NEVER, 403, True),
        (NEVER, 404, True),
        (NEVER, 429, True),
        (Failed("model_not_found", "no", upstream_status=404), 200, True),
        (Failed("insufficient_quota", "no", upstream_status=429), 200, True),
        (Failed("connect_failed", "the certificate was not accepted"), 0, True),
        (Failed("event_too_large", "no"), 200, False),
        (Failed("invalid_prompt", "no", upstream_status=400), 200, False),
    ],
)
def test_another_upstream_may_say_yes_unless_the_request_is_wrong(failed: Failed, status: int, may: bool) -> None:
    assert elsewhere(failed, status) is may
