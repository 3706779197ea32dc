"""``contents`` and ``systemInstruction`` of a request, read into turns.

A client's history is often what it was streamed: model turns in a row, each with a piece of a text. They are put
together again, so that other vendors are not asked to go on from ten turns of one word.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final, Literal

import msgspec

from tokenwire.dialects.gemini.members import Members
from tokenwire.dialects.prompt.vocabulary import Call, Foreign, Media, Part, Result, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap

#: Addresses of files that only Google can read: its own store of files, and its cloud's.
_OURS: Final = re.compile(r"gs:|files/|.*/v1[a-z0-9]*/files/")

_KINDS: Final[dict[str, Literal["image", "audio", "video", "file"]]] = {
    "image": "image", "audio": "audio", "video": "video",
}  # fmt: skip

_SKIP: Final = "skip_thought_signature_validator"


def read_system(value: Any) -> Turn:
    """``systemInstruction``: a content (or, from hand-written clients, a text)."""
    where = "systemInstruction"
    if isinstance(value, str):
        return Turn(role="system", parts=[Said(text=value, where=where)], where=where)
    content = Members.of(value, where)
    parts: list[Part] = []
    for index, part in enumerate(content.items("parts")):
        fields = Members.of(part, f"{where}.parts.{index}")
        text = fields.text("text")
        if text is None:
            raise refused(f"'{fields.where}' must be a text", fields.where)
        parts.append(Said(text=text, where=fields.where))
    return Turn(role="system", parts=parts, where=where)


def read_contents(value: Any) -> list[Turn]:
    """The turns of ``contents``. Calls without an id get one, and results are given that of their call."""
    reader = _Reader()
    for index, content in enumerate(value or ()):
        reader.content(Members.of(content, f"contents.{index}"))
    reader.join()
    return reader.turns


class _Reader:
    """Contents -> turns, in order.

    ``_open`` holds the calls that have no result yet; ``_queue``, by name and under None for all, their ids, oldest
    first. ``_pieces`` are those of the last part, which goes on as long as more of its kind come.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._open: dict[str, Call] = {}
        self._queue: dict[str | None, deque[str]] = {None: deque()}
        self._ids: set[str] = set()
        self._made = 0
        self._pieces: list[str] = []

    def content(self, content: Members) -> None:
        role = content.text("role") or "user"
        if role not in ("user", "model", "function"):
            raise refused(f"'{content.where}.role' must be 'user' or 'model'", f"{content.where}.role")
        for index, value in enumerate(content.items("parts")):
            part = Members.of(value, f"{content.where}.parts.{index}")
            for read in self._part(part, role):
                self._add(read, role, content.where)

    def _add(self, part: Part, role: str, where: str) -> None:
        """*part* to the last turn, if it is of that role; else to a new one. Pieces of a model's text are one text."""
        kind: Literal["assistant", "tool", "user"] = (
            "assistant" if role == "model" else "tool" if isinstance(part, Result) else "user"
        )
        last = self.turns[-1] if self.turns else None
        if last is None or last.role != kind or (kind == "user" and last.where != where):
            self.join()
            self.turns.append(Turn(role=kind, parts=[part], where=where))
            return
        before = last.parts[-1]
        if kind == "assistant" and isinstance(part, Said) and isinstance(before, Said):
            self._go_on(before, part.text)
        elif isinstance(part, Thought) and isinstance(before, Thought) and before.signature is None:
            self._go_on(before, part.text)
            before.signature, before.dialect = part.signature, part.dialect
        else:
            self.join()
            last.parts.append(part)

    def _go_on(self, part: Said | Thought, text: str) -> None:
        self._pieces = self._pieces or [part.text]
        self._pieces.append(text)

    def join(self) -> None:
        """The last part is whole."""
        if self._pieces:
            last = self.turns[-1].parts[-1]
            assert isinstance(last, Said | Thought)
            last.text = "".join(self._pieces)
            self._pieces = []

    def _part(self, part: Members, role: str) -> list[Part]:
        where = part.where
        signature, dialect = self._signature(part)
        thought, text = part.flag("thought"), part.text("text")
        read: list[Part] = []
        if thought and text is not None:
            return [Thought(text=text, signature=signature, dialect=dialect, where=where)]
        if text:
            read.append(Said(text=text, where=where))
        if (blob := part.take("inlineData")) is not None:
            read.append(_inline(Members.of(blob, where + ".inlineData")))
        if (file := part.take("fileData")) is not None:
            read.append(_file(Members.of(file, where + ".fileData")))
        if (call := part.take("functionCall")) is not None:
            read.append(self._call(Members.of(call, where + ".functionCall"), signature, dialect))
            signature = None
        if (result := part.take("functionResponse")) is not None:
            read.append(self._result(Members.of(result, where + ".functionResponse")))
        _resolution(part, read)
        if signature is not None and role == "model":  # of a text; of an empty one, where it came last
            read.append(Thought(signature=signature, dialect=dialect, where=where))
        for name, value in part.rest(empty=True).items():
            kind = name.removeprefix(where + ".")
            read.append(Foreign(kind=kind, data={kind: value}, where=name))
        return read

    def _signature(self, part: Members) -> tuple[str | None, str]:
        signed = part.text("thoughtSignature")
        if not signed or signed == _SKIP:
            return None, ""
        return unwrap(signed, "gemini")

    def _call(self, call: Members, signature: str | None, dialect: str) -> Call:
        name, args = call.text("name"), call.take("args")
        if not name:
            raise refused(f"'{call.where}.name' must be a non-empty string", f"{call.where}.name")
        if args is not None and not isinstance(args, dict):
            raise refused(f"'{call.where}.args' must be an object", f"{call.where}.args")
        id_ = call.text("id")
        while not id_ or id_ in self._ids:
            self._made += 1
            id_ = f"call_{self._made}"
        self._ids.add(id_)
        arguments = msgspec.json.encode(args or {}).decode()
        made = Call(id=id_, name=name, arguments=arguments, signature=signature, dialect=dialect, where=call.where)
        self._open[id_] = made
        self._queue[None].append(id_)
        self._queue.setdefault(name, deque()).append(id_)
        return made

    def _oldest(self, name: str | None) -> Call | None:
        """The oldest open call of that name, or of any."""
        queue = self._queue.get(name) or deque()
        while queue and queue[0] not in self._open:
            queue.popleft()
        return self._open[queue[0]] if queue else None

    def _result(self, result: Members) -> Result:
        """A result, and whose it is: the call of its id, else the oldest open call of its name, else the oldest."""
        name, id_ = result.text("name") or "", result.text("id")
        call = self._open.get(id_) if id_ else self._oldest(name) or self._oldest(None)
        if call is not None:
            del self._open[call.id]
            id_, name = call.id, name or call.name
        if not id_:
            raise refused(f"'{result.where}' answers no functionCall", result.where)
        text, error = _said(result.take("response"))
        parts: list[Said | Media] = [Said(text=text, where=result.where + ".response")]
        for index, value in enumerate(result.items("parts")):
            piece = Members.of(value, f"{result.where}.parts.{index}")
            if (blob := piece.take("inlineData")) is not None:
                parts.append(_inline(Members.of(blob, piece.where + ".inlineData")))
            elif (file := piece.take("fileData")) is not None:
                parts.append(_file(Members.of(file, piece.where + ".fileData")))
        return Result(call_id=id_, name=name, parts=parts, error=error, where=result.where)


def _said(response: Any) -> tuple[str, bool]:
    """A response as text, and whether it tells of an error: ``output`` or ``error`` alone stand for the whole."""
    if isinstance(response, dict) and len(response) == 1:
        ((name, value),) = response.items()
        if name in ("output", "result", "error"):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            return text, name == "error"
    return ("" if response is None else msgspec.json.encode(response).decode()), False


def _inline(blob: Members) -> Media:
    mime, data = blob.text("mimeType"), blob.text("data")
    if data is None:
        raise refused(f"'{blob.where}.data' must be a string", f"{blob.where}.data")
    # Their base64 may be of the kind for addresses; everybody else's is not.
    data = data.replace("-", "+").replace("_", "/")
    return Media(kind=_kind(mime), mime=mime, data=data, name=blob.text("displayName"), where=blob.where)


def _file(file: Members) -> Media:
    mime, address, name = file.text("mimeType"), file.text("fileUri"), file.text("displayName")
    if not address:
        raise refused(f"'{file.where}.fileUri' must be a non-empty string", f"{file.where}.fileUri")
    kind = _kind(mime)
    if _OURS.match(address):
        return Media(kind=kind, mime=mime, file_id=address, vendor="gemini", name=name, where=file.where)
    return Media(kind=kind, mime=mime, url=address, name=name, where=file.where)


def _kind(mime: str | None) -> Literal["image", "audio", "video", "file"]:
    return _KINDS.get((mime or "").partition("/")[0], "file")


def _resolution(part: Members, read: list[Part]) -> None:
    """How closely to look at a picture: it stands beside it."""
    value = part.take("mediaResolution")
    level = value.get("level") if isinstance(value, dict) else value
    for media in read:
        if isinstance(media, Media) and isinstance(level, str):
            word = level.removeprefix("MEDIA_RESOLUTION_").lower()
            media.detail = {"low": "low", "high": "high", "ultra_high": "high"}.get(word)
