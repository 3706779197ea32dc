"""Whether a request that failed is sent again, and when. Pure: no clock, no randomness of its own.

The rules are those of the vendors' SDKs (reference, section 2), so that a caller finds here what its own SDK would have
done a moment later; and only before the first generated event, for nobody can unread a token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from tokenwire.errors import ConnectFailed

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed

#: Statuses that condemn the key, the account, the model or its quota, not the request: another upstream may say yes.
_ONLY_HERE = frozenset({401, 402, 403, 404, 429})


class Retry(Struct, frozen=True, kw_only=True):
    """How often and how soon the same upstream is asked again. Seconds.

    Attributes:
        attempts: requests in all; 1 never repeats. Two: callers' SDKs send theirs three times by themselves, and each
            of ours counts for every one of theirs.
        base_delay, max_delay: the first wait, doubled each time up to the longest; the SDKs' own figures.
        max_retry_after: a provider that asks for a longer wait is obeyed by its caller: the error with its
            ``retry-after`` is passed on. As long as a response is held before its head goes out anyway.
    """

    attempts: int = 2
    base_delay: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float = 10.0

    def delay(self, number: int, headers: Sequence[tuple[bytes, bytes]], wall: float, noise: float) -> float | None:
        """Seconds to wait after attempt *number* (from 1); None when the provider asks for more than is obeyed.

        *wall*: seconds since 1970. *noise*: 0 to 1, different for each of the many streams that failed together.
        """
        asked = retry_after(headers, wall)
        if asked is not None:
            # Never sooner than asked; and not all at the same moment, which is what made the provider say no.
            return None if asked > self.max_retry_after else asked * (1 + noise / 10)
        longest = min(self.max_delay, self.base_delay * math.pow(2.0, min(number - 1, 60)))
        return longest * (1 + noise) / 2


def retry_after(headers: Sequence[tuple[bytes, bytes]], wall: float) -> float | None:
    """The wait that the provider asks for, in seconds: ``retry-after-ms``, else ``retry-after`` as a number or an HTTP
    date (RFC 9110 section 10.2.3). None where it does not ask, or says nothing that can be understood."""
    fields = dict(headers)
    milliseconds = _number(fields.get(b"retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = fields.get(b"retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return max(0.0, date.timestamp() - wall)
    except (ValueError, OverflowError, OSError):
        return None


def retries(failed: Failed, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the same upstream may be asked again. *status* is the HTTP answer's, 0 where none came.

    The dialect has said what can be lifted by time alone; an HTTP error may overrule it with ``x-should-retry``.
    """
    if status >= 300:
        said = dict(headers).get(b"x-should-retry", b"").strip().lower()
        if said == b"false":
            return False
        # A rate limit that is not retryable is a quota that is used up (insufficient_quota): no word lifts it.
        if said == b"true" and status >= 400 and status not in (402, 429):
            return True
    return failed.retryable


def elsewhere(failed: Failed, status: int) -> bool:
    """Whether another upstream may be asked: unless it is the request itself that is wrong."""
    if failed.retryable or failed.code == ConnectFailed.code:  # there is none at all, whatever the reason
        return True
    return status in _ONLY_HERE or failed.upstream_status in _ONLY_HERE


def _number(value: bytes | None) -> float | None:
    try:
        number = float(value or b"")
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
