"""Compressed although nobody asked: can those who know the coding read it, piece by piece?"""

from __future__ import annotations

import json
import subprocess
import zlib

import pytest
from tests import programs

from tokenwire.simulator.codings import CODINGS

PIECES = [b"event: a\n\n", b"", b"x" * 70_000, "zażółć".encode(), b"\0\xff" * 9]

# Node's zlib knows Brotli. It prints how much each piece alone gave, and all of it.
_SCRIPT = """
const { createBrotliDecompress } = require('zlib');
const pieces = JSON.parse(require('fs').readFileSync(0)).map((each) => Buffer.from(each, 'hex'));
const unpack = createBrotliDecompress();
const out = [];
unpack.on('data', (data) => out.push(data));
unpack.on('end', () => console.log(Buffer.concat(out).toString('hex')));
const step = () => (pieces.length ? unpack.write(pieces.shift(), () => setImmediate(step)) : unpack.end());
step();
"""


def packed(name: str, pieces: list[bytes]) -> list[bytes]:
    pack = CODINGS[name][1]()
    return [*(pack(piece, False) for piece in pieces), pack(b"", True)]


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate-raw", -15)])
def test_every_piece_can_be_read_at_once(name: str, wbits: int) -> None:
    reader = zlib.decompressobj(wbits=wbits)
    assert [reader.decompress(each) for each in packed(name, PIECES)] == [*PIECES, b""]
    assert reader.eof


@pytest.mark.parametrize("pieces", [PIECES, [], [b""], [b"a"]], ids=["many", "none", "empty", "one"])
def test_what_we_write_as_brotli_is_brotli(pieces: list[bytes]) -> None:
    given = json.dumps([each.hex() for each in packed("brotli", pieces)]).encode()
    done = subprocess.run([programs.node(), "-e", _SCRIPT], input=given, capture_output=True, timeout=60, check=True)
    assert bytes.fromhex(done.stdout.decode().strip()) == b"".join(pieces)


def test_brotli_in_one_go() -> None:
    assert CODINGS["brotli"][1]()(b"ab", True) == b"\x10\x00\x10ab\x03"
