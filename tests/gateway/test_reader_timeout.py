"""Who takes nothing for too long is told so, in its own dialect, and where to go on; and it never holds much."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import structs
from tests.translation.answers import decode, fold

from tokenwire import dialects
from tokenwire.engine.reader import PAGE
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, started
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

READERS = (
    "native", "ui-messages", "agui", "openai.chat", "openai.responses", "anthropic", "gemini", "ollama",
)  # fmt: skip
PIECES = [f"<{number}>" + "x" * 2000 for number in range(600)]
SCRIPT = [
    REQUEST,
    STREAM_HEAD + chunks(frames.role(), *map(frames.text, PIECES), frames.finish(), frames.DONE) + LAST_CHUNK,
]
#: What the kernel holds beside us: both sockets' buffers, of which the client's is small.
AT_MOST = 2 * PAGE


def without_the_error(body: bytes, blank: bytes) -> tuple[bytes, bytes]:
    """A body up to what tells of the failure, and that."""
    at = body.index(b"reader_timeout")
    start = body.rindex(blank, 0, at) + len(blank)
    return body[:start], body[start:]


@pytest.mark.parametrize("name", READERS)
def test_it_is_told_in_every_dialect_and_can_go_on(relayed: Any, name: str) -> None:
    dialect = dialects.get(name)
    blank = b"\n\n" if dialect.framing == "sse" else b"\n"

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(receive_buffer=4096), await relay.connect()
        path = f"{await started(other, on_disconnect='finish')}?dialect={name}"
        slow = client.get(path)
        client.pause()
        stream = await relay.stream()
        await until(lambda: stream.readers)
        (reader,) = stream.readers
        await until(lambda: reader.sink.unsent)
        await until(lambda: not stream.readers)
        assert reader.sink.unsent < AT_MOST
        client.resume()  # what the kernels hold comes first, and then the words
        await slow.whole()
        had, told = without_the_error(bytes(slow.body), blank)
        assert fold(decode(dialect, [bytes(slow.body)])).failed is not None
        place = re.search(rf"stream {stream.id} took nothing for 0.1 s; resume after (1-[0-9.]+)", told.decode())
        assert place is not None
        for again in (b"RUN_STARTED", b"start-step", b"event: started", b"event: done", b"message_start", b"DONE"):
            assert again not in told, "the stream neither begins nor ends here"
        stream.policy = structs.replace(
            stream.policy, reader_timeout=30.0
        )  # this one shall not be late on a busy machine
        rest = await other.get(f"{path}&after={place[1]}").whole()
        assert rest.complete
        whole = fold(decode(dialect, [had + bytes(rest.body)]))
        assert whole.failed is None
        assert whole.choice().text == "".join(PIECES)

    relayed(main, SCRIPT, reader_timeout=0.1)


def test_what_is_held_for_a_reader_that_takes_nothing_is_bounded(relayed: Any) -> None:
    """Whatever the stream grows to, whichever way it is read: the transport's bytes, and nothing beside the cursor."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        other = await relay.connect()
        path = await started(other, on_disconnect="finish")
        for name in READERS:
            client = await relay.connect(receive_buffer=4096)
            client.get(f"{path}?dialect={name}")
            client.pause()
        stream = await relay.stream()
        await until(lambda: len(stream.readers) == len(READERS))
        await until(lambda: stream.log.terminal is not None)
        await until(lambda: all(reader.sink.unsent for reader in stream.readers))
        for reader in stream.readers:
            assert not reader.live
            assert 0 < reader.sink.unsent < AT_MOST
            assert reader.cursor.seq < stream.log.last_frame - 100, "what it has not had is in the log only"
        assert stream.log.size > 8 * AT_MOST

    relayed(main, SCRIPT, reader_timeout=30)
