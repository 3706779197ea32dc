"""Answers that come compressed although nobody asked for it."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.errors import EventTooLarge, RemoteProtocolError
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.rig import Rig
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step
from tokenwire.upstream.coding import MOST, PIECE, inflater

Run = Callable[..., Any]
TEXT = b"".join(chat.text(f"{number} ") for number in range(3000))
EVENTS = ("Content-Type", "text/event-stream")


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


#: name -> Content-Encoding, compressed bytes of TEXT.
FORMATS: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "its old name, in capitals": (b" X-GZIP ", gzip.compress(TEXT)),
    "members": (b"gzip", gzip.compress(TEXT[:5000]) + gzip.compress(b"") + gzip.compress(TEXT[5000:])),
    "deflate": (b"deflate", zlib.compress(TEXT)),
    "deflate with something behind": (b"deflate", zlib.compress(TEXT) + b"?"),
    "deflate, bare": (b"deflate", bare(TEXT)),
}


def content(coding: bytes, pieces: Iterable[bytes]) -> bytes:
    inflate = inflater(coding)
    assert inflate is not None
    return b"".join(out for piece in pieces for out in inflate(piece))


@pytest.mark.parametrize("name", FORMATS)
def test_a_body_is_the_same_wherever_it_is_cut(name: str) -> None:
    coding, packed = FORMATS[name]
    assert content(coding, [packed]) == TEXT
    assert content(coding, [packed[i : i + 1] for i in range(len(packed))]) == TEXT


@given(st.sampled_from(sorted(FORMATS)), st.data())
@settings(max_examples=50, deadline=None)
def test_any_cuts(name: str, data: st.DataObject) -> None:
    coding, packed = FORMATS[name]
    cuts = sorted({0, len(packed), *data.draw(st.lists(st.integers(0, len(packed)), max_size=20))})
    assert content(coding, [packed[start:end] for start, end in pairwise(cuts)]) == TEXT


@pytest.mark.parametrize("coding", [b"", b"identity", b"Identity"])
def test_no_coding_is_left_alone(coding: bytes) -> None:
    assert inflater(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b"gzip, gzip"])
def test_what_nobody_here_can_read_is_refused(coding: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=coding.decode()):
        inflater(coding)


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 100])
def test_what_was_flushed_is_handed_on_to_its_last_byte(size: int) -> None:
    """However it falls on the size of a piece: zlib may have taken all input and still hold output."""
    inflate = inflater(b"gzip")
    assert inflate is not None
    packer = zlib.compressobj(wbits=31)
    for data in (b"x" * size, random.Random(size).randbytes(size), b"ab" * size):
        packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        pieces = list(inflate(packed))
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) <= PIECE


def test_a_bomb_is_not_inflated() -> None:
    inflate = inflater(b"gzip")
    assert inflate is not None
    with pytest.raises(EventTooLarge):
        for _ in inflate(gzip.compress(bytes(MOST + 1))):
            pass


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_damaged_bytes_are_told(coding: bytes) -> None:
    inflate = inflater(coding)
    assert inflate is not None
    with pytest.raises(RemoteProtocolError, match="damaged"):
        list(inflate(b"data: no compression at all\n\n"))


# ---------------------------------------------------------------------- over a socket


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_stream_arrives_event_by_event(run: Run, framing: str) -> None:
    async def main(rig: Rig) -> None:
        packer = zlib.compressobj(wbits=31)
        frames = [*chat.answer("Hel", "lo")]
        packed = [packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH) for frame in frames]
        fields = [EVENTS, ("Content-Encoding", "gzip")]
        if framing == "chunked":
            opening = head(200, *fields, ("Transfer-Encoding", "chunked"))
            script: list[Step] = [REQUEST, opening, *map(http_chunk, packed[:3])]
            ending = b"".join(map(http_chunk, packed[3:])) + LAST_CHUNK
        else:
            script = [REQUEST, head(200, *fields, ("Content-Length", str(len(b"".join(packed))))), *packed[:3]]
            ending = b"".join(packed[3:])
        async with ScriptedUpstream(script) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.entries(3)  # the rest has not been sent
            (await upstream.peer()).write(ending)
            assert (await asked.ended()).state == "completed"
            assert asked.text == "Hello"
            assert rig.connections == (1, 0)  # and the connection can be used again, for an answer of another kind
            plain = rig.ask(upstream.base_url)
            peer = await upstream.peer()
            await peer.request()
            peer.write(answer(b"".join(frames), content_type="text/event-stream"))
            assert (await plain.ended()).state == "completed"
            assert plain.text == "Hello"

    run(main)


def test_other_bodies_are_inflated_too(run: Run) -> None:
    async def main(rig: Rig) -> None:
        fields = [("Content-Encoding", "gzip")]
        refused = answer(gzip.compress(b'{"error":{"message":"too many"}}'), status=429, fields=fields)
        async with ScriptedUpstream([REQUEST, refused]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.stream.terminal is not None
            assert asked.stream.terminal.error is not None
            assert asked.stream.terminal.error.message == "too many"

    run(main)


@pytest.mark.parametrize(
    ("coding", "body", "code", "words"),
    [
        ("br", b"anything", "bad_answer", "'br'; it was asked for none (status 200)"),
        ("gzip", b"data: plain\n\n", "upstream_closed", "damaged"),
        ("gzip", gzip.compress(bytes(MOST + 1)), "event_too_large", "100000"),
    ],
    ids=["unknown", "damaged", "bomb"],
)
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_what_cannot_be_read_is_a_failure(
    run: Run, coding: str, body: bytes, code: str, words: str, framing: Any
) -> None:
    async def main(rig: Rig) -> None:
        pieces = [body] if framing == "chunked" else body
        reply = answer(pieces, content_type="text/event-stream", framing=framing, fields=[("Content-Encoding", coding)])
        async with ScriptedUpstream([REQUEST, reply]) as upstream:
            asked = rig.ask(upstream.base_url, max_event=100_000)
            error = (await asked.ended()).error
            assert error is not None
            assert (error.code, words in error.message) == (code, True)
            assert asked.frames == []

    run(main)
