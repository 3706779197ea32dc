"""What the simulator says of itself: to ``GET /``, to ``--help``, and to whoever writes documentation."""

from __future__ import annotations

from tokenwire.simulator.faults import listing
from tokenwire.simulator.knobs import ANSWERS
from tokenwire.simulator.latency import PROFILES, SNAPSHOTS
from tokenwire.simulator.tls import HANDSHAKE_FAULTS

_ROUTES = """\
POST /v1/chat/completions       OpenAI's Chat Completions, streaming or not
POST /v1/messages               Anthropic's Messages, streaming or not (needs an anthropic-version header)
POST /v1/messages/count_tokens
POST /v1/responses              OpenAI's Responses, streaming or not, in the background or not
GET  /v1/responses/ID           the same again: whole, or with ?stream=true&starting_after=N; POST …/cancel, DELETE
POST /v1beta/models/ID:streamGenerateContent   Gemini, as events with ?alt=sse, else as a JSON array piece by piece
POST /v1beta/models/ID:generateContent, ID:countTokens
GET  /v1/models[/ID]            Anthropic's shape with an anthropic-version header, else OpenAI's
GET  /v1beta/models[/ID]        Gemini's
POST /api/chat, /api/generate   Ollama's, streaming unless told otherwise
GET  /api/tags, /api/version    Ollama's models; POST /api/show tells of one
GET  /stats, /healthz, /        counters; whether it is up; this text
"""

_SWITCHES = """\
Switches are headers, or entries of the body's metadata with the same names in lower case (Gemini has no metadata):
  X-Sim-Fault        see below
  X-Sim-Seed         the same request with the same seed gives the same body, byte for byte
  X-Sim-Tokens       exact length of a text answer
  X-Sim-Ttft-Ms      exact time to the first token
  X-Sim-Interval-Ms  exact time between tokens (0: all at once)
  X-Sim-Group        exact number of tokens in one event (Anthropic and Gemini, which otherwise send several)
  X-Sim-Run          names a request, for faults that strike its first tries only
  X-Sim-Answer       an answer out of the ordinary, where the vendor has it:
"""

_WORDS = """\
Tools are called by words of the prompt alone: those that share one with a tool's name or description, several at once
if it joins things ("the weather in Oslo and Paris"). With "one after another" in it each call has a turn of its own,
until all are answered; with "garbled arguments" those of the first calls are no JSON, where they are sent as text.
"""


def about() -> str:
    """Routes, models, switches and faults; lines of up to 120 characters."""
    names = [f"{name} ({SNAPSHOTS[name]})" if name in SNAPSHOTS else name for name in PROFILES]
    answers = "".join(f"    {name:<15}  {what}\n" for name, what in ANSWERS.items())
    return "\n".join(
        [
            "The simulator of tokenwire: a provider's look-alike. Nobody thinks here, and any key is accepted.\n",
            _ROUTES,
            "Models, on every route:",
            *(f"  {name} " for name in names),
            f"\n{_SWITCHES}{answers}",
            _WORDS,
            f"Faults, on every route:\n\n{listing()}",
            handshake_listing(),
        ]
    )


def handshake_listing() -> str:
    """Faults of the handshake, which is over before a request could ask for one."""
    rows = "".join(f"  {name:<7}  {what}\n" for name, what in HANDSHAKE_FAULTS.items())
    return f"Faults of the TLS handshake, for a whole server, by --tls-fault:\n{rows}"
