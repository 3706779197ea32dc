"""One answer in this process: what is shown of each event, what Ctrl-C does, what is kept of it."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tokenwire.cli.chat_loop import Chat
from tokenwire.cli.chat_requests import Conversation, Turn, anthropic, named_in, openai_chat
from tokenwire.cli.chat_screen import Kind
from tokenwire.client import Client, Retry
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.native_frames import STREAM_HEAD, chunks, events, farewell, from_snapshot, refused, streamed
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step
from tokenwire.wire import sse

CREATED = answer(b'{"id":"st_1"}', status=201)
CANCELLED = answer(b'{"id":"st_1","state":"cancelled"}')


class Recorder:
    """A screen that keeps what it was told. *on_text* is called with each piece of text."""

    def __init__(self, on_text: Callable[[str], object] = lambda text: None) -> None:
        self.shown: list[tuple[Kind, str]] = []
        self.states: list[str] = []
        self._on_text = on_text

    def write(self, kind: Kind, text: str) -> None:
        if self.shown and self.shown[-1][0] == kind:
            text = self.shown.pop()[1] + text
        self.shown.append((kind, text))
        if kind == "text":
            self._on_text(text)

    def line(self, kind: Kind, text: str) -> None:
        self.shown.append((kind, text))

    def status(self, text: str) -> None:
        self.states.append(text)

    def end(self) -> None:
        self.status("")

    def of(self, kind: Kind) -> list[str]:
        return [text for each, text in self.shown if each == kind]


@contextmanager
def scripted(*scripts: Sequence[Step]) -> Iterator[ScriptedUpstream]:
    """A relay that is a script, in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()
    servers: list[ScriptedUpstream] = []

    async def serve() -> None:
        async with ScriptedUpstream(*scripts) as server:
            servers.append(server)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield servers[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


@contextmanager
def chatting(server: ScriptedUpstream, screen: Recorder, *, thinking: bool = True, **retry: Any) -> Iterator[Any]:
    """A chat with that relay; and its conversation."""
    with asyncio.Runner() as runner:

        async def connect() -> Client:
            options: Any = {"first": 0.0, "give_up": 1.0, **retry}
            return Client(f"http://127.0.0.1:{server.port}", retry=Retry(**options))

        async def close() -> None:
            client.close()
            await asyncio.sleep(0)

        client = runner.run(connect())
        talk = Conversation("up/m", "session-1")
        yield Chat(runner, client, talk, screen, thinking=thinking), talk
        runner.run(close())


def ask(*sent: bytes, thinking: bool = True, more: Sequence[Step] = ()) -> tuple[Any, Recorder, Conversation]:
    """Ask once; the relay streams *sent*."""
    screen = Recorder()
    with (
        scripted([REQUEST, CREATED, REQUEST, streamed(*sent), *more]) as server,
        chatting(server, screen, thinking=thinking) as (chat, talk),
    ):
        return chat.ask("Why?"), screen, talk


def test_an_answer_is_shown_and_kept() -> None:
    deltas: list[Delta] = [
        ReasoningDelta("Hm."),
        TextDelta("Be", block=1),
        TextDelta("cause.", block=1),
        Usage(output=9),
    ]
    outcome, screen, talk = ask(*events([*deltas, Finished("stop")]))
    assert outcome == ("Because.", "completed")
    assert screen.shown[:2] == [("thinking", "Hm."), ("text", "Because.")]
    assert re.fullmatch(r"TTFT \d+ ms · 9 tokens", screen.of("figures")[0])
    assert talk.turns == [Turn("user", "Why?"), Turn("assistant", "Because.")]
    assert screen.states[-1] == ""


def test_thinking_may_be_kept_to_itself() -> None:
    _, screen, _ = ask(*events([ReasoningDelta("Hm."), TextDelta("So.", block=1)]), thinking=False)
    assert screen.of("thinking") == []
    assert re.fullmatch(r"TTFT \d+ ms · ~2 tokens", screen.of("figures")[0])


def test_calls_are_shown_side_by_side() -> None:
    deltas: list[Delta] = [
        ToolCallStarted("a", "look"),
        ToolCallDelta('{"x":'),
        ToolCallStarted("b", "listen", block=1),
        ToolCallDelta("{}", block=1),
        ToolCallDelta("1}"),
        ToolCallEnded(block=0),
        ToolCallEnded(block=1),
        Finished("tool_use"),
    ]
    outcome, screen, talk = ask(*events(deltas))
    assert screen.of("tool") == ['look({"x": …\nlisten({} …\nlook(… 1})']
    assert outcome == ("", "completed")
    assert talk.turns == []


@pytest.mark.parametrize(
    ("deltas", "kind", "said"),
    [
        ([RefusalDelta("No.")], "refusal", r"No\."),
        ([TextDelta("a"), Finished("length")], "note", "cut off: the model's or the request's limit"),
        ([TextDelta("a"), TextDelta("b", choice=1)], "note", "of 2 answers the first is shown"),
        (
            [TextDelta("a"), Citation({"url": "http://x"}), Citation({"title": "T"}), Citation({"n": 1})],
            "note",
            "sources: http://x, T",
        ),
    ],
)
def test_what_else_is_said(deltas: list[Delta], kind: Kind, said: str) -> None:
    _, screen, _ = ask(*events(deltas))
    assert re.match(said, screen.of(kind)[0])


@pytest.mark.parametrize(("retryable", "advice"), [(True, "may help"), (False, "will not help")])
def test_a_failure_says_whether_to_try_again(retryable: bool, advice: str) -> None:
    failed = Failed("upstream_overloaded", "too busy", retryable, 529)
    outcome, screen, talk = ask(*events([TextDelta("Be")], Terminal("failed", error=failed)))
    assert screen.of("error") == [f"upstream_overloaded (status 529): too busy; trying again {advice}"]
    assert screen.of("figures")[0].startswith("failed · TTFT")
    assert outcome == ("Be", "failed")
    assert talk.turns[-1] == Turn("assistant", "Be"), "what came is part of the conversation"


def test_notices_resets_and_mismatches_are_said() -> None:
    notice = sse.encode('{"code":"queued","place":3}', event="notice")
    bare = sse.encode('{"code":"degraded"}', event="notice")
    reset = sse.encode('{"reason":"trimmed"}', event="reset")
    whole = [TextDelta("one "), TextDelta("two "), TextDelta("three")]
    later = from_snapshot(whole[:2], whole[2:])
    outcome, screen, _ = ask(
        notice, bare, *events(whole)[:2], reset, *later[:-1], later[-1].replace(b'"events":4', b'"events":9')
    )
    assert "queued: place 3" in screen.of("note")
    assert "degraded" in screen.of("note")
    assert "what was shown cannot be continued (trimmed); here it is anew:" in screen.of("note")
    assert outcome.text == "one two three"
    assert screen.of("error") == ["this is not what the relay sent: 4 events came, 9 were sent"]


def test_a_dropped_connection_is_resumed_and_said() -> None:
    sent = events([TextDelta("one "), TextDelta("two")])
    screen = Recorder()
    first = STREAM_HEAD + chunks(*sent[:2], farewell("60 s without progress")) + LAST_CHUNK
    with (
        scripted([REQUEST, CREATED, REQUEST, first, REQUEST, streamed(*sent[2:])]) as server,
        chatting(server, screen) as (chat, _),
    ):
        assert chat.ask("Why?") == ("one two", "completed")
    assert screen.of("note") == ["the connection was lost (60 s without progress), and the stream resumed"]


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (
            [REQUEST, refused(404, "stream_not_found", "no stream")],
            r"does not have this stream \(any more\): no stream; what",
        ),
        ([REQUEST, refused(410, "trimmed", "it is trimmed")], "trimmed: it is trimmed"),
        ([CLOSE], "cannot be reached: .*; given up after 1 s"),
    ],
)
def test_a_stream_that_cannot_be_resumed_is_a_clear_end(then: list[Step], said: str) -> None:
    sent = events([TextDelta("one "), TextDelta("two")])
    screen = Recorder()
    first: list[Step] = [REQUEST, CREATED, REQUEST, STREAM_HEAD + chunks(*sent[:2]), CLOSE]
    with scripted(first, then) as server, chatting(server, screen, first=0.4, longest=0.4) as (chat, talk):
        outcome = chat.ask("Why?")
    assert outcome == ("one ", "lost")
    assert re.search(said, screen.of("error")[0])
    assert screen.of("figures")[0].startswith("incomplete · TTFT")
    assert talk.turns[-1] == Turn("assistant", "one ")


def test_a_stream_that_never_answered_is_lost_without_a_trace() -> None:
    screen = Recorder()
    script: list[Step] = [REQUEST, CREATED, REQUEST, refused(404, "stream_not_found", "no stream")]
    with scripted(script) as server, chatting(server, screen) as (chat, talk):
        assert chat.ask("Why?") == ("", "lost")
    assert screen.of("error")[0].endswith("no stream; ask again")
    assert talk.turns == []


# ---------------------------------------------------------------------- stopping


def press(text: str) -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_ctrl_c_cancels_and_returns() -> None:
    cancelled = Terminal("cancelled", error=Failed("cancelled", "stopped"))
    sent = events([TextDelta("one "), TextDelta("two")])
    end = events([TextDelta("one "), TextDelta("two")], cancelled)[3:]
    once: list[str] = []

    def stop(text: str) -> None:
        if not once:
            once.append(text)
            press(text)

    screen = Recorder(stop)
    told = asyncio.Event()
    follow: list[Step] = [REQUEST, CREATED, REQUEST, STREAM_HEAD + chunks(*sent[:2]), told, chunks(*end) + LAST_CHUNK]

    async def tell(peer: Any) -> None:
        assert (await peer.request()).target == "/v1/streams/st_1/cancel"
        peer.write(CANCELLED)
        told.set()

    with scripted(follow, [tell]) as server, chatting(server, screen) as (chat, talk):
        outcome = chat.ask("Why?")
    assert outcome == ("one ", "stopped")
    assert screen.of("error") == []
    assert screen.of("figures")[0].startswith("stopped · TTFT")
    assert any(state.endswith("· stopping") for state in screen.states)
    assert talk.turns[-1] == Turn("assistant", "one ")


def test_an_answer_that_was_whole_when_it_was_stopped_is_whole() -> None:
    sent = events([TextDelta("one")])
    screen = Recorder(press)
    told = asyncio.Event()
    follow: list[Step] = [
        REQUEST,
        CREATED,
        REQUEST,
        STREAM_HEAD + chunks(*sent[:2]),
        told,
        chunks(*sent[2:]) + LAST_CHUNK,
    ]

    async def tell(peer: Any) -> None:
        await peer.request()
        peer.write(CANCELLED)
        told.set()

    with scripted(follow, [tell]) as server, chatting(server, screen) as (chat, _):
        assert chat.ask("Why?").state == "stopped"
    assert screen.of("note") == ["the answer was already whole"]


def test_an_end_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwire.cli.chat_answer.GRACE_SECONDS", 0.05)
    sent = events([TextDelta("one")])
    screen = Recorder(press)
    follow: list[Step] = [REQUEST, CREATED, REQUEST, STREAM_HEAD + chunks(*sent[:2])]
    with scripted(follow, [REQUEST, CANCELLED]) as server, chatting(server, screen) as (chat, _):
        assert chat.ask("Why?") == ("one", "stopped")


def test_a_relay_that_cannot_be_told_is_said() -> None:
    sent = events([TextDelta("one")])
    screen = Recorder(press)
    follow: list[Step] = [REQUEST, CREATED, REQUEST, STREAM_HEAD + chunks(*sent[:2])]
    with scripted(follow, [REQUEST, CLOSE]) as server, chatting(server, screen) as (chat, _):
        assert chat.ask("Why?") == ("one", "stopped")
    assert screen.of("error")[0].startswith("the relay could not be told: the relay at http://127.0.0.1:")


def test_the_second_ctrl_c_leaves() -> None:
    sent = events([TextDelta("one")])
    screen = Recorder(press)
    asked = asyncio.Event()

    async def again(peer: Any) -> None:
        await peer.request()
        signal.raise_signal(signal.SIGINT)
        asked.set()

    follow: list[Step] = [REQUEST, CREATED, REQUEST, STREAM_HEAD + chunks(*sent[:2])]
    with scripted(follow, [again]) as server, chatting(server, screen) as (chat, talk):
        with pytest.raises(KeyboardInterrupt):
            chat.ask("Why?")
        assert talk.turns == []


def test_a_question_that_is_refused_is_not_kept() -> None:
    screen = Recorder()
    no = refused(404, "model_not_found", "no upstream serves the model 'up/m'")
    with scripted([REQUEST, no]) as server, chatting(server, screen) as (chat, talk):
        assert chat.ask("Why?") == ("", "refused")
        assert talk.turns == []
    assert screen.of("error") == ["no upstream serves the model 'up/m'"]


# ---------------------------------------------------------------------- dialects


def test_the_dialect_that_the_relay_names_is_used_and_remembered() -> None:
    screen = Recorder()
    sent = streamed(*events([TextDelta("So.")]))
    no = refused(400, "unsupported_dialect", "the upstream of anthropic/claude speaks anthropic, not openai.chat")
    with (
        scripted([REQUEST, no, REQUEST, CREATED, REQUEST, sent, REQUEST, CREATED, REQUEST, sent]) as server,
        chatting(server, screen) as (chat, talk),
    ):
        talk.system = "Be brief."
        assert chat.ask("Why?").text == "So."
        assert chat.ask("And?").text == "So."
        bodies = [request.body for request in server.peers[0].requests if request.method == "POST"]
    assert [b'"dialect":"anthropic"' in body for body in bodies] == [False, True, True]
    assert b'"session":"session-1"' in bodies[0]


def test_when_no_dialect_helps_the_last_refusal_stands() -> None:
    screen = Recorder()
    first = refused(400, "bad", "speak anthropic")
    second = refused(400, "bad", "speak openai.chat, not anthropic")
    with scripted([REQUEST, first, REQUEST, second]) as server, chatting(server, screen) as (chat, _):
        assert chat.ask("Why?").state == "refused"
    assert screen.of("error") == ["speak openai.chat, not anthropic"]


def test_bodies() -> None:
    talk = Conversation("up/m", "s")
    talk.turns += [Turn("assistant", "A"), Turn("user", "B")]
    assert openai_chat(talk) == {
        "model": "up/m", "stream": True,
        "messages": [{"role": "assistant", "content": "A"}, {"role": "user", "content": "B"}],
    }  # fmt: skip
    assert [message["role"] for message in anthropic(talk)["messages"]] == ["user", "assistant", "user"]
    assert "system" not in anthropic(talk)
    talk.system = "S"
    assert openai_chat(talk)["messages"][0] == {"role": "system", "content": "S"}
    assert anthropic(talk)["system"] == "S"
    assert anthropic(talk)["max_tokens"] > 0


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("it speaks anthropic", ["anthropic"]),
        ("it speaks 'anthropic', not openai.chat.", ["openai.chat", "anthropic"]),
        ("no model anthropic/claude", []),
        ("anthropical openai.chats", []),
    ],
)
def test_dialects_are_found_by_name(message: str, named: list[str]) -> None:
    assert named_in(message) == named


def test_resuming_takes_the_answer_along() -> None:
    screen = Recorder()
    sent = events([TextDelta("So."), Usage(output=11)], Terminal("completed", ttft_ms=100.0, e2e_ms=1100.0))
    with scripted([REQUEST, streamed(*sent)]) as server, chatting(server, screen) as (chat, talk):
        assert chat.resume("st_1") == ("So.", "completed")
        assert talk.turns == [Turn("assistant", "So.")]
    assert screen.of("figures") == ["TTFT 100 ms · 10 tokens/s · 11 tokens"]
    assert not any("TTFT" in state for state in screen.states), "when it was asked for, only the relay knows"
