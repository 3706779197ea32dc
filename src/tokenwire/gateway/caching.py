"""What the cache does for one request: whether it takes part, from where it is answered, and what is kept of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.engine.recording import record
from tokenwire.errors import RequestRefused
from tokenwire.gateway.answers import header
from tokenwire.gateway.cache import Key
from tokenwire.gateway.cache_key import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.cache import Found
    from tokenwire.gateway.cache_settings import CacheSettings
    from tokenwire.gateway.core import Core
    from tokenwire.gateway.sinks import Scope
    from tokenwire.gateway.vendors import Caller
    from tokenwire.gateway.ways import Way

#: The request's field that says how far the cache may serve it, and the answer's that says whether it did.
FIELD: Final = b"x-tokenwire-cache"
#: Whose streams are nobody's: those that ask upstreams for several callers at once. No caller is called that.
NOBODY: Final = "\0nobody"
# Answers of these are not told in the other form (a stream for a whole one): their ids would be ours, and requests that
# go on with them by id (``previous_response_id``) would be the provider's to refuse.
_ONE_FORM: Final = frozenset({"openai.responses"})


# Where a stream keeps which question it answers.
_KEY: Final = "question"


class Wish(NamedTuple):
    """A request that takes part.

    Attributes:
        either: an answer in the other form will do.
        fresh: a kept answer is not wanted, but a new one is kept.
    """

    key: Key
    settings: CacheSettings
    either: bool
    fresh: bool


def wish_of(
    core: Core, caller: Caller, scope: Scope, owner: str, request: GenerateRequest, ways: Sequence[Way]
) -> Wish | None:
    """What *request* wants of the cache; None if it has no part in it. Raises ``RequestRefused`` (400) for a field that
    says neither ``off`` nor ``refresh``."""
    said = header(scope, FIELD)
    if said not in (None, "off", "refresh"):
        raise RequestRefused(400, "bad_cache", f"the cache is off or refresh, not {said[:40]!r}", param=FIELD.decode())
    settings = core.directory.cache(request.model, [way.target for way in ways])
    if said == "off" or not settings.active:
        return None
    digest = key_of(owner, caller, scope["headers"], request, ways, settings.ignore)
    if digest is None:
        return None
    streaming = request.stream or all(way.translated for way in ways)
    either = not any(way.provider.dialect.name in _ONE_FORM for way in ways)
    return Wish(Key(digest, streaming), settings, either, said == "refresh")


def forget(core: Core, stream: Stream) -> None:
    """*stream* is deleted: what it says is not to be told again, either."""
    match stream.meta.get(_KEY):
        case [bytes(digest), bool(streaming)]:  # a list, if it was found in the store
            core.cache.forget(Key(digest, streaming))


def found(core: Core, wish: Wish) -> Found | None:
    """The answer that was kept for it."""
    seconds = wish.settings.seconds
    if wish.fresh or not seconds:
        return None
    return core.cache.find(wish.key, seconds, either=wish.either)


def remember(wish: Wish, stream: Stream) -> None:
    """*stream* answers that question, in whichever way."""
    stream.meta[_KEY] = wish.key


def keep_when_whole(core: Core, wish: Wish, stream: Stream) -> None:
    """When *stream* is over, keep its answer, if it is whole in every sense."""
    seconds, hub = wish.settings.seconds, stream.hub
    if not seconds:
        return

    def keep(error: Exception | None = None) -> None:
        recording = record(stream, core.cache.max_answer) if error is None else None
        if recording is not None:
            core.cache.keep(wish.key, recording, seconds)

    def brought(error: Exception | None) -> None:
        if hub.resident(stream.id) is stream:  # else it was deleted meanwhile, and is not to be told again
            keep(error)

    def ended() -> None:
        terminal = stream.terminal
        assert terminal is not None
        if stream.log.present or hub.archive is None:
            keep()
        elif terminal.state == "completed":  # of a long answer, the store has the beginning
            hub.archive.fetch(stream, 1, brought, whole=True)

    stream.on_end.append(ended)
