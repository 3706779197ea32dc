"""Structured output: a value of a type of yours that grows in the terminal while the model writes it.

    python main.py                                       # simulated, no key is needed
    python main.py openai/gpt-4o-mini "Pancakes for two"

What is not there yet is None; texts and lists grow. Text that cannot become a `Recipe` any more raises at that very
character, and the provider is told to stop.
"""

from __future__ import annotations

import sys

from pydantic import BaseModel, Field
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

import tokenwire

MODEL = sys.argv[1] if len(sys.argv) > 1 else "sim/gpt-4o"
DISH = sys.argv[2] if len(sys.argv) > 2 else "Bread for tomorrow's breakfast"


class Ingredient(BaseModel):
    name: str
    grams: int


class Recipe(BaseModel):
    title: str
    minutes: int = Field(description="From the start to the table.")
    ingredients: list[Ingredient]
    steps: list[str]


def drawn(recipe: Recipe | None) -> Panel:
    """The recipe, as far as it is known."""
    if recipe is None:
        return Panel("…")
    ingredients = Table.grid(padding=(0, 2))
    for each in recipe.ingredients or []:
        ingredients.add_row(each.name, f"{each.grams} g" if each.grams is not None else "…")
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(recipe.steps or [], 1))
    time = f"{recipe.minutes} minutes" if recipe.minutes is not None else "…"
    return Panel(Group(time, "", ingredients, "", steps), title=recipe.title or "…")


def main(model: str = MODEL, dish: str = DISH, console: Console | None = None) -> Recipe:
    with (
        tokenwire.stream(model, f"A recipe: {dish}", output=Recipe) as stream,
        Live(drawn(None), console=console, refresh_per_second=20) as screen,
    ):
        for recipe in stream.partial():
            screen.update(drawn(recipe))
    return stream.answer.value


if __name__ == "__main__":
    main()
