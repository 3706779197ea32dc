"""What all vendors do alike: which model and which fault a request asks for, and the reply that comes of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.simulator.exchange import Context, Frame, Reply, Request, keeps_alive, plain_reply
from tokenwire.simulator.fault_frames import bend
from tokenwire.simulator.fault_scene import Words
from tokenwire.simulator.faults import MODEL_PREFIX, NO_FAULT, UNARY, Fault, parse_fault
from tokenwire.simulator.latency import INSTANT, PROFILES, SNAPSHOTS, Profile, delays
from tokenwire.simulator.tries import digest

if TYPE_CHECKING:
    from tokenwire.simulator.knobs import Knobs

# Separates the jitter from the ids, so that an exact timing does not change the bytes.
_PACE = 0x7061_6365

# Faults that are an error in the stream: without a stream they are an HTTP error.
_ERRORS = ("error-", "overloaded-", "limited-")

_PAGE = b"<!doctype html>\n<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n"
_EDGE_PAGE = """\
<html>\r
<head><title>{status} {phrase}</title></head>\r
<body>\r
<center><h1>{status} {phrase}</h1></center>\r
<hr><center>edge (simulated)</center>\r
</body>\r
</html>\r
"""
_EDGE_PHRASES = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


class UnknownModelError(ValueError):
    """There is no such model; the message names those that there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The simulator has {', '.join(PROFILES)} and {MODEL_PREFIX}NAME.")


class Voice(NamedTuple):
    """How a vendor refuses: exceptions that its own handler turns into replies.

    Attributes:
        server_error: status -> the vendor failed.
        overloaded: too much to do, and no advice when to come back unless the vendor gives one.
        rate_limited: milliseconds to wait -> 429.
        flaky: an overload without advice.
        body: the JSON of a server error.
    """

    server_error: Callable[[int], Exception]
    overloaded: Callable[[], Exception]
    rate_limited: Callable[[int], Exception]
    flaky: Callable[[], Exception]
    body: Callable[[], bytes]


class Plan(NamedTuple):
    """How a request will be answered: how fast, with which fault, and whether as a stream."""

    profile: Profile
    fault: Fault
    stream: bool
    seed: int

    def pace(self, knobs: Knobs, side_by_side: int = 1) -> Iterator[float]:
        """Seconds to wait before each token."""
        return delays(knobs.timing(self.profile).times(side_by_side), random.Random(self.seed ^ _PACE))


def plan_for(request: Request, context: Context, model: str, stream: bool, knobs: Knobs) -> Plan:
    """Raises ``UnknownModelError`` and ``faults.UnknownFaultError``."""
    profile, fault = _model(model)
    fault = knobs.fault or fault
    if fault.tries and not context.tries.strikes(digest(knobs.run, request.headers, request.body), fault.tries):
        fault = NO_FAULT
    stream = stream and fault.name != "json-stream"
    if not stream and fault.name not in UNARY:
        fault = Fault("error-before", 500) if fault.name.startswith(_ERRORS) else NO_FAULT
    return Plan(profile, fault, stream, context.seed if knobs.seed is None else knobs.seed)


def _model(name: str) -> tuple[Profile, Fault]:
    if name.startswith(MODEL_PREFIX):
        return INSTANT, parse_fault(name.removeprefix(MODEL_PREFIX))
    for alias, snapshot in SNAPSHOTS.items():
        if name == snapshot:
            name = alias
    if name not in PROFILES:
        raise UnknownModelError(name)
    return PROFILES[name], NO_FAULT


def instead(request: Request, fault: Fault, voice: Voice) -> Reply | None:
    """The reply of a fault that replaces the answer; None for all others. Raises the vendor's refusals."""
    if fault.name == "error-before":
        raise voice.server_error(fault.n)
    if fault.name == "429":
        raise voice.rate_limited(fault.n)
    if fault.name == "overloaded":
        raise voice.overloaded()
    if fault.name == "flaky":
        raise voice.flaky()
    if fault.name == "html":
        return plain_reply(request, 200, [("content-type", "text/html; charset=utf-8")], _PAGE)
    if fault.name == "json-200":
        return plain_reply(request, 200, [("content-type", "application/json")], voice.body())
    if fault.name == "edge":
        status = fault.n if 400 <= fault.n < 600 else 502
        page = _EDGE_PAGE.format(status=status, phrase=_EDGE_PHRASES.get(status, "Error")).encode()
        return plain_reply(request, status, [("server", "edge"), ("content-type", "text/html")], page)
    return None


def bent_reply(request: Request, frames: Iterator[Frame], plan: Plan, says: Words) -> Reply:
    """The reply of *frames*, with the plan's fault in it."""
    chunked = plan.stream and not request.http_1_0
    return Reply(
        bend(plan.fault, frames, chunked=chunked, says=says, rng=random.Random(plan.seed)),
        chunked=chunked,
        keep_alive=keeps_alive(request, stream=plan.stream),
        deaf=plan.fault.name == "deaf",
        stale=plan.fault.name == "stale",
    )


class Group(NamedTuple):
    """The text of several tokens that come in one event, *delay* seconds after the event before it."""

    text: str
    tokens: int
    delay: float


def groups(
    pieces: list[str], pace: Iterator[float], rng: random.Random, sizes: Sequence[int], size: int | None
) -> Iterator[Group]:
    """Tokens as they share events: the first one comes alone, later ones in groups.

    Args:
        sizes: how many tokens an event holds, each equally likely; as many of them as a power of two.
        size: the exact number, None for as they come.
    """
    bits = (len(sizes) - 1).bit_length()
    start = 0
    while start < len(pieces):
        length = size or (sizes[rng.getrandbits(bits)] if start else 1)
        group = pieces[start : start + length]
        # Half a surrogate pair ends its event: joined to its other half it would be an ordinary character.
        for place, piece in enumerate(group):
            if piece and "\ud800" <= piece[-1] <= "\udbff":
                group = group[: place + 1]
                break
        yield Group("".join(group), len(group), sum(itertools.islice(pace, len(group))))
        start += len(group)
