"""What a request must obey beyond its fields, and in which words it is told so.

The checks are those that a relay can break by changing a conversation on its way: parts without content, calls without
results, signatures that were lost or altered.
"""

from __future__ import annotations

import re

from tokenwire.simulator.vendors.gemini.errors import invalid
from tokenwire.simulator.vendors.gemini.requests import KINDS, Content, GenerateRequest, Part
from tokenwire.simulator.vendors.gemini.signatures import genuine

_ROLES = ("user", "model", "function", None)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_MIME_TYPES = ("text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum")
_SCHEMA_TYPES = ("application/json", "text/x.enum")


def check(request: GenerateRequest) -> None:
    """Raises ``ApiError`` (400) for the first rule that is broken."""
    if not request.contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")
    for number, content in enumerate(request.contents):
        _content(f"GenerateContentRequest.contents[{number}]", content)
    if request.system_instruction is not None:
        _content("GenerateContentRequest.system_instruction", request.system_instruction)
    turns = _merged(request.contents)
    _turns(turns)
    _signatures(turns, thinks=request.thinks)
    _tools(request)
    _format(request)


def _content(where: str, content: Content) -> None:
    if content.role not in _ROLES and not where.endswith("system_instruction"):
        raise invalid("Please use a valid role: user, model.")
    if not content.parts:
        raise invalid(f"* {where}.parts: contents.parts must not be empty.")
    for number, part in enumerate(content.parts):
        given = [kind for kind in KINDS if getattr(part, kind) is not None]
        if not given:
            problem = "required oneof field 'data' must have one initialized field"
            raise invalid(f"* {where}.parts[{number}].data: {problem}")
        if len(given) > 1:
            raise invalid(f"Invalid value at '{where}.parts[{number}]': oneof field 'data' is already set.", "contents")
        for kind in ("function_call", "function_response"):
            value = getattr(part, kind)
            if value is not None and not value.name:
                raise invalid(f"* {where}.parts[{number}].{kind}.name: Name cannot be empty.")


def _merged(contents: list[Content]) -> list[Content]:
    """Neighbours of one side as one: Google's own client keeps what it streamed as a content for each event."""
    merged: list[Content] = []
    for content in contents:
        role = "model" if content.role == "model" else "user"
        if merged and merged[-1].role == role:
            merged[-1] = Content([*merged[-1].parts, *content.parts], role)
        else:
            merged.append(Content(content.parts, role))
    return merged


def _turns(contents: list[Content]) -> None:
    """Results come right after their calls, as many of them, and calls after something to call for."""
    for number, content in enumerate(contents):
        before = contents[number - 1] if number else Content()
        if content.results:
            if not before.calls:
                raise invalid("Please ensure that function response turn comes immediately after a function call turn.")
            if len(content.results) != len(before.calls):
                raise invalid(
                    "Please ensure that the number of function response parts is equal to the number of function call "
                    "parts of the function call turn."
                )
            if sorted(each.name for each in content.results) != sorted(each.name for each in before.calls):
                raise invalid(
                    "Please ensure that the names of the function response parts are those of the function call turn."
                )
        elif before.calls:
            raise invalid("Please ensure that function call turn is followed by its function response turn.")
        if content.calls and not number:
            raise invalid(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )


def _signatures(contents: list[Content], *, thinks: bool) -> None:
    """All that are there are ours; and who thinks brings back those of the current turn's calls."""
    starts = [number for number, content in enumerate(contents) if content.role != "model" and content.text]
    for number, content in enumerate(contents):
        for part in content.parts:
            if part.thought_signature is not None and not genuine(part.thought_signature, _name(part)):
                raise invalid("Corrupted thought signature.")
        first = next((place for place, part in enumerate(content.parts) if part.function_call is not None), None)
        if not thinks or first is None or (starts and number < starts[-1]):
            continue
        if content.parts[first].thought_signature is None:
            raise invalid(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `{_name(content.parts[first])}`, position {number}."
            )


def _name(part: Part) -> str:
    """What a signature is bound to, beside being whole: the function that is called, if one is."""
    return part.function_call.name if part.function_call is not None else ""


def _tools(request: GenerateRequest) -> None:
    names: set[str] = set()
    for number, tool in enumerate(request.declarations):
        where = f"GenerateContentRequest.tools.function_declarations[{number}]"
        if not _NAME.fullmatch(tool.name):
            raise invalid(
                f"* {where}.name: Invalid function name. Must start with a letter or an underscore. Must be "
                "alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum "
                "length of 128."
            )
        if tool.parameters is not None and tool.parameters_json_schema is not None:
            raise invalid(f"* {where}: only one of parameters and parameters_json_schema may be set.")
        if tool.name in names:
            raise invalid(f"Duplicate function declaration found: {tool.name}")
        names.add(tool.name)
    calling = request.calling
    if calling.mode == "ANY" and not names:
        raise invalid("Function calling config is set without function_declarations.")
    allowed = calling.allowed_function_names or ()
    if allowed and calling.mode not in ("ANY", "VALIDATED"):
        raise invalid("Allowed function names can only be set when calling mode is ANY or VALIDATED.")
    for name in allowed:
        if name not in names:
            raise invalid(f"Allowed function name {name} is not in function_declarations.")


def _format(request: GenerateRequest) -> None:
    config = request.generation_config
    where = "GenerateContentRequest.generation_config"
    if config.response_mime_type and config.response_mime_type not in _MIME_TYPES:
        raise invalid(f"* {where}.response_mime_type: allowed mimetypes are {', '.join(_MIME_TYPES)}.")
    if config.response_schema is not None and config.response_json_schema is not None:
        raise invalid(f"* {where}: only one of response_schema and response_json_schema may be set.")
    has_schema = config.response_schema is not None or config.response_json_schema is not None
    if has_schema and config.response_mime_type not in _SCHEMA_TYPES:
        raise invalid(
            f"* {where}.response_schema: a schema is only allowed with the mimetypes {' and '.join(_SCHEMA_TYPES)}."
        )
