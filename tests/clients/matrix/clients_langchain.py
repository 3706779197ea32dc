"""LangChain's chat models: whatever the vendor, one interface of messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from tests.clients.matrix import clients_anthropic, clients_google, clients_ollama, clients_openai
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Call, Failure, Outcome, finish_of
from tests.clients.matrix.tasks import FORMAT, MAX_TOKENS, PARAMETERS, TOOL, Task

KEY: Final = SecretStr("none")
WORDS: Final = {
    **clients_openai.CHAT_WORDS, **clients_openai.RESPONSE_WORDS, **clients_anthropic.WORDS, **clients_google.WORDS,
}  # fmt: skip
#: relay, model, task -> the chat model, and what closes its connections, which LangChain itself leaves open.
Make = Callable[[str, str, Task], tuple[Any, Callable[[], object]]]


class Chain:
    """One of the chat models: ``stream``, ``invoke`` and ``with_structured_output``."""

    def __init__(self, make: Make, url: str) -> None:
        self._make = make
        self._url = url
        self._made: dict[bool, Any] = {}
        self._closing = ExitStack()

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run([HumanMessage(task.prompt)], task, model)

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        told = [
            ToolMessage(result, tool_call_id=call["id"], name=call["name"])
            for call, result in zip(first.turn.tool_calls, results, strict=True)
        ]
        return self._run([HumanMessage(task.prompt), first.turn, *told], task, model)

    def close(self) -> None:
        self._closing.close()

    def _run(self, turns: list[Any], task: Task, model: str) -> Outcome:
        if task.thinking not in self._made:
            self._made[task.thinking], close = self._make(self._url, model, task)
            self._closing.callback(close)
        # Each new one would read the certificates of this machine again.
        made = self._made[task.thinking]
        made = made.model_copy(update={"model_name" if hasattr(made, "model_name") else "model": model})
        if task.tools:
            made = made.bind_tools([{**TOOL, "parameters": PARAMETERS}])
        outcome = Outcome()
        try:
            self._read(made, turns, task, outcome)
        except Exception as error:  # each package lets its vendor's own through, or one of its own
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
            outcome.error = Failure(type(error).__name__, str(error), status if isinstance(status, int) else None)
        return outcome

    def _read(self, made: Any, turns: list[Any], task: Task, outcome: Outcome) -> None:
        if task.schema:
            wanted = made.with_structured_output(FORMAT, method="json_schema", include_raw=True)
            answer = wanted.invoke(turns)
            if answer["parsing_error"] is not None:
                raise answer["parsing_error"]
            _keep(answer["raw"], outcome)
            assert json.loads(outcome.text) == answer["parsed"]
            return
        if not task.stream:
            _keep(made.invoke(turns), outcome)
            return
        whole: Any = None
        for chunk in made.stream(turns):
            outcome.text += chunk.text
            whole = chunk if whole is None else whole + chunk
        streamed = outcome.text
        _keep(whole, outcome)
        assert outcome.text == streamed


def _keep(message: Any, outcome: Outcome) -> None:
    """A whole message, or the sum of its chunks."""
    outcome.text = message.text
    blocks = message.content_blocks
    thoughts = [block.get("reasoning", "") for block in blocks if block["type"] == "reasoning"]
    outcome.reasoning = clients_openai.BETWEEN.join(filter(None, thoughts))
    outcome.calls = [Call(call["name"], call["args"]) for call in message.tool_calls]
    assert not message.invalid_tool_calls
    about = message.response_metadata
    outcome.refusal = message.additional_kwargs.get("refusal") or "".join(
        block["value"].get("refusal", "") for block in blocks if block["type"] == "non_standard"
    )
    reason = about.get("finish_reason") or about.get("stop_reason") or about.get("done_reason")
    if reason is None and about.get("incomplete_details"):
        reason = about["incomplete_details"]["reason"]
    if reason is None and about.get("status") == "completed":
        reason = "stop"
    outcome.finish = finish_of(reason, WORDS)
    if outcome.calls and outcome.finish == "stop":
        outcome.finish = "tool_use"  # three of the vendors have no word of their own for it
    if message.usage_metadata is not None:
        outcome.usage = (message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"])
    outcome.turn = message if not hasattr(message, "tool_call_chunks") else AIMessage(
        content=message.content, tool_calls=message.tool_calls, additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
    )  # fmt: skip


def _openai(url: str, model: str, task: Task) -> tuple[Any, Callable[[], object]]:
    return _open_ai(url, model, {"reasoning_effort": "high"} if task.thinking else {})


def _responses(url: str, model: str, task: Task) -> tuple[Any, Callable[[], object]]:
    thinking = {"reasoning": {"effort": "high", "summary": "auto"}} if task.thinking else {}
    return _open_ai(url, model, {"use_responses_api": True, **thinking})


def _open_ai(url: str, model: str, more: dict[str, Any]) -> tuple[Any, Callable[[], object]]:
    # Its own would be shared by all models of the process, and closed by nobody.
    client = openai.DefaultHttpxClient(timeout=20)
    made = ChatOpenAI(
        model=model, base_url=f"{url}/v1", api_key=KEY, max_retries=0, stream_usage=True, http_client=client, **more
    )
    return made, client.close


def _anthropic(url: str, model: str, task: Task) -> tuple[Any, Callable[[], object]]:
    more: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 2048}} if task.thinking else {}
    made = ChatAnthropic(
        model_name=model, base_url=url, api_key=KEY, max_retries=0, timeout=20, max_tokens_to_sample=MAX_TOKENS, **more
    )
    return made, made._client.close


def _google(url: str, model: str, task: Task) -> tuple[Any, Callable[[], object]]:
    more: dict[str, Any] = {"include_thoughts": True, "thinking_budget": 2048} if task.thinking else {}
    made = ChatGoogleGenerativeAI(
        model=model, base_url=url, api_key=KEY, max_retries=1, timeout=20, vertexai=False, **more
    )
    assert made.client is not None
    return made, made.client.close


def _ollama(url: str, model: str, task: Task) -> tuple[Any, Callable[[], object]]:
    more: dict[str, Any] = {"reasoning": True} if task.thinking else {}
    made = ChatOllama(model=model, base_url=url + clients_ollama.PREFIX, client_kwargs={"timeout": 20}, **more)
    return made, made._client._client.close


def _kind(name: str, dialect: str, make: Make, errors: frozenset[str], **more: Any) -> Kind:
    return Kind(f"LangChain {name}", dialect, lambda url: Chain(make, url), errors, **more)


_CHAT_BLIND: Final = {
    "reasoning": "ChatOpenAI reads no reasoning from chat completions",
    "refusal": "ChatOpenAI reads no refusal from chunks",
}
_EXPLAINED: Final = {"refusal": "ChatAnthropic does not tell the explanation of a refusal"}

KINDS: Final = (
    _kind("ChatOpenAI", "openai.chat", _openai, clients_openai.CHAT_ERRORS, blind=_CHAT_BLIND),
    _kind(
        "ChatOpenAI, use_responses_api", "openai.responses", _responses, frozenset({"APIError", "ValueError"}),
        misses=frozenset({("reasoning", "reasoning-text")}),
    ),
    _kind("ChatAnthropic", "anthropic", _anthropic, clients_anthropic.ERRORS, blind=_EXPLAINED),
    _kind("ChatGoogleGenerativeAI", "gemini", _google, frozenset({"GoogleAPIError"})),
    _kind("ChatOllama", "ollama", _ollama, clients_ollama.ERRORS),
)  # fmt: skip
