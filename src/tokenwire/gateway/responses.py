"""``/v1/responses/{id}``: look, resume and stop as OpenAI's clients do it, with any upstream (reference, 4.8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire import dialects
from tokenwire.dialects.openai_responses.dialect import sequence_of
from tokenwire.engine.folded import Fold
from tokenwire.engine.framing import encode, parse
from tokenwire.engine.ids import EventId
from tokenwire.engine.stores.port import Note
from tokenwire.engine.view import RawView
from tokenwire.errors import NotResumable, RequestRefused, StoreAway, StoreFailed
from tokenwire.gateway import guard, lease, respond
from tokenwire.gateway.answers import MethodNotAllowed, query, send_body, send_refusal
from tokenwire.gateway.following import Following

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, Scope, Send

_PATH: Final = re.compile(r"/v1/responses/([^/]{1,200})(?:/(cancel))?")
_OURS: Final = "resp_"
_NAME: Final = "openai.responses"
#: Of the store's notes: by the provider's name of an answer, the stream.
KIND: Final = "response"


def matches(path: str) -> bool:
    """Whether *path* is one of a response's."""
    return _PATH.fullmatch(path) is not None


async def responses(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /v1/responses/{id}`` and ``POST /v1/responses/{id}/cancel``."""
    match = _PATH.fullmatch(scope["path"])
    assert match is not None  # ``matches``
    name, what = match.groups()
    dialect = dialects.get(_NAME)
    try:
        owner = guard.admit(scope)
        allowed = "POST" if what else "GET"
        if scope["method"] != allowed:
            raise MethodNotAllowed(scope["method"], allowed)
        stream = await _find(gateway, owner, name)
        await gateway.hub.whole(stream)
        if what:
            stream.cancel()
        parameters = query(scope)
        if what or parameters.get("stream") != "true":
            await send_body(send, 200, _object(stream, dialect))
            return
        after = _cursor(stream, dialect, _number(parameters))
        sink = respond.sink_for(scope, receive)
        following = Following(stream, sink, dialect, ids=False, after=after, leased=lease.asked(scope))
    except RequestRefused as error:
        if error.status == 204:  # not a word of this API: nothing comes, and the events end
            error = NotResumable(404, "over", "nothing is left of this response after that event")
        await send_refusal(send, error, dialect)
        return
    await following.run(send)


def remember(gateway: Gateway, stream: Stream) -> None:
    """Once it is known what the provider calls the answer of *stream*, the store knows it, too."""
    recorder = gateway.hub.recorder
    if recorder is None or stream.kept is None:
        return

    def opened() -> None:
        name = _given_name(stream) if stream.dialect.name == _NAME else None
        if name:
            recorder.note(Note(KIND, stream.owner, name, stream.id.encode(), recorder.expires(stream)))

    stream.on_open.append(opened)


async def _find(gateway: Gateway, owner: str, name: str) -> Stream:
    """The stream whose answer is called that: by us, or by the provider.

    Raises ``NotResumable`` (404), and ``StoreAway`` (503) when the store cannot be asked.
    """
    if name.startswith(_OURS):
        try:
            return await gateway.hub.find("st_" + name.removeprefix(_OURS), owner)
        except NotResumable:
            pass
    for stream in gateway.hub.mine(owner):
        if stream.dialect.name == _NAME and name == _given_name(stream):
            return stream
    if gateway.store is not None:
        try:
            found = await gateway.store.recall(KIND, owner, name)
        except StoreFailed as error:
            raise StoreAway(error) from error
        if found is not None:
            return await gateway.hub.find(found.decode(), owner)
    raise NotResumable(404, "response_not_found", f"no response {name!r}; it is kept for a while after its end only")


def _given_name(stream: Stream) -> str | None:
    """What the provider calls its answer: it says so in its first event."""
    found = stream.meta.get("response")
    if found is None and stream.log.last_frame and stream.log.whole:
        frame = stream.log.frame(1)
        said = frame if stream.unary else "".join(event.data for event in parse(frame, stream.dialect)).encode()
        try:
            value = msgspec.json.decode(said)
            found = value["id"] if stream.unary else value["response"]["id"]
        except (ValueError, RecursionError, LookupError, TypeError):
            found = ""
        stream.meta["response"] = found
    return found if isinstance(found, str) else None


def _object(stream: Stream, dialect: Dialect) -> bytes:
    """The response as far as it has come."""
    if stream.unary and stream.dialect is dialect:
        return stream.log.frame(1)
    body = dialect.fold_response(stream.transcript(), stream.id, stream.created, stream.model)
    terminal = stream.terminal
    if terminal is not None and terminal.state == "completed":
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    state = "in_progress" if terminal is None else "cancelled" if terminal.state == "cancelled" else "failed"
    fields["status"] = msgspec.Raw(msgspec.json.encode(state))
    if terminal is not None and terminal.error is not None and state == "failed":
        failed = terminal.error
        fields["error"] = msgspec.Raw(msgspec.json.encode({"code": failed.code, "message": failed.message}))
    return msgspec.json.encode(fields)


def _number(parameters: dict[str, str]) -> int | None:
    said = parameters.get("starting_after")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) < 12):
        raise RequestRefused(400, "bad_cursor", "starting_after is a sequence_number", param="starting_after")
    return int(said)


def _cursor(stream: Stream, dialect: Dialect, number: int | None) -> EventId | None:
    """After the event of that ``sequence_number`` in this projection. Linear in the log, once a resume.

    Raises ``NotResumable`` (409) for a number that was not given yet.
    """
    if number is None:
        return None
    held = stream.log
    if held.first > 1:
        raise stream.trimmed()
    for seq, events in enumerate(_given(stream, dialect), 1):
        for index, event in enumerate(events, 1):
            if sequence_of(event) == number:
                whole = index == len(events)
                return EventId(held.epoch, seq) if whole else EventId(held.epoch, seq - 1, index)
    raise NotResumable(409, "discontinuous", f"no event of this response has the sequence_number {number} yet")


def _given(stream: Stream, dialect: Dialect) -> Iterator[list[bytes]]:
    """What each entry of the log becomes in *dialect*, the terminal included."""
    held = stream.log
    view = stream.view(dialect, ids=False)
    own = view if isinstance(view, RawView) else None
    fold = Fold.at_start(stream, dialect, False)
    seq = 0
    while seq < held.last_frame:
        for frame in held.after(seq):
            seq += 1
            if own is None:
                yield [encode([each], dialect, None) for each in fold.frames(frame)]
            else:
                yield [frame] if own.shows(seq) else []
    if held.terminal is not None:
        last = fold.last_frames() if own is None else own.last_frames()
        yield [encode([each], dialect, None) for each in last]
