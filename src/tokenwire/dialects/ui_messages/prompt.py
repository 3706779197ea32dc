"""What ``useChat`` posts -> a prompt: messages of parts, and what applications add to the body.

A message of the assistant may hold several steps, each a turn of its own with the results of its calls after it. What
the AI SDK does not tell a model either is passed over: sources, ``data-`` parts (the application's), and calls whose
arguments never became whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.prompt.fit import Prompts
from tokenwire.dialects.prompt.vocabulary import Foreign, Prompt, Refused, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap
from tokenwire.dialects.ui_messages.decode import ours_of
from tokenwire.dialects.ui_messages.media import media_at
from tokenwire.dialects.ui_messages.request import value_of
from tokenwire.dialects.ui_messages.settings import ANYTHING, read_settings
from tokenwire.dialects.ui_messages.tool_parts import read_call, read_result
from tokenwire.dialects.ui_messages.words import NAME

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Part
    from tokenwire.dialects.request_body import GenerateRequest

#: The protocol's own members. ``stream`` is ours.
_KNOWN: Final = frozenset({"id", "messages", "trigger", "messageId", "model", "stream"})

#: Parts that are for the client only.
_SHOWN: Final = frozenset({"source-url", "source-document"})


def read(request: GenerateRequest) -> Prompt:
    """The prompt of a parsed request.

    Raises:
        RequestRefused: 400, naming the part that is not as the AI SDK has it.
    """
    messages = value_of(request.fields, "messages")
    prompt = Prompt()
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        parts = message.get("parts") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            raise refused(f"{where!r} must be a message with parts", where)
        role = message.get("role")
        if role == "assistant":
            _assistant(message, parts, where, prompt.turns)
        elif role == "user" or role == "system":
            said = [_plain(part, role, f"{where}.parts.{at}") for at, part in enumerate(parts)]
            prompt.turns.append(Turn(role=role, parts=[part for part in said if part is not None], where=where))
        else:
            raise refused(f"'{where}.role' must be 'system', 'user' or 'assistant'", f"{where}.role")
    extra = {name: value_of(request.fields, name) for name in request.fields if name not in _KNOWN}
    read_settings(extra, prompt)
    return prompt


def _plain(part: Any, role: str, where: str) -> Part | None:
    """A part of the user's, or of the system's; None of those that no model is told."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise refused(f"{where!r} must be a part with a type", where)
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise refused(f"'{where}.text' must be a string", f"{where}.text")
        return Said(text=part["text"], where=where)
    if kind == "file" and role != "system":
        return _file(part, where)
    if kind.startswith("data-") or kind in _SHOWN or kind == "step-start":
        return None
    return Foreign(kind=kind, data=part, where=where)


def _file(part: dict[str, Any], where: str) -> Part:
    url, mime, name = part.get("url"), part.get("mediaType"), part.get("filename")
    if not isinstance(url, str):
        raise refused(f"'{where}.url' must be a string", f"{where}.url")
    media = media_at(
        url, mime if isinstance(mime, str) else "", f"{where}.url", name if isinstance(name, str) else None
    )
    media.where = where
    return media


class _Steps:
    """The turns of one message of the assistant's: what it said and called, then the results."""

    def __init__(self, where: str, turns: list[Turn]) -> None:
        self._where = where
        self._turns = turns
        self.said: list[Part] = []
        self.results: list[Part] = []

    def end(self) -> None:
        """A step is over."""
        if self.said:
            self._turns.append(Turn(role="assistant", parts=self.said, where=self._where))
        if self.results:
            self._turns.append(Turn(role="tool", parts=self.results, where=self._where))
        self.said, self.results = [], []


def _assistant(message: dict[str, Any], parts: list[Any], where: str, turns: list[Turn]) -> None:
    steps = _Steps(where, turns)
    metadata = message.get("metadata")
    signatures = metadata.get("signatures") if isinstance(metadata, dict) else None
    known: dict[str, Any] = signatures if isinstance(signatures, dict) else {}
    for at, part in enumerate(parts):
        place = f"{where}.parts.{at}"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "step-start":
            steps.end()
        elif kind == "reasoning":
            steps.said.append(_thought(part, place))
        elif isinstance(kind, str) and (kind.startswith("tool-") or kind == "dynamic-tool"):
            _tool(part, kind, known, place, steps)
        elif kind == "steering-message":  # the user's, in the midst of it
            steps.end()
            inner = part.get("parts")
            said = [_plain(each, "user", place) for each in (inner if isinstance(inner, list) else ())]
            turns.append(Turn(role="user", parts=[each for each in said if each is not None], where=place))
        else:
            _said(part, place, steps)
    steps.end()


def _said(part: Any, where: str, steps: _Steps) -> None:
    said = _plain(part, "assistant", where)
    if not isinstance(said, Said):
        steps.said += [] if said is None else [said]
        return
    ours = ours_of(part)
    if said.text:
        steps.said.append(Refused(text=said.text, where=where) if ours.get("refusal") is True else said)
    if isinstance(ours.get("signature"), str):  # of a text: it goes with what it proves, as a thought without words
        steps.said.append(_thought({**part, "text": ""}, where))


def _tool(part: dict[str, Any], kind: str, signatures: dict[str, Any], where: str, steps: _Steps) -> None:
    if part.get("state") == "input-streaming":
        return
    if part.get("providerExecuted") is True:
        steps.said.append(Foreign(kind=f"{kind}, run by the provider", data=part, where=where))
        return
    call = read_call(part, kind, where)
    if isinstance(signature := signatures.get(call.id), str):
        call.signature, call.dialect = unwrap(signature, NAME)
    steps.said.append(call)
    if (result := read_result(part, call, where)) is not None:
        steps.results.append(result)


#: Where other providers of the AI SDK leave their proofs, and whose they are to us.
_PROOFS: Final = (
    ("anthropic", "signature", "anthropic"), ("anthropic", "redactedData", "anthropic"),
    ("google", "thoughtSignature", "gemini"),
)  # fmt: skip


def _thought(part: dict[str, Any], where: str) -> Thought:
    text = part.get("text")
    thought = Thought(text=text if isinstance(text, str) else "", where=where)
    signature = ours_of(part).get("signature")
    if isinstance(signature, str):
        thought.signature, thought.dialect = unwrap(signature, NAME)
        return thought
    metadata = part.get("providerMetadata")
    for provider, name, dialect in _PROOFS:
        fields = metadata.get(provider) if isinstance(metadata, dict) else None
        if isinstance(fields, dict) and isinstance(fields.get(name), str):
            thought.signature, thought.dialect = fields[name], dialect
            thought.redacted = name == "redactedData"
            break
    return thought


#: ``useChat`` sends what the application adds to the body, which is for the application's own server to read: nothing
#: of it is refused. What is not read here is left out with a note.
PROMPTS: Final = Prompts(read=read, write=None, table={}, harmless=ANYTHING)
