"""The input items of a Responses request -> turns.

Here thoughts, messages and calls are items of their own, one after the other; elsewhere they are parts of one turn. So
neighbours of the assistant's become one turn, and so do the results of several calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.openai_responses.items import NAME
from tokenwire.dialects.prompt.media import open_data_url
from tokenwire.dialects.prompt.vocabulary import Call, Foreign, Media, Refused, Result, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.reading import Fields
    from tokenwire.dialects.prompt.vocabulary import Part, Role

_ROLES: Final[dict[str, Role]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant"
}  # fmt: skip

#: The ``format`` of a sound -> its media type.
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class Reader:
    """Reads the items of one request, in order.

    Attributes:
        rest: members of them that were not understood, by path.
    """

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of the tools called, by the call's id

    def turns(self, items: Iterable[Fields]) -> list[Turn]:
        """The turns that *items* make.

        Raises:
            RequestRefused: 400, naming the member that is not as the dialect has it.
        """
        turns: list[Turn] = []
        for item in items:
            turn = self._turn(item)
            for name in ("id", "status"):  # of the item in the answer that it comes from: nobody looks for it
                item.any(name)
            if turns and turns[-1].role == turn.role and turn.role in ("assistant", "tool"):
                turns[-1].parts += turn.parts
            else:
                turns.append(turn)
            self.rest |= item.rest()
        return turns

    def _turn(self, item: Fields) -> Turn:
        kind = item.text("type") or "message"
        if kind == "message":
            role = item.word("role", *_ROLES)
            if role is None:
                raise refused(f"{item.at('role')!r} is missing", item.at("role"))
            return Turn(role=_ROLES[role], parts=self._content(item, "content"), where=item.where)
        if kind == "function_call_output":
            return Turn(role="tool", parts=[self._result(item)], where=item.where)
        if kind == "function_call":
            return Turn(role="assistant", parts=[self._call(item)], where=item.where)
        if kind == "reasoning":
            return Turn(role="assistant", parts=[self._thought(item)], where=item.where)
        part = Foreign(kind=kind, data={"type": kind, **_plain(item)}, where=item.where)
        # What came of a tool that is no function is told by items of its own kind, `…_output`.
        return Turn(role="user" if kind.endswith("_output") else "assistant", parts=[part], where=item.where)

    def _content(self, item: Fields, name: str) -> list[Part]:
        content = item.any(name)
        if isinstance(content, str):
            return [Said(text=content, where=item.at(name))] if content else []
        return [self._part(part) for part in item.objects(name)]

    def _part(self, part: Fields) -> Part:
        kind = part.need("type")
        read = _PARTS.get(kind)
        if read is None:
            return Foreign(kind=kind, data={"type": kind, **_plain(part)}, where=part.where)
        found = read(part)
        self.rest |= part.rest()
        return found

    def _call(self, item: Fields) -> Call:
        id_ = item.need("call_id")
        name = self._names[id_] = item.need("name")
        return Call(id=id_, name=name, arguments=item.text("arguments") or "{}", where=item.where)

    def _result(self, item: Fields) -> Result:
        id_ = item.need("call_id")
        parts: list[Said | Media] = []
        for part in self._content(item, "output"):
            if not isinstance(part, Said | Media):
                raise refused(f"{part.where!r} is not for the result of a tool", part.where)
            parts.append(part)
        return Result(call_id=id_, name=self._names.get(id_, ""), parts=parts, where=item.where)

    def _thought(self, item: Fields) -> Thought:
        """Its words are a summary, or the thought itself, or there are none: then the proof is all of it."""
        told = [part.text("text") or "" for name in ("summary", "content") for part in item.objects(name)]
        thought = Thought(text="\n\n".join(told), id=item.text("id"), where=item.where)
        if signature := item.text("encrypted_content"):
            thought.signature, thought.dialect = unwrap(signature, NAME)
        return thought


def _plain(fields: Fields) -> dict[str, Any]:
    """The members of a part that nobody knows here: all of them are read."""
    members = {path.removeprefix(f"{fields.where}."): value for path, value in fields.rest().items()}
    for name in members:
        fields.any(name)
    return members


def _text(part: Fields) -> Part:
    return Said(text=part.text("text") or "", where=part.where)


def _refusal(part: Fields) -> Part:
    return Refused(text=part.text("refusal") or "", where=part.where)


def _image(part: Fields) -> Part:
    media = Media(kind="image", detail=part.text("detail"), where=part.where)
    if (id_ := part.text("file_id")) is not None:
        media.file_id, media.vendor = id_, NAME
        return media
    url = part.need("image_url")
    opened = open_data_url(url)
    if opened is None:
        media.url = url
    else:
        media.mime, media.data = opened
    return media


def _file(part: Fields) -> Part:
    media = Media(kind="file", name=part.text("filename"), where=part.where)
    part.any("detail")
    if (id_ := part.text("file_id")) is not None:
        media.file_id, media.vendor = id_, NAME
    elif (url := part.text("file_url")) is not None:
        media.url = url
    else:
        data = part.need("file_data")
        media.mime, media.data = open_data_url(data) or (None, data)
    return media


def _sound(part: Fields) -> Part:
    sound = part.object("input_audio")
    if sound is None:
        raise refused(f"{part.at('input_audio')!r} is missing", part.at("input_audio"))
    form = sound.text("format") or "wav"
    return Media(kind="audio", mime=_SOUNDS.get(form, f"audio/{form}"), data=sound.need("data"), where=part.where)


_PARTS: Final = {
    "input_text": _text, "output_text": _text, "text": _text, "summary_text": _text, "refusal": _refusal,
    "input_image": _image, "input_file": _file, "input_audio": _sound,
}  # fmt: skip
