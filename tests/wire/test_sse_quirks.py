"""How servers frame events (reference, Q1 to Q8 and Q15), one test for each thing that once broke somebody's parser.

Both readers must bear it, wherever the network cuts: the decoder, which gives events, and the cutter, whose frames are
relayed as they are.
"""

from __future__ import annotations

import pytest

from tokenwire.wire import sse
from tokenwire.wire.frames import Cutter

Events = list[tuple[str, str]]


def decoded(body: bytes, cuts: tuple[int, ...]) -> Events:
    decoder = sse.Decoder()
    events = [event for piece in pieces(body, cuts) for event in decoder.feed(piece)]
    return [(event.event, event.data) for event in events + decoder.close(lenient=True)]


def relayed(body: bytes, cuts: tuple[int, ...]) -> Events:
    """What a reader makes of the frames that the cutter passes on."""
    cutter = Cutter()
    frames = [frame for piece in pieces(body, cuts) for frame in cutter.feed(piece)] + cutter.close()
    return decoded(b"\n" + b"".join(frames), ())


def pieces(body: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    return [body[start:end] for start, end in zip((0, *cuts), (*cuts, len(body)), strict=True)]


def both(body: bytes, *events: str) -> None:
    """*body* holds these events of no name, wherever it is cut, and in single bytes."""
    wanted = [("message", event) for event in events]
    for cuts in ((), tuple(range(1, len(body))), *((at,) for at in range(1, min(len(body), 200)))):
        assert decoded(body, cuts) == wanted
        assert relayed(body, cuts) == wanted


def test_q1_data_without_a_space_and_with_two() -> None:
    both(b'data:{"a":1}\n\ndata:  x\n\n', '{"a":1}', " x")


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
def test_q2_line_ends_of_every_kind_cut_between_their_two_bytes(end: bytes) -> None:
    both(b"data: a%bdata: b%b%bdata: c%b%b" % (end, end, end, end, end), "a\nb", "c")


def test_q3_a_comment_block_after_an_id_dispatches_nothing() -> None:
    both(b"id: 7\ndata: a\n\n: hb\n\nid: 8\n\n: hb\n\ndata: b\n\n", "a", "b")


@pytest.mark.parametrize("comment", [b": OPENROUTER PROCESSING", b": keep-alive", b": ping - 2026-11-21", b":"])
def test_q4_comments_are_no_events(comment: bytes) -> None:
    both(b"%b\n\ndata: a\n%b\n\n%b\n\n\ndata: b\n\n" % (comment, comment, comment), "a", "b")


def test_q5_one_byte_order_mark_before_the_first_field() -> None:
    both(b"\xef\xbb\xbfdata: a\n\ndata: \xef\xbb\xbfb\n\n", "a", "\ufeffb")


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_q6_only_cr_and_lf_end_a_line(odd: str) -> None:
    both(f'data: {{"a":"x{odd}y"}}\n\n'.encode(), f'{{"a":"x{odd}y"}}')


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_q7_megabytes_in_one_line(size: int) -> None:
    body = b'data: {"b64":"' + b"A" * size + b'"}\n\ndata: [DONE]\n\n'
    step = tuple(range(65_536, len(body), 65_536))
    for cuts in ((), step):
        assert [len(data) for _, data in decoded(body, cuts)] == [size + 10, 6]
        assert [len(data) for _, data in relayed(body, cuts)] == [size + 10, 6]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("last", ["[DONE]", '{"done":true}'])
def test_q8_the_last_event_without_its_blank_line(last: str, end: bytes) -> None:
    for body in (b"data: a\n\ndata: " + last.encode() + end,):
        assert decoded(body, ()) == relayed(body, ()) == [("message", "a"), ("message", last)]
        assert decoded(body, tuple(range(1, len(body)))) == relayed(body, tuple(range(1, len(body))))


def test_q8_half_an_event_is_none() -> None:
    assert decoded(b'data: a\n\ndata: {"half":', ()) == relayed(b'data: a\n\ndata: {"half":', ()) == [("message", "a")]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"error":{"code":503}}', '{"error":{"code":503}}'),
        (b'[{"error":1}]', '[{"error":1}]'),
        (b'error: {"code":500}', '{"error":{"code":500}}'),
    ],
)
def test_q15_json_without_data_before_it_is_relayed_as_an_event(line: bytes, event: str) -> None:
    body = b"data: a\n\n" + line + b"\n\n"
    for cuts in ((), *((at,) for at in range(1, len(body)))):
        assert relayed(body, cuts) == [("message", "a"), ("message", event)]
