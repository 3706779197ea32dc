"""The messages of a chat request -> turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.openai_chat.choice import NAME
from tokenwire.dialects.prompt.media import open_data_url
from tokenwire.dialects.prompt.reading import Fields
from tokenwire.dialects.prompt.vocabulary import Call, Foreign, Media, Refused, Result, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Part, Role

_ROLES: Final[dict[str, Role]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip

#: The ``format`` of a sound -> its media type.
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class Reader:
    """Reads the messages of one request, in order.

    Attributes:
        rest: members of them that were not understood, by path.
    """

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of the tools called, by the call's id
        self._functions: dict[str, str] = {}  # the newest call of each function, for results that name only that

    def turns(self, messages: Iterable[Fields]) -> list[Turn]:
        """One turn for each message; the results of several calls are each a message, and become one turn.

        Raises:
            RequestRefused: 400, naming the member that is not as the dialect has it.
        """
        turns: list[Turn] = []
        for message in messages:
            turn = self._turn(message)
            if turn.role == "tool" and turns and turns[-1].role == "tool":
                turns[-1].parts += turn.parts
            else:
                turns.append(turn)
            self.rest |= message.rest()
        return turns

    def _turn(self, message: Fields) -> Turn:
        role = message.word("role", *_ROLES)
        if role is None:
            raise refused(f"{message.at('role')!r} is missing", message.at("role"))
        if role in ("tool", "function"):
            return Turn(role="tool", parts=[self._result(message, role)], where=message.where)
        parts: list[Part] = []
        if role == "assistant":
            parts += _thoughts(message, self.rest)
        parts += self._content(message)
        if role == "assistant":
            if refusal := message.text("refusal"):
                parts.append(Refused(text=refusal, where=message.at("refusal")))
            parts += self._calls(message)
        return Turn(role=_ROLES[role], parts=parts, name=message.text("name"), where=message.where)

    def _content(self, message: Fields) -> list[Part]:
        content = message.any("content")
        if isinstance(content, str):
            return [Said(text=content, where=message.at("content"))] if content else []
        return [self._part(part) for part in message.objects("content")]

    def _part(self, part: Fields) -> Part:
        kind = part.need("type")
        read = _PARTS.get(kind)
        found = None if read is None else read(part)
        if found is None:
            return Foreign(kind=kind, data=part.value, where=part.where)
        self.rest |= part.rest()
        return found

    def _result(self, message: Fields, role: str) -> Result:
        id_ = message.text("tool_call_id")
        name = message.text("name") or ""
        if role == "function":
            id_ = self._functions.get(name, f"call_{name}")
        elif id_ is None:
            id_ = message.need("tool_call_id")
        assert id_ is not None
        parts: list[Said | Media] = []
        for part in self._content(message):
            if not isinstance(part, Said | Media):
                raise refused(f"{part.where!r} is not for the result of a tool", part.where)
            parts.append(part)
        return Result(call_id=id_, name=self._names.get(id_, name), parts=parts, where=message.where)

    def _calls(self, message: Fields) -> list[Part]:
        calls: list[Part] = []
        for entry in message.objects("tool_calls"):
            function = entry.object("function")
            if function is None or entry.text("type") not in (None, "function"):
                calls.append(Foreign(kind=str(entry.any("type")), data=entry.value, where=entry.where))
                continue
            calls.append(self._call(entry.need("id"), function, entry.where))
            _sign(calls[-1], entry)
            self.rest |= entry.rest() | function.rest()
        if (function := message.object("function_call")) is not None:
            id_ = f"call_{message.where.rpartition('.')[2]}"
            calls.append(self._call(id_, function, function.where))
            self._functions[function.need("name")] = id_
        return calls

    def _call(self, id: str, function: Fields, where: str) -> Call:
        name = self._names[id] = function.need("name")
        return Call(id=id, name=name, arguments=function.text("arguments") or "{}", where=where)


def _sign(call: Part, entry: Fields) -> None:
    """The signature of Gemini's, as Google's compatible server has it."""
    extra = entry.object("extra_content")
    google = None if extra is None else extra.object("google")
    signature = None if google is None else google.text("thought_signature")
    if signature and isinstance(call, Call):
        call.signature, call.dialect = signature, "gemini"


def _thoughts(message: Fields, rest: dict[str, Any]) -> list[Part]:
    """Thoughts that are given back, in whichever member: text beside its details is the same text again, but for our
    own details, which are signatures only and belong to that text if there is only one."""
    text = message.text("reasoning_content") or message.text("reasoning")
    message.any("reasoning")
    thoughts: dict[Any, Thought] = {}
    for number, entry in enumerate(message.objects("reasoning_details")):
        kind = entry.need("type")
        key = (kind, entry.any("index")) if entry.any("index") is not None else ("", number)
        thought = thoughts.setdefault(key, Thought(where=entry.where))
        thought.text += entry.text("text") or entry.text("summary") or ""
        signature = entry.text("signature")
        if kind == "reasoning.encrypted":
            thought.redacted, signature = True, entry.text("data")
        if signature:
            thought.signature, thought.dialect = unwrap(signature, NAME)
        thought.id = entry.text("id")
        entry.any("format")
        rest |= entry.rest()
    found = list(thoughts.values())
    shown = [thought for thought in found if not thought.redacted]
    if text and not any(thought.text for thought in shown):
        if len(shown) == 1:
            shown[0].text = text
        else:
            found = [Thought(text=text, where=message.where), *(thought for thought in found if thought.redacted)]
    return [*found]


def _text(part: Fields) -> Part:
    return Said(text=part.text("text") or "", where=part.where)


def _refusal(part: Fields) -> Part:
    return Refused(text=part.text("refusal") or "", where=part.where)


def _image(part: Fields) -> Part:
    """Some servers take the address itself in place of the object."""
    given = part.any("image_url")
    image = Fields({"url": given} if isinstance(given, str) else given, part.at("image_url"))
    media = Media(kind="image", detail=image.text("detail"), where=part.where)
    url = image.need("url")
    opened = open_data_url(url)
    if opened is None:
        media.url = url
    else:
        media.mime, media.data = opened
    return media


def _film(part: Fields) -> Part | None:
    """Not OpenAI's, but of the servers that show films to their models."""
    film = part.object("video_url")
    if film is None:
        return None
    media = Media(kind="video", where=part.where)
    url = film.need("url")
    opened = open_data_url(url)
    if opened is None:
        media.url = url
    else:
        media.mime, media.data = opened
    return media


def _sound(part: Fields) -> Part | None:
    sound = part.object("input_audio")
    if sound is None:
        return None
    form = sound.text("format") or "wav"
    return Media(kind="audio", mime=_SOUNDS.get(form, f"audio/{form}"), data=sound.need("data"), where=part.where)


def _file(part: Fields) -> Part | None:
    file = part.object("file")
    if file is None:
        return None
    media = Media(kind="file", name=file.text("filename"), where=part.where)
    data = file.text("file_data")
    if data is None:
        media.file_id, media.vendor = file.need("file_id"), NAME
        return media
    if data.startswith(("http:", "https:")):  # OpenRouter
        media.url = data
    else:
        media.mime, media.data = open_data_url(data) or (None, data)
    return media


_PARTS: Final = {
    "text": _text, "refusal": _refusal, "image_url": _image, "input_audio": _sound, "video_url": _film, "file": _file,
}  # fmt: skip
