"""What can go wrong on demand: the names, what each one does, and how one is asked for.

By model name (``fault-NAME`` or ``fault-NAME-N``), by the header ``X-Sim-Fault: NAME`` (or ``NAME:N``) with any other
model, or by a ``metadata`` entry ``x-sim-fault`` of the request body, which relays pass on. ``-xT`` behind any of them
(``fault-cut-3-x2``) makes it happen to the first T tries of a request only; see ``tries``.

``TABLE`` below is the one list. ``listing()`` prints it for ``GET /``, ``--help`` and the documentation.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

MODEL_PREFIX = "fault-"

#: Where in an answer a fault strikes. ``shape``: all along, and nothing is lost.
Phase: TypeAlias = Literal["connection", "head", "first", "middle", "end", "shape"]


class Spec(NamedTuple):
    """A row of the table.

    Attributes:
        name: what asks for it.
        n: the number that it takes, as it is if none is given; None if it takes none.
        phase: where it strikes.
        unary: whether it does the same to an answer that is not streamed.
        what: what happens, for people.
        flawed: whether a client may notice at all; False for what every client has to bear.
    """

    name: str
    n: int | None
    phase: Phase
    unary: bool
    what: str
    flawed: bool = True


#: Everything that can go wrong. "k" is the fault's number and counts generated tokens.
TABLE: tuple[Spec, ...] = (
    # The connection
    Spec("early-leave", None, "connection", True, "the connection is closed without a byte of an answer"),
    Spec("reset-head", None, "connection", True, "RST without a byte of an answer"),
    Spec("garbage", None, "connection", True, "bytes that are not HTTP, then the connection is closed"),
    Spec("close-after", None, "connection", True, "closed right after the answer, which had not said so", flawed=False),
    Spec("stale", None, "connection", True, "RST when the next request comes on the same connection", flawed=False),
    # Before, in or instead of the head
    Spec("error-before", 500, "head", True, "HTTP error with status N and the vendor's JSON body"),
    Spec("flaky", 2, "head", True, "overloaded for the first N tries of a request, without retry-after; then honest"),
    Spec(
        "429",
        1000,
        "head",
        True,
        "429 with retry-after (rounded up to seconds) and retry-after-ms: N",
    ),
    Spec(
        "overloaded",
        None,
        "head",
        True,
        "the vendor's overload: 503 (OpenAI, with retry-after; Gemini), 529 (Anthropic)",
    ),
    Spec("edge", 502, "head", True, "HTTP error with status N and an HTML page, as from a proxy at the edge"),
    Spec("html", None, "head", True, "200 with an HTML page"),
    Spec("json-200", None, "head", True, "200 with application/json and an error body"),
    Spec("json-stream", None, "head", True, "200 with the whole answer as JSON, also if a stream was asked for"),
    Spec("wrong-type", None, "head", True, "the right body, labelled text/html"),
    Spec("slow-head", 2000, "head", True, "nothing for N ms, then the answer", flawed=False),
    Spec("stall-head", None, "head", True, "the request is taken, and nothing ever comes"),
    Spec("slow-headers", 2, "head", True, "the head comes byte by byte, N ms apart", flawed=False),
    Spec("cut-head", None, "head", True, "closed in the middle of the head"),
    Spec("endless-header", None, "head", True, "the head never ends"),
    # Between the head and the first token
    Spec("slow-first", 2000, "first", False, "the opening events come, and the first token N ms later", flawed=False),
    Spec("stall-first", None, "first", True, "the head, and never an event (`stall-0`: the opening ones come)"),
    Spec("error-first", None, "first", False, "200, and the first event is an error"),
    Spec("overloaded-first", None, "first", False, "200, and the first event says overloaded"),
    # In the middle
    Spec("stall", 5, "middle", True, "nothing more after k tokens, and the connection stays open"),
    Spec("cut", 5, "middle", True, "closed after k tokens, in the middle of the next event and of its HTTP chunk"),
    Spec("cut-tool", 3, "middle", False, "the same within tool arguments, after k tokens of them"),
    Spec("reset", 5, "middle", True, "RST after k tokens"),
    Spec("eof", 5, "middle", False, "a clean end of the body after k tokens: no stop reason, no end marker"),
    Spec("error-mid", 5, "middle", False, "an error event after k tokens, then the end"),
    Spec(
        "error-event",
        5,
        "middle",
        False,
        "the same otherwise framed: with an `event:` line (Chat), without; bare (Gemini)",
    ),
    Spec("overloaded-mid", 5, "middle", False, "the same with the error for overload"),
    Spec("limited-mid", 5, "middle", False, "the same with the error for a rate limit"),
    Spec("malformed", 5, "middle", False, "one event whose JSON is broken, after k tokens; the stream goes on"),
    Spec("bad-chunk", 5, "middle", False, "after k tokens a chunk size that is no number"),
    Spec("endless-line", 5, "middle", False, "after k tokens one event that never ends"),
    # The end. The end marker is [DONE] (Chat), message_stop (Anthropic), response.completed (Responses), the `]` of
    # Gemini's array; its events have none, so there the last event counts as that
    Spec("error-last", None, "end", False, "an error event after the stop reason, instead of the end marker"),
    Spec("no-done", None, "end", False, "a clean end after the stop reason, without the end marker"),
    Spec("done-only", 5, "end", False, "the end marker after k tokens, without a stop reason"),
    Spec("done-bare", None, "end", False, "the end marker is not followed by a blank line"),
    Spec("done-twice", None, "end", False, "after the end marker comes another text event, and the marker again"),
    # How it is said
    Spec("close-delimited", None, "shape", False, "neither chunked nor a length: the connection's end is the end"),
    Spec("split", 7, "shape", False, "every event is cut into HTTP chunks of 1 to N bytes, also inside UTF-8", False),
    Spec(
        "pings",
        1,
        "shape",
        False,
        "before every Nth event one that says nothing: a comment (Chat), a ping, …",
        False,
    ),
    Spec("crlf", None, "shape", False, "lines end in CR LF", False),
    Spec("cr", None, "shape", False, "lines end in CR", False),
    Spec("bom", None, "shape", False, "a byte order mark before the first event"),
    Spec("no-space", None, "shape", False, "no blank after a field's colon", False),
    Spec("no-event", None, "shape", False, "no `event:` lines (which Chat and Gemini have none of anyway)"),
    Spec("id-lines", None, "shape", False, "every event has an id, and is followed by a comment block"),
    Spec("start-twice", None, "shape", False, "the opening event comes twice"),
    Spec("surrogates", None, "shape", False, "characters beyond U+FFFF come as two escapes in two events"),
    Spec("gzip", None, "shape", True, "gzip although nobody asked, flushed after each event", False),
    Spec("deflate", None, "shape", True, "the same in `deflate`, which is zlib's format (RFC 9110)", False),
    Spec("deflate-raw", None, "shape", True, "the same without zlib's head and tail, as some servers have it", False),
    Spec("brotli", None, "shape", True, "the same in `br`"),
    Spec(
        "deaf",
        None,
        "shape",
        False,
        "goes on writing after the client has left",
    ),
)

FAULTS: dict[str, Spec] = {spec.name: spec for spec in TABLE}

#: Those that also work on an answer that is not streamed.
UNARY = frozenset(spec.name for spec in TABLE if spec.unary)

_NUMBER = re.compile(r"(.+)[-:]([0-9]{1,9})")
_TRIES = re.compile(r"(.+)[-:]x([0-9]{1,4})")


class Fault(NamedTuple):
    """A fault that was asked for.

    Attributes:
        n: its number; 0 where it has none.
        tries: it strikes the first so many tries of a request; 0: every one.
    """

    name: str
    n: int = 0
    tries: int = 0


NO_FAULT = Fault("")


class UnknownFaultError(ValueError):
    """Nobody can fail like that; the message names those who can."""

    def __init__(self, text: str) -> None:
        super().__init__(f"there is no fault {text!r}; there are: {', '.join(FAULTS)}")


def parse_fault(text: str) -> Fault:
    """``cut``, ``cut-3``, ``cut:3`` or ``cut-3-x2`` -> the fault.

    Raises:
        UnknownFaultError: no such name, or a number where none belongs.
    """
    limited = _TRIES.fullmatch(text)
    if limited and int(limited[2]):
        return _named(limited[1], text)._replace(tries=int(limited[2]))
    fault = _named(text, text)
    return fault._replace(tries=fault.n) if fault.name == "flaky" else fault


def _named(text: str, whole: str) -> Fault:
    if text in FAULTS:  # first, since `429` and `json-200` end in numbers themselves
        return Fault(text, FAULTS[text].n or 0)
    found = _NUMBER.fullmatch(text)
    if found and found[1] in FAULTS and FAULTS[found[1]].n is not None:
        return Fault(found[1], int(found[2]))
    raise UnknownFaultError(whole)


_USAGE = f"""\
As model {MODEL_PREFIX}NAME or {MODEL_PREFIX}NAME-N, as header X-Sim-Fault: NAME[-N], or as metadata x-sim-fault.
-xT at the end: only the first T tries of a request fail. k is N, and counts generated tokens; a fault after k tokens
never comes in a shorter answer. Without `stream` those with * do the same to the single JSON body, those that are an
error in the stream become HTTP 500, and the others, which are about events, do nothing. Gemini gives its advice to wait
in the body (RetryInfo), and refuses faults that are about what its stream does not have.
"""


def listing() -> str:
    """The table as text, with how to ask for a row; lines of up to 120 characters."""
    rows = [(f"{spec.name}{' *' * spec.unary}", "-" if spec.n is None else str(spec.n), spec) for spec in TABLE]
    lines = [f"  {name:<17} {n:>4}  {spec.phase:<10}  {spec.what}" for name, n, spec in rows]
    return "\n".join([_USAGE, f"  {'name':<17} {'N':>4}  {'where':<10}  what happens", *lines]) + "\n"
