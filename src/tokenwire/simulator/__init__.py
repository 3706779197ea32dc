"""A server that looks like an LLM vendor's API on the wire: own process, own latency, faults on demand.

Nothing here imports the rest of tokenwire: a simulator that shared the relay's parser or encoder would share its bugs,
and could not be its witness. The layers, each importing only those before it:

    tokens, latency, faults       a tokenizer; timing profiles; the table of faults
    texts, schema/, tools         what to say; JSON for a schema; which tool to call
    thoughts                      what to think before
    answer                        asked -> answered, without any vendor's words
    exchange, fault_frames        replies as sequences of frames; faults as functions on them
    tries, codings, memory        what faults count and compress; answers that are asked for again
    vendors/                      one API each: requests in, frames out
    ticker, playback, connection  timers, sockets, HTTP/1.1
    tls, tls_layer                the same behind TLS
    about, server                 what it says of itself; start and stop
"""

from __future__ import annotations

from tokenwire.simulator.server import Simulator, run, serve
from tokenwire.simulator.stats import Stats

__all__ = ["Simulator", "Stats", "run", "serve"]
