"""``/api/chat`` requests in the common vocabulary: what of a prompt Ollama can be asked, and both directions."""

from __future__ import annotations

from typing import Final

from tokenwire.dialects.ollama.prompt_read import read
from tokenwire.dialects.ollama.prompt_write import write
from tokenwire.dialects.prompt.fit import Feature, Prompts, Verdict, changed, dropped, refused

__all__ = ["HARMLESS", "PROMPTS", "TABLE"]

TABLE: Final[dict[Feature, Verdict]] = {
    "turn name": dropped("its turns have no names"),
    "image url": refused("it takes pictures as data"),
    "image file id": refused("it takes pictures as data"),
    "image detail": dropped("every model has its own"),
    "file data": refused("it takes no files but pictures"),
    "file url": refused("it takes no files but pictures"),
    "file id": refused("it takes no files but pictures"),
    "audio data": refused("it takes no sound"),
    "audio url": refused("it takes no sound"),
    "video data": refused("it takes no films"),
    "video url": refused("it takes no films"),
    "call signature": dropped("only whoever made it can use it"),
    "failed result": changed("it has no mark for that, so its text begins with 'Error: '"),
    "refusal": changed("it has no word for that, so it is text"),
    "own thought": Verdict("carried", "as thinking"),
    "foreign thought": changed("it becomes thinking, without its signature; one that is redacted is left out"),
    "foreign part": refused("only the dialect that it came in knows it"),
    "strict tools": dropped("its models are not held to the schemas of tools"),
    "tool choice none": changed("it has no word for that, so the tools are left out"),
    "tool choice required": refused("its models choose for themselves"),
    "tool choice named": refused("its models choose for themselves"),
    "tool choice several": refused("its models choose for themselves"),
    "one tool at a time": refused("its models call as many tools as they like"),
    "several answers": refused("it gives one answer"),
    "effort": Verdict("carried", "as think: low, medium or high, whichever is nearest"),
    "thinking budget": changed("it has no numbers for that: the model thinks as much as it likes"),
    "no thinking": Verdict("carried", "as think: false"),
    "show thinking": Verdict("carried", "as think, if nothing else is said of thinking: it is always told"),
    "user": dropped("it keeps no accounts"),
    "metadata": dropped("it keeps no answers"),
    "service tier": dropped("it has none"),
}

#: What does not touch the answer: how the server loads and runs the model, and what it does with a prompt that is too
#: long. Of the samplers, those that do nothing where the one that they belong to is off.
HARMLESS: Final = frozenset({
    "keep_alive", "truncate", "shift", "debug_render_only",
    *(f"options.{name}" for name in (
        "numa", "num_ctx", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all", "vocab_only",
        "use_mmap", "use_mlock", "embedding_only", "num_thread", "num_keep", "repeat_last_n", "mirostat_tau",
        "mirostat_eta", "penalize_newline",
    )),
})  # fmt: skip

PROMPTS: Final = Prompts(read, write, TABLE, HARMLESS)
