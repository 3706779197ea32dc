"""Several models side by side: the same question, at the same time, each with its times and its price.

    python main.py                                                        # simulated, no key is needed
    python main.py openai/gpt-4o-mini anthropic/claude-haiku-4-5          # with the keys of your environment
    PROMPT="Why is the sky blue?" python main.py groq/llama-3.1-8b-instant

A model that fails has its error in its row, and the others go on. Ctrl-C stops all of them, at the providers too.
"""

from __future__ import annotations

import asyncio
import os
import sys

from rich.console import Console
from rich.live import Live
from rich.table import Table

import tokenwire
from tokenwire import Stream
from tokenwire.errors import TokenwireError

MODELS = ("sim/gpt-4o", "sim/gpt-4o-mini", "sim/claude-sonnet-4-6", "sim/gemini-2.0-flash")
PROMPT = os.environ.get("PROMPT", "Tell me of the sea.")


class Run:
    """One model's answer, as far as it came."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.stream: Stream[object] = tokenwire.stream(model, PROMPT, max_tokens=100)
        self.state = "waits"

    async def read(self) -> None:
        try:
            async with self.stream:
                async for _ in self.stream.text_stream:
                    self.state = "writes"
            self.state = "done"
        except TokenwireError as error:
            self.state = f"[red]{type(error).__name__}[/]"

    def row(self) -> list[str]:
        usage, timing, cost = self.stream.usage, self.stream.timing, self.stream.cost_usd
        pace = timing.tpot_ms(usage.output if usage else None)
        return [
            self.model,
            self.state,
            f"{timing.ttft_ms:.0f} ms" if timing.ttft_ms is not None else "",
            f"{1000 / pace:.0f}" if pace else "",
            f"{'~' if usage.estimated else ''}{usage.output}" if usage else "",
            f"${cost:.6f}" if cost is not None else "–",
            " ".join(self.stream.answer.text.split())[-20:],
        ]


def table(runs: list[Run]) -> Table:
    drawn = Table(title=PROMPT, expand=True)
    for name in ("model", "state", "TTFT", "tokens/s", "tokens", "cost"):
        drawn.add_column(name, no_wrap=True)
    drawn.add_column("… text", no_wrap=True, style="dim", ratio=1)
    for run in runs:
        drawn.add_row(*run.row())
    return drawn


async def main(models: tuple[str, ...] = MODELS, console: Console | None = None) -> None:
    runs = [Run(model) for model in models]
    with Live(get_renderable=lambda: table(runs), console=console, refresh_per_second=10):
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(run.read())


if __name__ == "__main__":
    asyncio.run(main(tuple(sys.argv[1:]) or MODELS))
