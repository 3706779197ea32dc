"""Every exception that tokenwire raises. Imports nothing of ours.

    TokenwireError
    ├── ConfigError               settings that cannot work, said before anything starts
    │   └── UnusableTrace         a debugger was told to write where nothing can be written (also TypeError)
    ├── LocalProtocolError        the caller misused us (also ValueError where the argument itself is wrong)
    │   ├── BadArgument           an argument of ours that cannot be (also ValueError)
    │   ├── BadTool               a function that cannot be a tool (also TypeError)
    │   ├── InvalidSchema         a JSON Schema that cannot be used (also ValueError)
    │   └── StreamClosed          an append, stop or read on a stream that is already over
    ├── RemoteProtocolError       a peer sent what its protocol forbids
    │   ├── UnreadableAnswer      its answer is whole, and in a content coding that we did not ask for
    │   ├── EventTooLarge         one event, line or header section is above its bound
    │   ├── InvalidJson           text that has to be JSON and is not, with the place
    │   │   └── IncompleteJson    it ended in the middle of a value
    │   ├── SchemaViolation       JSON that its schema, or its Python type, does not allow
    │   └── TruncatedStream       the stream ended without its dialect's end marker
    ├── UpstreamError             a provider could not be used, or said no
    │   ├── ConnectFailed         no connection: name, refused, unreachable, timed out
    │   ├── UpstreamTimeout       a deadline passed: headers, first token, between tokens, whole stream
    │   ├── UpstreamStatus        an HTTP error status, with the provider's own body
    │   └── AnswerFailed          what the library's user meets: no answer, or one that is not whole
    │       ├── RequestRejected   the provider does not take this request: another try says the same
    │       ├── NotAuthorised     401, 403: no key, a wrong one, or none for this model
    │       ├── RateLimited       429: too many requests or tokens, or no money left
    │       ├── ProviderDown      it is overloaded, out of order, silent or cannot be reached
    │       ├── AnswerCut         the answer ended before its end
    │       └── AnswerStopped     somebody stopped it: a cancel from elsewhere, a relay that shuts down
    ├── ToolError                 what a tool has to say to the model; raised by tools
    │   └── BadArguments          arguments of a call that are no JSON, or do not fit the tool
    ├── TooManyTurns              the model goes on calling tools after the last turn that it had
    ├── RelayError                what our client meets: a relay that says nothing, or no
    │   ├── RelayUnreachable      no connection, no answer, or none that is a relay's
    │   └── RelayRefused          an HTTP error of the relay, in its own words
    │       ├── StreamNotFound    404: it has no such stream for this caller, or has it no longer
    │       ├── StreamOver        204: nothing is left after the cursor
    │       └── CursorLost        409 or 410: what follows the cursor cannot be had any more
    ├── StoreFailed               a store could not be used now; nothing was lost by that
    │   └── StoreConflict         an append that does not continue what is stored
    └── RequestRefused            a reader's request that we answer with an HTTP error
        ├── UnknownModel          404, with the candidates
        ├── NotResumable          204, 400, 404, 409 or 410: why a cursor cannot be continued
        ├── StoreAway             503: what it needs cannot be read or written now
        └── Overloaded            503, with the bound that was reached

Facts are attributes, ``str()`` composes the sentence: callers branch on data, never on words.
"""

from __future__ import annotations

from collections.abc import Sequence


class TokenwireError(Exception):
    """Base of everything that tokenwire raises on purpose."""


class ConfigError(TokenwireError):
    """Settings that cannot work. ``where`` names the place (``upstreams.openai.base_url``), ``message``
    says the rest."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        self.where = where
        self.message = message
        super().__init__(f"{where}: {message}" if where else message)


class UnusableTrace(ConfigError, TypeError):
    """What a trace was to be written to is no path, no open file and no callable."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"a path, an open file or a callable, not {kind}", where="trace")


class LocalProtocolError(TokenwireError):
    """We were called in a way that is not allowed in this state: a bug in the caller."""


class BadArgument(LocalProtocolError, ValueError):
    """The argument *name* cannot be what it is; ``message`` says why, and what to do."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
        super().__init__(f"{name}: {message}")


class StreamClosed(LocalProtocolError):
    """The stream already has its terminal entry; ``state`` says which."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"the stream is over: {state}")


class BadTool(LocalProtocolError, TypeError):
    """A function that cannot be a tool, told when it is made one. ``tool`` is its name, as far as it has one."""

    def __init__(self, tool: str, message: str) -> None:
        self.tool = tool
        super().__init__(f"{tool}: {message}")


class InvalidSchema(LocalProtocolError, ValueError):
    """A JSON Schema that cannot be used; ``pointer`` is the place in the schema, ``message`` says what is wrong."""

    def __init__(self, message: str, *, pointer: str = "") -> None:
        self.message = message
        self.pointer = pointer
        super().__init__(f"the schema cannot be used, at {pointer or 'its root'}: {message}")


class RemoteProtocolError(TokenwireError):
    """A peer broke its protocol. Received bytes can raise this and nothing else."""


class UnreadableAnswer(RemoteProtocolError):
    """The peer answered, in a content coding that nobody here can read."""


class EventTooLarge(RemoteProtocolError):
    """One unit of the peer's protocol grew past its bound (bytes)."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(f"{what} is larger than {limit} bytes; raise the limit if the peer is trusted")


class InvalidJson(RemoteProtocolError):
    """A text that has to be JSON (RFC 8259) and is not.

    Attributes:
        problem: what is wrong, in words.
        character: the offending one; None where it is the end of the text, or none is to blame.
        offset: characters before it, from 0.
        line, column: of it, both from 1.
    """

    def __init__(self, problem: str, *, offset: int, line: int, column: int, character: str | None = None) -> None:
        self.problem = problem
        self.character = character
        self.offset = offset
        self.line = line
        self.column = column
        found = "" if character is None else f", not {character!r}"
        super().__init__(f"invalid JSON at line {line}, column {column} (offset {offset}): {problem}{found}")


class IncompleteJson(InvalidJson):
    """The text ended before its JSON value did; ``offset`` is its length."""


class SchemaViolation(RemoteProtocolError):
    """A JSON value that its schema, or the Python type asked for, does not allow.

    Attributes:
        path: names and positions from the root to the value; ``pointer`` is the same as a JSON Pointer (RFC 6901).
        keyword: of JSON Schema, that forbids it (``type``, ``enum`` …); ``value`` where a Python type does.
        expected, found: what would have been allowed, and what came, in words.
        offset, line, column: where the token is that proves it, as in `InvalidJson`; None where no text is at hand.
    """

    def __init__(
        self, path: tuple[str | int, ...], pointer: str, keyword: str, expected: str, found: str,
        *, offset: int | None = None, line: int | None = None, column: int | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.pointer = pointer
        self.keyword = keyword
        self.expected = expected
        self.found = found
        self.offset = offset
        self.line = line
        self.column = column
        place = "" if offset is None else f" (line {line}, column {column})"
        super().__init__(f"{pointer or 'the value'}{place} breaks {keyword!r}: expected {expected}, found {found}")


class TruncatedStream(RemoteProtocolError):
    """The bytes ended, and the dialect's end marker never came."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        super().__init__(f"the upstream closed before the end marker of {dialect}: the answer is incomplete")


class UpstreamError(TokenwireError):
    """A provider failed us.

    Attributes:
        code: stable machine word (``connect_failed``, ``upstream_timeout`` …).
        retryable: whether the same request may succeed later.
        status: the provider's HTTP status, if it got that far.
    """

    code = "upstream_error"
    retryable = True

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class ConnectFailed(UpstreamError):
    """No connection to ``host``: the phase and the cause are in the sentence.

    Phases: ``resolve``, ``connect``, ``TLS handshake``; by a proxy ``proxy resolve``, ``proxy connect``, ``proxy TLS
    handshake``, ``proxy CONNECT``, ``TLS handshake``. *retryable*: False where the next try must fail as well.
    """

    code = "connect_failed"

    def __init__(self, host: str, phase: str, cause: str, *, retryable: bool = True) -> None:
        self.host = host
        self.phase = phase
        self.retryable = retryable
        super().__init__(f"{host}: {phase} failed: {cause}")


class UpstreamTimeout(UpstreamError):
    """A deadline passed. ``phase`` is ``connect``, ``headers``, ``first_token``, ``between_tokens`` or ``total``."""

    code = "upstream_timeout"

    def __init__(self, phase: str, seconds: float) -> None:
        self.phase = phase
        self.seconds = seconds
        super().__init__(f"no answer from the upstream within {seconds:g} s ({phase.replace('_', ' ')})")


class UpstreamStatus(UpstreamError):
    """The provider answered with an HTTP error; ``headers`` and ``body`` are its own words."""

    code = "upstream_status"

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, message: str) -> None:
        self.headers = headers
        self.body = body
        super().__init__(message, status=status)
        self.retryable = status in (408, 409, 429) or status >= 500


class AnswerFailed(UpstreamError):
    """No answer, or one that is not whole. What came of it is in the stream's ``answer``.

    Attributes:
        code: the provider's own word where it gave one, else ours (``truncated``, ``upstream_timeout`` …).
        status: the HTTP status that the provider gave or implied, if any.
        retryable: whether the same request may succeed later.
        retry_after: seconds, where the provider asks for a wait.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after


class RequestRejected(AnswerFailed):
    """The provider does not take this request: a parameter, a model, a length or a text that it does not allow."""


class NotAuthorised(AnswerFailed):
    """The key is missing, wrong, or not for this."""


class RateLimited(AnswerFailed):
    """Too much for now; ``retry_after`` says how long, where the provider does."""


class ProviderDown(AnswerFailed):
    """The provider is overloaded, out of order, silent or cannot be reached: ``code`` says which."""


class AnswerCut(AnswerFailed):
    """The answer ended in the middle."""


class AnswerStopped(AnswerFailed):
    """Somebody else stopped the answer: a cancel from elsewhere, or a relay that shuts down."""


class ToolError(TokenwireError):
    """Raise it in a tool: the model is told the message as it is, and may do better."""


class BadArguments(ToolError):
    """The arguments of a call are no JSON object, or do not fit the tool's parameters. The tool did not run."""


class TooManyTurns(TokenwireError):
    """The model called tools in the last turn that it was given. Those calls did not run.

    Attributes:
        turns: how many there were.
        calls: names of the tools that were called last.
        messages: the conversation before the turn of those calls, with all results: it can be gone on with.
    """

    def __init__(self, turns: int, calls: Sequence[str], messages: Sequence[object]) -> None:
        self.turns = turns
        self.calls = tuple(calls)
        self.messages = list(messages)
        named = ", ".join(self.calls)
        super().__init__(f"the model still calls tools ({named}) in turn {turns}, the last that max_turns allows")


class RelayError(TokenwireError):
    """A relay could not be used, seen from its client."""


class RelayUnreachable(RelayError):
    """Nothing (more) came from the relay at ``url``; ``cause`` says what was seen."""

    def __init__(self, url: str, cause: str) -> None:
        self.url = url
        self.cause = cause
        super().__init__(f"the relay at {url} cannot be reached: {cause}")


class RelayRefused(RelayError):
    """The relay answered with an error.

    Attributes:
        status: of HTTP.
        code: stable machine word (``model_not_found``, ``not_an_id`` …).
        retryable: whether the same request may succeed later.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.retryable = status in (408, 425, 429) or status >= 500
        super().__init__(message)


class StreamNotFound(RelayRefused):
    """No such stream for this caller: never there, ended long ago, or its relay restarted without a store."""


class StreamOver(RelayRefused):
    """Nothing is left after the cursor: whoever holds it has everything."""


class CursorLost(RelayRefused):
    """Continuity cannot be proven (409) or the events are gone (410); ``earliest`` is the first id still held."""

    def __init__(self, status: int, code: str, message: str, *, earliest: str | None = None) -> None:
        self.earliest = earliest
        super().__init__(status, code, message)


class StoreFailed(TokenwireError):
    """The store cannot be used now: it is locked, full, unreachable or broken. ``message`` says which; trying again may
    help, and nothing that it had accepted is lost."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class StoreConflict(StoreFailed):
    """What was to be added to *stream* does not begin right after the newest entry stored, number *last* (0: none)."""

    def __init__(self, stream: str, last: int) -> None:
        self.stream = stream
        self.last = last
        super().__init__(f"stream {stream}: what was to be stored does not follow entry {last}")


class RequestRefused(TokenwireError):
    """A request that we answer with ``status`` and the machine word ``code``."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        self.status = status
        self.code = code
        self.param = param
        super().__init__(message)


class UnknownModel(RequestRefused):
    """No configured upstream serves this model; ``candidates`` are near names, ``variable`` is what the environment
    lacks for a vendor that would."""

    def __init__(self, model: str, candidates: Sequence[str], *, variable: str | None = None) -> None:
        self.model = model
        self.candidates = tuple(candidates)
        self.variable = variable
        hint = f"; did you mean {', '.join(self.candidates)}?" if candidates else ""
        if variable is not None:
            hint = f": {variable} is not in the environment"
        super().__init__(404, "model_not_found", f"no upstream serves the model {model!r}{hint}", param="model")


class NotResumable(RequestRefused):
    """A cursor that cannot be continued. ``earliest`` is the first id still held (410)."""

    def __init__(self, status: int, code: str, message: str, *, earliest: str | None = None) -> None:
        self.earliest = earliest
        super().__init__(status, code, message)


class StoreAway(RequestRefused):
    """What the request needs is in the store, which cannot be used now; ``cause`` says what it said."""

    def __init__(self, cause: StoreFailed, message: str = "the store cannot be asked now") -> None:
        self.cause = cause
        super().__init__(503, "store_away", f"{message}: {cause}")


class Overloaded(RequestRefused):
    """A bound was reached: streams, memory or queue. ``seconds``: when to try again."""

    def __init__(self, message: str, *, seconds: int = 1) -> None:
        self.seconds = seconds
        super().__init__(503, "overloaded", message)
