"""OfficeQA as published, and its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from skillopt.core.types import Split, Task
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options, Row
from skillopt.tasks.benchmarks.files import items
from skillopt.tasks.benchmarks.officeqa.pages import listed, pages, shown
from skillopt.tasks.benchmarks.officeqa.score import Judge, Scorer
from skillopt.tasks.harbor import SPLITS, TaskError

HOME = Home(
    url="https://huggingface.co/datasets/databricks/officeqa",
    get="officeqa_full.csv, with treasury_bulletins_parsed/transformed/*.txt (the corpus) and, for "
    "the pages in the prompt, treasury_bulletins_parsed/jsons/*.json",
    size="0.5 MB for 246 rows, 460 MB for the corpus, 730 MB for the JSON files",
    terms="gated: Hugging Face asks for an account and for consent. Data CC BY-SA 4.0, code Apache "
    "2.0. The gate forbids to use the answer keys to train models that are evaluated on OfficeQA",
    confirm="OfficeQA's gate forbids to use its answer keys to train models that are evaluated on "
    "OfficeQA. Training a skill leaves the model as it is, but uses the answers of the train and "
    "val splits. Whether that is within the terms that you have accepted is for you to judge.",
)
CORPUS = "/corpus"
"""The folder of the bulletins in a sandbox."""
Setting = Literal["corpus", "hint", "oracle"]


class OfficeQaOptions(Options):
    """``tasks.options`` of OfficeQA."""

    setting: Setting = "corpus"
    """What is given: the whole corpus, the names of the bulletins with the answer as well, or the
    very pages in the prompt."""
    search: bool = False
    """Whether the corpus can be searched in the setting ``oracle`` too, as in the reference."""
    scorer: Scorer = "public"
    """Whose verdict counts; both are reported as metrics."""
    tolerance: float = Field(0.0, ge=0, le=1)
    """Of the scorer ``public``, the largest relative error of a number; its authors report at 0,
    0.001, 0.01 and 0.05."""
    timeout_s: float = Field(180.0, gt=0)
    """Seconds for a task; those of one call of an agent in the reference."""

    @property
    def searches(self) -> bool:
        """Whether the corpus is given."""
        return self.search or self.setting != "oracle"


def read(download: Path) -> Iterator[Item]:
    """The rows of ``officeqa_full.csv``, with their pages if the parsed JSON files are there."""
    root = download if download.is_dir() else download.parent
    parsed = {file.stem: file for file in root.rglob("jsons/*.json")}

    def item(row: Row) -> Item | None:
        files, docs = listed(row["source_files"]), listed(row.get("source_docs"))
        if not (answer := row["answer"].strip()):
            return None
        return Item(
            row["uid"].strip(),
            {
                "question": row["question"].strip(),
                "answer": answer,
                "difficulty": (row.get("difficulty") or "").strip(),
                "files": files,
                "docs": docs,
                "pages": [*pages(files, docs, parsed)] if parsed else None,
            },
        )

    return items(download, ("uid", "question", "answer", "source_files"), item, (".csv",))


def shared(download: Path) -> Mapping[str, Path]:
    """The folder of the bulletins as text."""
    root = download if download.is_dir() else download.parent
    found = [folder for folder in root.rglob("transformed") if any(folder.glob("*.txt"))]
    return {"corpus": found[0]} if found else {}


def notes(items: Mapping[Split, Sequence[Item]]) -> list[str]:
    """Whether pages are there for the setting ``oracle``."""
    rows = [item.row for split in SPLITS for item in items[split]]
    if all(row["pages"] is None for row in rows):
        return ["without treasury_bulletins_parsed/jsons there is no setting 'oracle'"]
    without = sum(not row["pages"] for row in rows)
    return [f"{without} item(s) have no page in the JSON files"] if without else []


def task(item: Kept, options: OfficeQaOptions) -> Task:
    """One question. Agents, and direct chat with a shell, can read the corpus in a folder."""
    row = item.row
    corpus = (item.shared / "corpus").resolve()
    if options.searches and not corpus.is_dir():
        raise TaskError(_lacks(options, item, "treasury_bulletins_parsed/transformed"))
    if options.setting == "oracle" and row["pages"] is None:
        raise TaskError(_lacks(options, item, "treasury_bulletins_parsed/jsons"))
    return Task(
        name=item.id,
        instruction=_instruction(item, options),
        digest="",
        family=row["difficulty"],
        question=not options.searches,
        workspace=_nothing if options.searches else None,
        folders={CORPUS: corpus} if options.searches else {},
        agent_timeout_s=options.timeout_s,
        answers=(row["answer"],),
        verify=Judge(row["answer"], options.scorer, options.tolerance),
    )


def _lacks(options: OfficeQaOptions, item: Kept, what: str) -> str:
    return (
        f"tasks.options: setting {options.setting}, search {str(options.search).lower()}: "
        f"{item.shared.parent} was prepared without {what}; download that too, and prepare it again"
    )


def _nothing(target: Path) -> None:
    """The first workspace, which is empty."""


def _instruction(item: Kept, options: OfficeQaOptions) -> str:
    row = item.row
    parts = [
        "Answer the question from the issues of the U.S. Treasury Bulletin. Take the exact figures "
        f"from their tables before you calculate, and note their units. {TAGGED}",
        f"Question: {row['question']}",
    ]
    if options.searches:
        parts.append(
            f"The folder `{CORPUS}` has the issues as text, a file for each, named by year and "
            "month: `treasury_bulletin_1941_01.txt`. It can be searched with shell commands, and "
            "nothing in it can be changed."
        )
    if options.setting != "corpus":
        named = row["files"] if options.setting == "hint" else [*row["files"], *row["docs"]]
        parts.append("\n".join(["The answer is taken from:", *(f"- {name}" for name in named)]))
    if options.setting == "oracle" and (found := shown(row["pages"])):
        parts.append(f"The pages with the answer, as they were parsed:\n\n{found}")
    return "\n\n".join(parts) + "\n"


BENCHMARK = Benchmark(
    name="officeqa",
    title="OfficeQA",
    home=HOME,
    read=read,
    task=task,
    options=OfficeQaOptions,
    shared=shared,
    notes=notes,
)
