"""SearchQA as published, and its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from skillopt.core.types import Task
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options, Row
from skillopt.tasks.benchmarks.files import items, texts
from skillopt.tasks.benchmarks.searchqa.score import Judge, Scorer

HOME = Home(
    url="https://huggingface.co/datasets/lucadiliello/searchqa",
    get="the Parquet files of all splits (data/*.parquet)",
    size="about 1 GB for 134,364 rows, of which 2,000 are used",
    terms="no licence is stated there; SearchQA's own page asks for citation of Dunn et al. 2017",
)
CONTEXT_CHARS = 6000
"""Characters of the snippets that the reference shows."""


class SearchQaOptions(Options):
    """``tasks.options`` of SearchQA."""

    context_chars: int | None = Field(CONTEXT_CHARS, ge=1)
    """Characters of the snippets that the prompt shows, as in the reference; null for all."""
    scorer: Scorer = "reference"
    """``public`` is MRQA's official evaluation."""


def read(download: Path) -> Iterator[Item]:
    """The rows of Parquet, JSON or JSON lines files: ``key``, ``question``, ``context``,
    ``answers``. The reference's own files name the key ``id``."""
    return items(download, ("question", "context", "answers"), _item)


def _item(row: Row) -> Item | None:
    golds = texts(row["answers"])
    kept = {"question": str(row["question"]), "context": str(row["context"]), "answers": golds}
    return Item(str(row["key"] if "key" in row else row["id"]), kept) if golds else None


def cut(context: str, chars: int | None) -> str:
    """A context up to a number of characters, at the borders of its snippets. A longer first
    snippet is cut hard, as in the reference."""
    if chars is None or len(context) <= chars:
        return context
    kept = ""
    for number, snippet in enumerate(context.split("[DOC]")):
        piece = snippet if number == 0 else f"[DOC]{snippet}"
        if len(kept) + len(piece) > chars:
            break
        kept += piece
    return kept.rstrip() if kept.strip() else context[:chars]


def task(item: Kept, options: SearchQaOptions) -> Task:
    """One call with the question and the snippets."""
    row = item.row
    return Task(
        name=item.id,
        instruction=(
            "Answer the question from the search results. The answer is short: a name, a number "
            f"or a few words. {TAGGED}\n\n"
            f"Question: {row['question']}\n\n"
            f"Search results:\n{cut(row['context'], options.context_chars)}\n"
        ),
        digest="",
        question=True,
        agent_timeout_s=120.0,
        answers=tuple(row["answers"]),
        verify=Judge(tuple(row["answers"]), options.scorer),
    )


BENCHMARK = Benchmark(
    name="searchqa", title="SearchQA", home=HOME, read=read, task=task, options=SearchQaOptions
)
