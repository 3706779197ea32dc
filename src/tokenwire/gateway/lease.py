"""``X-Tokenwire-Lease``: a reader says how often he will say that he is there, for proxies that hide when he leaves.

Any request that is answered with a stream may bring it; the answer's header repeats it where it is in force, and gives
the id by which it is renewed (``POST /v1/streams/{id}/lease``). Where an address is all that a client can give
(EventSource), ``?lease=SECONDS`` does the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.engine.leases import no_lease
from tokenwire.errors import RequestRefused
from tokenwire.gateway.answers import header, query

if TYPE_CHECKING:
    from tokenwire.engine.leases import Lease
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.answers import Headers
    from tokenwire.gateway.sinks import Scope

SECONDS: Final = b"x-tokenwire-lease"
ID: Final = b"x-tokenwire-lease-id"

#: Shorter ones would be lost to a slow line, longer ones say nothing of who reads.
LEAST: Final = 1.0
MOST: Final = 3600.0

_NUMBER: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", re.ASCII)


class Renewal(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a renewal, if it has one: the lease's id, where no header can be set."""

    lease: str | None = None


def asked(scope: Scope) -> float | None:
    """The lease that a request wants, in seconds; None for none. Raises ``RequestRefused`` (400)."""
    said = header(scope, SECONDS)
    if said is None and scope["method"] == "GET" and b"lease=" in scope.get("query_string", b""):
        said = query(scope).get("lease")
    return None if said is None else parse(said)


def parse(value: str) -> float:
    """*value* as seconds. Raises ``RequestRefused`` (400) for what is no lease."""
    seconds = float(value) if _NUMBER.fullmatch(value) else 0.0
    return checked(seconds, value)


def checked(seconds: float, said: object) -> float:
    """*seconds*, if a lease may last so long. Raises ``RequestRefused`` (400)."""
    if not LEAST <= seconds <= MOST:
        message = f"a lease is {LEAST:g} to {MOST:g} seconds, not {str(said)[:40]!r}"
        raise RequestRefused(400, "bad_lease", message, param=SECONDS.decode())
    return seconds


def headers(lease: Lease | None) -> Headers:
    """What the answer says of a lease in force."""
    return [] if lease is None else [(SECONDS, b"%g" % lease.seconds), (ID, lease.id.encode())]


def renewed(stream: Stream, scope: Scope, body: bytes) -> dict[str, Any]:
    """``POST /v1/streams/{id}/lease``: the answer.

    Of a stream that is over nothing need be renewed: *seconds* is null. Raises ``RequestRefused``: 404 where no lease
    is in force (the reader that had it is to come back), 400 for a body that is none.
    """
    lease_id = header(scope, ID) or _said(body)
    if stream.terminal is not None:
        return {"state": stream.state.value, "leases": 0, "seconds": None, "expires": None}
    leases = stream.leaving.leases
    if leases is None:
        raise no_lease(lease_id)
    done = leases.renew(lease_id)
    seconds = round(done.seconds, 3)
    expires = round(stream.clock.wall() + done.seconds, 3)
    return {"state": stream.state.value, "leases": done.leases, "seconds": seconds, "expires": expires}


def _said(body: bytes) -> str | None:
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body, type=Renewal).lease
    except (msgspec.DecodeError, RecursionError) as error:
        message = f'the body of a renewal is empty, or {{"lease": "ID"}}: {error}'
        raise RequestRefused(400, "bad_request", message) from error
