"""Every exception that tokenwire raises. Imports nothing of ours.

    TokenwireError
    ├── ConfigError               settings that cannot work, said before anything starts
    │   └── UnusableTrace         a debugger was told to write where nothing can be written (also TypeError)
    ├── LocalProtocolError        the caller misused us (also ValueError where the argument itself is wrong)
    │   └── StreamClosed          an append, stop or read on a stream that is already over
    ├── RemoteProtocolError       a peer sent what its protocol forbids
    │   ├── UnreadableAnswer      its answer is whole, and in a content coding that we did not ask for
    │   ├── EventTooLarge         one event, line or header section is above its bound
    │   └── TruncatedStream       the stream ended without its dialect's end marker
    ├── UpstreamError             a provider could not be used, or said no
    │   ├── ConnectFailed         no connection: name, refused, unreachable, timed out
    │   ├── UpstreamTimeout       a deadline passed: headers, first token, between tokens, whole stream
    │   └── UpstreamStatus        an HTTP error status, with the provider's own body
    ├── RelayError                what our client meets: a relay that says nothing, or no
    │   ├── RelayUnreachable      no connection, no answer, or none that is a relay's
    │   └── RelayRefused          an HTTP error of the relay, in its own words
    │       ├── StreamNotFound    404: it has no such stream for this caller, or has it no longer
    │       ├── StreamOver        204: nothing is left after the cursor
    │       └── CursorLost        409 or 410: what follows the cursor cannot be had any more
    └── RequestRefused            a reader's request that we answer with an HTTP error
        ├── UnknownModel          404, with the candidates
        ├── NotResumable          204, 400, 404, 409 or 410: why a cursor cannot be continued
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


class StreamClosed(LocalProtocolError):
    """The stream already has its terminal entry; ``state`` says which."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"the stream is over: {state}")


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


class RequestRefused(TokenwireError):
    """A request that we answer with ``status`` and the machine word ``code``."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        self.status = status
        self.code = code
        self.param = param
        super().__init__(message)


class UnknownModel(RequestRefused):
    """No configured upstream serves this model; ``candidates`` are near names."""

    def __init__(self, model: str, candidates: Sequence[str]) -> None:
        self.model = model
        self.candidates = tuple(candidates)
        hint = f"; did you mean {', '.join(self.candidates)}?" if candidates else ""
        super().__init__(404, "model_not_found", f"no upstream serves the model {model!r}{hint}", param="model")


class NotResumable(RequestRefused):
    """A cursor that cannot be continued. ``earliest`` is the first id still held (410)."""

    def __init__(self, status: int, code: str, message: str, *, earliest: str | None = None) -> None:
        self.earliest = earliest
        super().__init__(status, code, message)


class Overloaded(RequestRefused):
    """A bound was reached: streams, memory or queue."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "overloaded", message)
