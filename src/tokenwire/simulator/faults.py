"""What can go wrong on demand: the names, what each one does, and how one is asked for.

By model name (``fault-NAME`` or ``fault-NAME-N``), by the header ``X-Sim-Fault: NAME`` (or ``NAME:N``) with
any other model, or by a ``metadata`` entry ``x-sim-fault`` of the request body, which relays pass on. N is a
whole number; "k" below is N and counts generated tokens. A fault that comes after k tokens never comes in a
shorter answer. Without ``stream`` the faults marked * do the same to the single JSON body, the ``error-…``
ones become HTTP 500, and the others, which are about events, do nothing.

    ================  ======  ============================================================================
    name              N       what happens
    ================  ======  ============================================================================
    error-before *    500     HTTP error with status N and a JSON body
    429 *             1000    429 with retry-after (rounded up to seconds) and retry-after-ms: N
    overloaded *      -       503 with retry-after
    html *            -       200 with an HTML page
    json-200 *        -       200 with application/json and an error body
    json-stream *     -       200 with one JSON chat.completion, also if a stream was asked for
    early-leave *     -       the connection is closed without a byte of an answer
    stall-head *      -       the request is taken, and nothing ever comes
    slow-headers *    2       the head comes byte by byte, N ms apart
    endless-header *  -       the head never ends
    stall-first *     -       the head comes, and never an event (`stall-0`: the opening event comes as well)
    stall *           5       nothing more after k tokens, and the connection stays open
    cut *             5       closed after k tokens, in the middle of the next event and of its HTTP chunk
    cut-tool          3       the same within tool arguments, after k fragments of them
    reset *           5       RST after k tokens
    eof               5       a clean end of the body after k tokens: no finish_reason, no [DONE]
    error-first       -       200, and the first event is an error
    error-mid         5       an error event after k tokens, then the end
    error-event       5       the same with an `event: error` line before it
    malformed         5       one event whose JSON is broken, after k tokens; the stream goes on
    no-done           -       a clean end after the finish_reason, without [DONE]
    done-only         5       [DONE] after k tokens, without a finish_reason
    done-bare         -       [DONE] is not followed by a blank line
    done-twice        -       after [DONE] comes another text event, and [DONE] again
    bad-chunk         5       after k tokens a chunk size that is no number
    endless-line      5       after k tokens one event that never ends
    close-delimited   -       neither chunked nor a length: the end is the end of the connection
    split             7       every event is cut into HTTP chunks of 1 to N bytes, also inside UTF-8
    pings             1       a comment before every Nth event
    crlf              -       lines end in CR LF
    cr                -       lines end in CR
    bom               -       a byte order mark before the first event
    no-space          -       no blank after `data:`
    id-lines          -       every event has an id, and is followed by a comment block
    surrogates        -       characters beyond U+FFFF come as two escapes in two events
    gzip              -       compressed although nobody asked, flushed after each event
    brotli            -       labelled `content-encoding: br` (and not even compressed)
    deaf              -       goes on writing after the client has left
    ================  ======  ============================================================================
"""

from __future__ import annotations

import re
from typing import NamedTuple

MODEL_PREFIX = "fault-"

# The table above names them as well, for people; a test compares the two.
#: Name -> default of N, None where there is none.
FAULTS: dict[str, int | None] = {
    "error-before": 500, "429": 1000, "overloaded": None, "html": None, "json-200": None, "json-stream": None,
    "early-leave": None, "stall-head": None, "slow-headers": 2, "endless-header": None, "stall-first": None,
    "stall": 5, "cut": 5, "cut-tool": 3, "reset": 5, "eof": 5,
    "error-first": None, "error-mid": 5, "error-event": 5, "malformed": 5,
    "no-done": None, "done-only": 5, "done-bare": None, "done-twice": None,
    "bad-chunk": 5, "endless-line": 5, "close-delimited": None, "split": 7,
    "pings": 1, "crlf": None, "cr": None, "bom": None, "no-space": None, "id-lines": None,
    "surrogates": None, "gzip": None, "brotli": None, "deaf": None,
}  # fmt: skip

#: Those that also work on an answer that is not streamed (* in the table).
UNARY = frozenset({
    "error-before", "429", "overloaded", "html", "json-200", "json-stream", "early-leave", "stall-head",
    "slow-headers", "endless-header", "stall-first", "stall", "cut", "reset",
})  # fmt: skip

_NUMBER = re.compile(r"(.+)[-:]([0-9]{1,9})")


class Fault(NamedTuple):
    """A fault that was asked for; ``n`` is 0 where the fault has no number."""

    name: str
    n: int = 0


class UnknownFaultError(ValueError):
    """Nobody can fail like that; the message names those who can."""

    def __init__(self, text: str) -> None:
        super().__init__(f"there is no fault {text!r}; there are: {', '.join(FAULTS)}")


def parse_fault(text: str) -> Fault:
    """``cut``, ``cut-3`` or ``cut:3`` -> the fault.

    Raises:
        UnknownFaultError: no such name, or a number where none belongs.
    """
    if text in FAULTS:  # first, since `429` and `json-200` end in numbers themselves
        return Fault(text, FAULTS[text] or 0)
    found = _NUMBER.fullmatch(text)
    if found and FAULTS.get(found[1]) is not None:
        return Fault(found[1], int(found[2]))
    raise UnknownFaultError(text)
