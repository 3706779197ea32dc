"""What a Messages request must obey beyond its fields, and in which words it is told so.

The checks are those that a relay can break by changing a conversation on its way: turns without content, calls without
results, thinking that was altered.
"""

from __future__ import annotations

from tokenwire.simulator.vendors.anthropic.errors import invalid
from tokenwire.simulator.vendors.anthropic.requests import Block, Message, MessagesRequest, PromptRequest
from tokenwire.simulator.vendors.anthropic.thinking import genuine, genuine_redacted

#: Block type -> what it must have beside its type. Other types are accepted as they are: the set is open.
_NEEDS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "search_result": ("source", "title", "content"),
}
_ROLES = ("user", "assistant")


def check(request: PromptRequest) -> None:
    """Raises ``ApiError`` (400) for the first rule that is broken."""
    if not request.messages:
        raise invalid("messages: at least one message is required")
    for number, message in enumerate(request.messages):
        _message(f"messages.{number}", message, last=number == len(request.messages) - 1)
    _results(request.messages)
    _tools(request)
    if isinstance(request, MessagesRequest):
        _thinking(request)
    if request.schema is not None:
        if request.schema.schema is None:
            where = "output_format" if request.schema is request.output_format else "output_config.format"
            raise invalid(f"{where}.schema: Field required")
        if any(cites(block) for message in request.messages for block in message.blocks):
            raise invalid("output_config.format: Citations cannot be used together with structured outputs")


def cites(block: Block) -> bool:
    """Whether *block* is a source with citations enabled."""
    citations = block.get("citations")
    return block.get("type") in ("document", "search_result") and isinstance(citations, dict) and (
        citations.get("enabled") is True
    )  # fmt: skip


def _message(where: str, message: Message, *, last: bool) -> None:
    if message.role == "system":
        raise invalid(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    if message.role not in _ROLES:
        raise invalid(f"{where}.role: Input should be 'user' or 'assistant'")
    if not message.content and not (last and message.role == "assistant"):
        raise invalid(f"{where}: all messages must have non-empty content except for the optional final assistant one")
    for number, block in enumerate(message.blocks):
        _block(f"{where}.content.{number}", block)


def _block(where: str, block: Block) -> None:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise invalid(f"{where}.type: Field required")
    for name in _NEEDS.get(kind, ()):
        if name not in block:
            raise invalid(f"{where}.{kind}.{name}: Field required")
    if kind == "text" and not isinstance(block["text"], str):
        raise invalid(f"{where}.text.text: Input should be a valid string")
    if kind == "thinking" and not genuine(str(block["thinking"]), str(block["signature"])):
        raise invalid(f"{where}: Invalid `signature` in `thinking` block")
    if kind == "redacted_thinking" and not genuine_redacted(str(block["data"])):
        raise invalid(f"{where}: Invalid `data` in `redacted_thinking` block")


def _results(messages: list[Message]) -> None:
    """Each call is answered in the next message, and no other result is there."""
    called: list[str] = []
    for number, message in enumerate(messages):
        answered = [str(block["tool_use_id"]) for block in message.blocks if block["type"] == "tool_result"]
        missing = [each for each in called if each not in answered]
        if missing:
            raise invalid(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        for each in answered:
            if each not in called:
                raise invalid(
                    f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {each}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        called = [str(block["id"]) for block in message.blocks if block["type"] == "tool_use"]
        if message.role == "user":
            called = []


def _tools(request: PromptRequest) -> None:
    names: set[str] = set()
    for number, tool in enumerate(request.tools or ()):
        if not tool.name:
            raise invalid(f"tools.{number}.name: Field required")
        if tool.custom and not isinstance(tool.input_schema, dict):
            raise invalid(f"tools.{number}.custom.input_schema: Field required")
        if tool.name in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool.name)
    choice = request.tool_choice
    if choice is None:
        return
    if choice.type in ("any", "tool") and not names:
        raise invalid("tool_choice: Tools must be provided when tool_choice forces tool use")
    if choice.type == "tool" and choice.name not in names:
        raise invalid(f"Tool '{choice.name}' not found in provided tools")


def _thinking(request: MessagesRequest) -> None:
    thinking = request.thinking
    if thinking is None or thinking.type == "disabled":
        return
    if thinking.type == "enabled":
        if thinking.budget_tokens is None:
            raise invalid("thinking.enabled.budget_tokens: Field required")
        if request.max_tokens <= thinking.budget_tokens:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
    if request.tool_choice is not None and request.tool_choice.type in ("any", "tool"):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
