"""The fold of deltas: what it says, that copies are independent, and that nothing in it is quadratic."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
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
    Usage,
)
from tokenwire.dialects.pieces import Pieces, Text
from tokenwire.dialects.transcript import Transcript, merge_usage
from tokenwire.errors import LocalProtocolError

Fold = Callable[[list[Delta]], Transcript]

EVERYTHING: list[Delta] = [
    Started("c1", None, None), ReasoningDelta("Hm"), ReasoningSignature("S"), ReasoningSignature("T"),
    TextDelta("a", block=1), TextDelta("b", block=1), ToolCallStarted("i", "f", block=2),
    ToolCallDelta('{"x"', block=2),
    Started("c2", "m", 5.0, 1), TextDelta("other", 1), TextDelta("c", block=3), ToolCallDelta(":1}", block=2),
    ToolCallEnded(block=2), RefusalDelta("No.", block=4), Citation({"url": "u"}), Logprobs([1], None),
    Logprobs([2], [3]),
    Opaque("x", {}), Usage(1, 2, raw={"a": 1}), Usage(output=3, cached_input=1), Finished("stop", "end"),
    Finished("length", None), Failed("x", "y"), Failed("z", "w"),
]  # fmt: skip


def test_everything_has_its_place(fold: Fold) -> None:
    folded = fold(EVERYTHING)
    choice = folded.choice()
    assert (choice.text, choice.reasoning, choice.refusal, choice.signatures) == ("abc", "Hm", "No.", ["S", "T"])
    assert [(call.id, call.name, call.arguments, call.ended, call.block) for call in choice.tool_calls.values()] == [
        ("i", "f", '{"x":1}', True, 2)
    ]
    assert [citation.data for citation in choice.citations] == [{"url": "u"}]
    assert choice.logprobs == Logprobs([1, 2], [3])
    assert (choice.reason, choice.native_reason) == ("stop", "end")  # the first counts
    assert folded.choice(1).text == "other"
    assert folded.started == Started("c1", "m", 5.0)
    assert folded.usage == Usage(1, 3, 1, raw={"a": 1})
    assert folded.failed == Failed("x", "y")
    assert folded.opaque == 1
    assert folded.events == len(EVERYTHING) - 2 - 2 - 2


def test_segments_keep_the_order_of_arrival(fold: Fold) -> None:
    assert [(kind, block, text) for kind, block, text, _ in fold(EVERYTHING).choice().segments()] == [
        ("reasoning", 0, "Hm"), ("signature", 0, "S"), ("signature", 0, "T"), ("text", 1, "ab"), ("tool_call", 2, ""),
        ("text", 3, "c"), ("refusal", 4, "No."),
    ]  # fmt: skip


def test_a_choice_that_said_nothing_is_empty_and_not_made_by_asking() -> None:
    folded = Transcript()
    choice = folded.choice(7)
    assert (choice.text, choice.segments(), choice.logprobs, choice.reason, choice.tool_calls) == (
        "",
        [],
        None,
        None,
        {},
    )
    assert folded.choices == {}
    assert folded.deltas() == []


@pytest.mark.parametrize("delta", [ToolCallDelta("{}"), ToolCallEnded()])
def test_arguments_of_a_call_that_never_began_are_a_bug(delta: Delta) -> None:
    with pytest.raises(LocalProtocolError):
        Transcript().apply(delta)


def test_the_coalesced_deltas_fold_to_the_same(fold: Fold) -> None:
    folded = fold(EVERYTHING)
    deltas = folded.deltas()
    again = fold(deltas)
    assert again.deltas() == deltas
    assert [choice.segments() for choice in again.choices.values()] == [
        choice.segments() for choice in folded.choices.values()
    ]
    assert len(deltas) < len(EVERYTHING)
    assert not any(isinstance(delta, Failed) for delta in deltas)


def test_an_open_call_stays_open_in_the_coalesced_deltas(fold: Fold) -> None:
    assert fold([ToolCallStarted("i", "f")]).deltas() == [ToolCallStarted("i", "f")]


steps = st.one_of(
    st.builds(TextDelta, st.text(max_size=3), st.integers(0, 1), st.integers(0, 2)),
    st.builds(ReasoningDelta, st.text(max_size=3), st.integers(0, 1), st.integers(0, 2)),
    st.builds(Citation, st.just({"u": 1})),
    st.builds(Logprobs, st.lists(st.integers(), max_size=2)),
    st.builds(ToolCallStarted, st.just("i"), st.just("f"), st.integers(0, 1), st.integers(3, 4)),
    st.just("copy"),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30))
def test_copies_are_independent_whenever_they_are_made(script: list[Delta | str]) -> None:
    plain, copied = Transcript(), Transcript()
    left: list[tuple[Transcript, list[Delta]]] = []
    for step in script:
        if isinstance(step, str):
            left.append((copied, copied.deltas()))
            copied = copied.copy()
        else:
            plain.apply(step)
            copied.apply(step)
    assert copied.deltas() == plain.deltas()
    assert copied.events == plain.events
    for old, deltas in left:
        assert old.deltas() == deltas


def test_a_copy_shares_what_came_before() -> None:
    """Checkpoints every few deltas must not cost the whole each time: sealed pieces are the same objects."""
    text = Text()
    for _ in range(100):
        text.append("x" * 100)
        text = text.copy()
    older = text.copy()
    text.append("y")
    newer = text.copy()
    assert older._sealed is not None
    assert newer._sealed is not None
    assert newer._sealed[0] is older._sealed
    assert str(newer) == "x" * 10_000 + "y"


def test_pieces_of_any_type() -> None:
    pieces: Pieces[int] = Pieces()
    pieces.extend([1, 2])
    twin = pieces.copy()
    twin.append(3)
    pieces.append(4)
    assert (pieces.items(), twin.items()) == ([1, 2, 4], [1, 2, 3])


def test_usage_is_merged_field_by_field() -> None:
    first = Usage(1, 2, 3, 4, 5, {"a": 1})
    assert merge_usage(None, first) is first
    assert merge_usage(first, Usage()) == first
    assert merge_usage(first, Usage(9, 8, 7, 6, 0, {"b": 1})) == Usage(9, 8, 7, 6, 0, {"b": 1})
