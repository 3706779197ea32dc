"""The tool loop against turns that are scripts: what is told, what is fed back, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.library.turns import Model, call, calling, saying

from tokenwire.client.updates import Done, Dropped, Notice, Reset
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import AnswerFailed, LocalProtocolError, TooManyTurns, UpstreamError
from tokenwire.library.tool_loop import ToolLoop
from tokenwire.library.tool_messages import messages_of
from tokenwire.library.tool_run import CallRequest
from tokenwire.testing.rig import run_in

ASKED = [{"role": "user", "content": "hi"}]


def double(n: int) -> int:
    """Twice as much."""
    return 2 * n


async def boom() -> None:
    """Fails."""
    raise ValueError("no")


def run(main: Callable[[], Any]) -> Any:
    return run_in("asyncio", main)


def played(*scripts: Any, tools: Any = (double, boom), **options: Any) -> tuple[list[Any], ToolLoop, Model]:
    """What a loop over the scripts brings; the error that ended it, if one did, is its last."""
    model = Model(*scripts)

    async def main() -> tuple[list[Any], ToolLoop]:
        loop = ToolLoop(model, ASKED, tools, **options)
        updates: list[Any] = []
        try:
            async for update in loop:
                updates += [update]
        except Exception as error:
            updates.append(error)
        with pytest.raises(StopAsyncIteration):
            await anext(loop)
        await loop.close()
        return updates, loop

    updates, loop = run(main)
    assert model.clean
    return updates, loop, model


def results(updates: list[Any]) -> list[tuple[str, str, bool]]:
    return [(it.id, it.content, it.error) for it in updates if isinstance(it, ToolResult)]


def text(updates: list[Any]) -> str:
    return "".join(it.text for it in updates if isinstance(it, TextDelta))


def test_the_model_is_told_what_its_tools_gave_and_goes_on_in_one_stream() -> None:
    first = [
        Started("a"),
        TextDelta("I look."),
        *call("c1", "double", '{"n":4}', block=1),
        Usage(10, 5),
        Finished("tool_use"),
    ]
    second = [
        Started("b"),
        ReasoningDelta("Hm."),
        TextDelta("It is 8.", block=1),
        Finished("stop", "end"),
        Usage(30, 7),
    ]
    updates, loop, model = played(first, second)
    assert updates == [
        Started("a"), TextDelta("I look."), ToolCallStarted("c1", "double", block=1), ToolCallDelta('{"n', block=1),
        ToolCallDelta('":4}', block=1), ToolCallEnded(block=1), Usage(10, 5),
        ToolResult("c1", "double", "8", block=1),
        ReasoningDelta("Hm.", block=2), TextDelta("It is 8.", block=3), Usage(40, 12), Finished("stop", "end"),
    ]  # fmt: skip
    spoken = {
        "role": "assistant", "content": "I look.",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "double", "arguments": '{"n":4}'}}],
    }  # fmt: skip
    answered = {"role": "tool", "tool_call_id": "c1", "content": "8"}
    assert model.asked == [ASKED, [*ASKED, spoken, answered]]
    final = {"role": "assistant", "content": "It is 8.", "reasoning_content": "Hm."}
    assert loop.messages == [*ASKED, spoken, answered, final]
    assert (loop.turns, loop.usage) == (2, Usage(40, 12))
    fold = Transcript()  # one answer to whoever folds it
    for update in updates:
        fold.apply(update)
    assert [*ASKED, *messages_of(fold)] == loop.messages


def test_calls_of_a_turn_run_at_once_are_told_as_they_end_and_fed_back_in_order() -> None:
    order: list[str] = []

    async def main() -> Any:
        gate = asyncio.Event()

        async def first() -> str:
            order.append("first")
            await gate.wait()
            return "1"

        async def second() -> str:
            order.append("second")
            return "2"

        model = Model(calling(call("a", "first", "{}"), call("b", "second", "", block=1)), saying("ok"))
        told = []
        async for update in ToolLoop(model, ASKED, [first, second]):
            if isinstance(update, ToolResult):
                told.append((update.id, update.block))
                gate.set()
        return told, [message["tool_call_id"] for message in model.asked[1][-2:]]

    assert run(main) == ([("b", 1), ("a", 0)], ["a", "b"])
    assert order == ["first", "second"]


def test_whatever_goes_wrong_with_a_call_is_told_and_the_model_goes_on() -> None:
    calls = [
        call("a", "boom", "{}"), call("b", "double", '{"n":', block=1), call("c", "double", '{"n":"x"}', block=2),
        call("d", "nobody", "{}", block=3), call("e", "double", '{"n":1}', block=4),
    ]  # fmt: skip
    updates, _, model = played(calling(*calls), saying("sorry"))
    assert sorted(results(updates)) == [
        ("a", "Error: ValueError: no", True),
        ("b", "Error: the arguments are not valid JSON: Input data was truncated", True),
        ("c", "Error: the arguments do not fit: n: Input should be a valid integer", True),
        ("d", "Error: there is no tool 'nobody'; there are: double, boom", True),
        ("e", "2", False),
    ]
    functions = [each["function"]["arguments"] for each in model.asked[1][1]["tool_calls"]]
    assert functions[:3] == ["{}", '{"INVALID_JSON":"{\\"n\\":"}', '{"n":"x"}']
    assert text(updates) == "sorry"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (calling(call("c", "double", '{"n":1}'))[:-1], "truncated"),
        ([*calling(call("c", "double", '{"n":1}'))[:3], Done("failed")], "truncated"),
        ([ToolCallStarted("c", "double"), ToolCallDelta('{"n'), Finished("unknown")], "incomplete_tool_call"),
        ([ToolCallStarted("c", "double"), ToolCallDelta("{}"), Finished("tool_use")], "incomplete_tool_call"),
        ([*calling(call("c", "double", '{"n":1}')), Failed("overloaded", "Too busy.", True, 529)], "overloaded"),
    ],
)  # fmt: skip
def test_a_turn_that_is_cut_or_fails_raises_and_no_tool_of_it_runs(script: list[Any], code: str) -> None:
    ran: list[int] = []

    def double(n: int) -> None:
        ran.append(n)

    updates, loop, _ = played(script, tools=[double])
    assert isinstance(updates[-1], AnswerFailed)
    assert isinstance(updates[-1], UpstreamError)
    assert (updates[-1].code, updates[-1].retryable) == (code, True)
    assert updates[-1].status == (529 if code == "overloaded" else None)
    assert (ran, results(updates), loop.messages) == ([], [], ASKED)


def test_a_call_that_the_model_never_closed_before_it_waited_for_its_tool_is_told_as_malformed() -> None:
    torn = [ToolCallStarted("c", "double", block=1), ToolCallDelta('{"n', block=1)]
    script = [TextDelta("Hm."), *torn, Finished("tool_use")]
    updates, _, model = played(saying_and_calling(), script, saying("ok"))
    assert updates[-4] == ToolCallEnded(block=4)
    assert results(updates)[-1] == ("c", "Error: the arguments are not valid JSON: Input data was truncated", True)
    assert [message["role"] for message in model.asked[2]] == ["user", *["assistant", "tool"] * 2]


def saying_and_calling() -> list[Any]:
    return [TextDelta("One"), *call("a", "double", '{"n":1}', block=2), Finished("tool_use")]


def test_what_a_turn_raises_comes_out_and_the_turn_is_closed() -> None:
    updates, _, _ = played([Started(), *call("c", "double", "{}"), ZeroDivisionError("mine")])
    assert isinstance(updates[-1], ZeroDivisionError)


@pytest.mark.parametrize("reason", ["length", "content_filter", "refusal", "context_window"])
def test_calls_of_an_answer_that_was_limited_do_not_run_and_are_not_gone_on_with(reason: Any) -> None:
    script = [
        TextDelta("So "),
        *call("c", "double", '{"n":1}', block=1),
        ToolCallStarted("d", "double", block=2),
        Finished(reason),
    ]
    updates, loop, _ = played(script)
    assert (results(updates), updates[-1]) == ([], Finished(reason))
    assert loop.messages == [*ASKED, {"role": "assistant", "content": "So "}]


@pytest.mark.parametrize("reason", ["stop", "unknown"])
def test_servers_without_a_word_for_it_end_in_calls_as_well(reason: Any) -> None:
    updates, loop, _ = played(calling(call("c", "double", '{"n":1}'), reason=reason), saying("ok"))
    assert (results(updates), loop.turns) == ([("c", "2", False)], 2)


def test_an_end_that_only_the_relay_tells_is_one() -> None:
    script = [*call("c", "double", '{"n":1}'), Done("completed")]
    assert results(played(script, [TextDelta("x"), Done("completed")])[0]) == [("c", "2", False)]


def test_the_last_turn_that_is_allowed_runs_no_tools() -> None:
    once = calling(call("c", "double", '{"n":1}'))
    updates, loop, model = played(once, once, max_turns=2)
    error = updates[-1]
    assert isinstance(error, TooManyTurns)
    assert (error.turns, error.calls, error.messages) == (2, ("double",), loop.messages)
    assert str(error) == "the model still calls tools (double) in turn 2, the last that max_turns allows"
    assert [message["role"] for message in loop.messages] == ["user", "assistant", "tool"]
    assert results(updates) == [("c", "2", False)]
    assert updates[-2] == Finished("tool_use")
    assert len(model.turns) == 2
    again = [it.id for it in updates if isinstance(it, ToolCallStarted)]
    assert again == ["c", "c-2"]  # a provider that counts anew in each turn


def test_without_tools_calls_are_the_callers() -> None:
    updates, loop, _ = played(calling(call("c", "double", '{"n":1}')), tools=())
    assert updates[-1] == Finished("tool_use")
    assert loop.messages[-1]["tool_calls"][0]["id"] == "c"
    assert loop.messages[-1]["content"] is None
    assert played([Finished("stop")])[1].messages == ASKED  # nothing was said


def test_calls_that_were_answered_on_their_way_are_not_run_again() -> None:
    answered = [*call("c", "remote", "{}"), ToolResult("theirs", "remote", "7")]
    updates, loop, _ = played([*answered, TextDelta("So 7.", block=1), Finished("stop")])
    assert results(updates) == [("c", "7", False)]
    assert [message["role"] for message in loop.messages] == ["user", "assistant", "tool"]
    mixed = [*answered, *call("d", "double", '{"n":3}', block=1), Finished("tool_use")]
    _, loop, _ = played(mixed, saying("x"))
    assert [message["content"] for message in loop.messages[2:4]] == ["7", "6"]


def test_what_happens_to_the_connection_is_passed_on_and_a_reset_begins_the_turn_anew() -> None:
    before = calling(call("c", "double", '{"n":1}'))
    script = [
        Notice("queued"), TextDelta("lost"), *call("x", "double", "{}", block=1), Usage(1, 1), Dropped("cut", 1, 0.5),
        Reset("trimmed"), TextDelta("kept"), *call("x", "double", '{"n":2}', block=1), Usage(2, 2),
        Finished("tool_use"),
    ]  # fmt: skip
    updates, loop, _ = played(before, script, saying("end", Usage(5, 5, raw={"a": 1}, cost_usd=0.5)))
    assert [type(it) for it in updates if isinstance(it, Notice | Dropped | Reset)] == [Notice, Dropped, Reset]
    assert [it.block for it in updates if isinstance(it, TextDelta)] == [1, 3, 5]
    assert [it.id for it in updates if isinstance(it, ToolCallStarted)] == ["c", "x", "x"]
    assert [message["content"] for message in loop.messages[3:]] == ["kept", "4", "end"]
    assert loop.usage == Usage(7, 7, cost_usd=0.5, raw={"turns": [{"a": 1}]})
    told = [[TextDelta("a"), Usage(1, raw={"n": n}), *calling(call("c", "double", '{"n":1}'))] for n in (1, 2)]
    _, loop, _ = played(*told, saying("end", Usage(1, estimated=True)))
    assert loop.usage == Usage(3, raw={"turns": [{"n": 1}, {"n": 2}]}, estimated=True)


def test_thoughts_go_back_with_their_proofs_so_that_their_makers_take_them() -> None:
    redacted = Opaque(
        "anthropic", {"content_block": {"type": "redacted_thinking", "data": "zzz"}}, "content_block_start"
    )
    first = [
        ReasoningDelta("One."), ReasoningSignature("s1", block=0, dialect="anthropic"), redacted,
        Opaque("anthropic", {}),
        ReasoningDelta("Two.", block=1), ReasoningSignature("s2", block=1, dialect="openai.chat"),
        TextDelta("So", block=2), ReasoningSignature("s3", block=2, dialect="openai.chat"), Citation({}, block=2),
        Logprobs([1]), *call("c", "double", '{"n":1}', block=3), ReasoningSignature("g", block=3, dialect="gemini"),
        redacted, Finished("tool_use"),
    ]  # fmt: skip
    _, loop, model = played(first, saying("ok"))
    message = model.asked[1][1]
    wrapped = "dG9rZW53aXJlOmFudGhyb3BpYzp"
    details = message["reasoning_details"]
    assert [(it["type"], it.get("text"), it["index"]) for it in details] == [
        ("reasoning.text", "One.", 0), ("reasoning.encrypted", None, 1), ("reasoning.text", "Two.", 2),
        ("reasoning.text", None, 3), ("reasoning.encrypted", None, 4),
    ]  # fmt: skip
    assert [it.get("signature") or it["data"] for it in (details[0], details[1])] == [
        wrapped + "zMQ==", wrapped + "6eno=",
    ]  # fmt: skip
    assert [details[2]["signature"], details[3]["signature"]] == ["s2", "s3"]
    assert message["reasoning_content"] == "One.Two."
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "g"}}
    assert "reasoning_details" not in loop.messages[-1]
    for member in ("reasoning", None):
        _, loop, _ = played([ReasoningDelta("Hm."), *saying("ok")], thoughts=member)
        plain = {"role": "assistant", "content": "ok"}
        assert loop.messages[-1] == plain | ({} if member is None else {member: "Hm."})


def test_a_refusal_goes_back_as_one() -> None:
    _, loop, _ = played([RefusalDelta("No."), Finished("refusal")])
    assert loop.messages[-1] == {"role": "assistant", "content": "", "refusal": "No."}


def test_messages_of_several_turns_leave_out_what_nobody_answered() -> None:
    fold = Transcript()
    for delta in [
        TextDelta("a"), *call("c", "f", "{}", block=1), *call("d", "g", "{}", block=2),
        ToolResult("c", "f", "1", block=1),
        *call("e", "g", "{}", block=3), ToolResult("e", "g", "2", block=3), *call("h", "g", "{}", block=4),
    ]:  # fmt: skip
        fold.apply(delta)
    messages = messages_of(fold)
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant", "tool"]
    assert [call["id"] for call in messages[0]["tool_calls"]] == ["c"]
    assert messages_of(Transcript()) == []


@pytest.mark.parametrize("options", [{"max_turns": 0}, {"parallel": 0}, {"timeout": 0}])
def test_bounds_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="more than 0"):
        ToolLoop(Model(), ASKED, **options)


def test_the_hook_can_refuse_and_what_it_raises_ends_the_loop() -> None:
    script = calling(call("c", "double", '{"n":1}'), call("d", "double", '{"n":2}', block=1))
    updates, loop, _ = played(script, saying("ok"), approve=lambda it: it.arguments["n"] == 1 or "too much")
    assert sorted(results(updates)) == [
        ("c", "2", False), ("d", "Error: the user did not allow this call: too much", True),
    ]  # fmt: skip
    assert loop.definitions[0]["function"]["name"] == "double"

    async def broken(request: CallRequest) -> bool:
        raise ZeroDivisionError

    assert isinstance(played(script, approve=broken)[0][-1], ZeroDivisionError)
