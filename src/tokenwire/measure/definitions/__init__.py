"""The same requests as others would measure them: vLLM bench, GuideLLM, AIPerf, inference-perf and LLMPerf beside ours.

Tools give one name to different figures (ITL is five things) and different names to one. Each module here holds what
one tool computes, under that tool's own names and in its units, with its percentiles, read from its source: the
docstring says which file and commit. What a tool only knows of its own run (its tokenizer, its schedule, its window) is
left out, and the docstring says that too. All of them look at chat completions; of another dialect they tell what they
would of the same answer as chat completions.
"""

from __future__ import annotations

from typing import Final

from tokenwire.measure.definitions.aiperf import AIPERF
from tokenwire.measure.definitions.guidellm import GUIDELLM
from tokenwire.measure.definitions.inference_perf import INFERENCE_PERF
from tokenwire.measure.definitions.llmperf import LLMPERF
from tokenwire.measure.definitions.ours import OURS
from tokenwire.measure.definitions.report import COUNTS, Definition, Figures, Report, Summary
from tokenwire.measure.definitions.vllm_bench import VLLM_BENCH

__all__ = ["COUNTS", "DEFINITIONS", "Definition", "Figures", "Report", "Summary"]

#: By name, ours first.
DEFINITIONS: Final[dict[str, Definition]] = {
    each.name: each for each in (OURS, VLLM_BENCH, GUIDELLM, AIPERF, INFERENCE_PERF, LLMPERF)
}
