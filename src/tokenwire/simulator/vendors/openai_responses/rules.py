"""What the items of a conversation must obey, and in which words a client is told so.

The checks are those that a relay can break by changing a conversation on its way: parts of another dialect, calls
without results, reasoning that was altered or left alone.
"""

from __future__ import annotations

import itertools

from tokenwire.simulator.vendors.openai.errors import invalid
from tokenwire.simulator.vendors.openai_responses.reasoning import genuine
from tokenwire.simulator.vendors.openai_responses.requests import Item, bad_value, missing

_ROLES = ("assistant", "system", "developer", "user")
_PARTS = ("input_text", "input_image", "input_file", "input_audio", "output_text", "refusal", "summary_text")
#: Item type -> what it must have beside its type.
_NEEDS: dict[str, tuple[str, ...]] = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id", "output"),
    "reasoning": ("summary",),
    "item_reference": ("id",),
}
# Further types that are accepted as they are.
_OTHERS = (
    "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call",
    "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output",
    "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_call", "mcp_approval_request",
    "mcp_approval_response", "tool_search_call", "tool_search_output", "additional_tools", "program", "program_output",
    "compaction",
)  # fmt: skip


def kind_of(item: Item) -> str:
    """The type of *item*; one with a role and no type is a message."""
    return str(item.get("type") or ("message" if "role" in item else ""))


def check(items: list[Item]) -> None:
    """Raises ``ApiError`` (400) for the first rule that is broken; *items* are the whole conversation."""
    for number, item in enumerate(items):
        _item(f"input[{number}]", item)
    made = {str(item["call_id"]): item for item in items if kind_of(item) == "function_call"}
    answered = {str(item["call_id"]) for item in items if kind_of(item) == "function_call_output"}
    for call in answered - made.keys():
        raise invalid(f"No tool call found for function call output with call_id {call}.", "input")
    for call in made.keys() - answered:
        raise invalid(f"No tool output found for function call {call}.", "input")
    for item, after in itertools.pairwise([*items, {}]):
        if kind_of(item) == "reasoning" and (not after or after.get("role") in ("user", "system", "developer")):
            name = item.get("id", "")
            raise invalid(
                f"Item '{name}' of type 'reasoning' was provided without its required following item.", "input"
            )


def check_tools(tools: list[Item]) -> None:
    """Raises ``ApiError`` (400): a tool without a type, a function without a name."""
    for number, tool in enumerate(tools):
        if not isinstance(tool.get("type"), str):
            raise missing(f"tools[{number}].type")
        if tool["type"] == "function" and not isinstance(tool.get("name"), str):
            raise missing(f"tools[{number}].name")


def _item(where: str, item: Item) -> None:
    kind = kind_of(item)
    if kind not in _NEEDS and kind not in _OTHERS:
        raise bad_value(kind, (*_NEEDS, *_OTHERS), where)
    for name in _NEEDS.get(kind, ()):
        if item.get(name) is None:
            raise missing(f"{where}.{name}")
    if kind == "message":
        _message(where, item)
    elif kind == "function_call" and not isinstance(item["arguments"], str):
        raise invalid(f"Invalid type for '{where}.arguments': expected a string.", f"{where}.arguments", "invalid_type")
    elif kind == "reasoning":
        sealed = item.get("encrypted_content")
        if sealed is not None and not genuine(str(sealed)):
            raise invalid(
                f"The encrypted content for item {item.get('id')} could not be verified.",
                None,
                "invalid_encrypted_content",
            )


def _message(where: str, item: Item) -> None:
    if item["role"] not in _ROLES:
        raise bad_value(item["role"], _ROLES, f"{where}.role")
    content = item["content"]
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        wanted = "an array of objects or a string"
        raise invalid(f"Invalid type for '{where}.content': expected {wanted}.", f"{where}.content", "invalid_type")
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _PARTS:
            raise bad_value(kind, _PARTS, f"{where}.content[{number}]")
        if (kind == "output_text") != (item["role"] == "assistant") and kind in ("input_text", "output_text"):
            known = ("output_text", "refusal") if item["role"] == "assistant" else _PARTS[:4]
            raise bad_value(kind, known, f"{where}.content[{number}]")
