"""DocVQA as published, and its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from skillopt.core.types import Split, Task
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options, Row, copied
from skillopt.tasks.benchmarks.docvqa.score import Judge, Scorer, golds_of
from skillopt.tasks.benchmarks.files import items, texts
from skillopt.tasks.harbor import SPLITS, TaskError

HOME = Home(
    url="https://huggingface.co/datasets/lmms-lab/DocVQA (now lmms-lab-encoder/DocVQA)",
    get="the Parquet files of config DocVQA, split validation (DocVQA/validation-*.parquet)",
    size="2.5 GB for 5,349 rows, of which 534 are used",
    terms="its card says Apache-2.0; the pages are from the UCSF Industry Documents Library",
)
PAGE = "page"
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


class DocVqaOptions(Options):
    """``tasks.options`` of DocVQA."""

    scorer: Scorer = "reference"
    """``public`` is lmms-eval's, which also counts a similarity of exactly 0.5."""


def read(download: Path) -> Iterator[Item]:
    """The rows of Parquet files, with the page as bytes; or those of the reference's CSV files,
    which name the page's file."""

    def item(row: Row) -> Item | None:
        golds = [gold for gold in golds_of(row.get("answers", row.get("answer"))) if gold.strip()]
        if not golds:
            return None
        id = str(row["questionId"])
        image = _image(row, download)
        return Item(
            id,
            {
                "question": str(row["question"]),
                "answers": golds,
                "types": texts(row.get("question_types")),
                "page": f"{row.get('ucsf_document_id', '')}/{row.get('ucsf_document_page_no', '')}",
                "file": PAGE + _suffix(image, id),
            },
            {PAGE + _suffix(image, id): image},
        )

    return items(download, ("questionId", "question"), item, (".parquet", ".csv"))


def _image(row: Mapping[str, Any], download: Path) -> bytes:
    image = row.get("image", row.get("image_path"))
    if isinstance(image, Mapping):
        image = image.get("bytes")
    if isinstance(image, str):
        root = download if download.is_dir() else download.parent
        found = next(iter(sorted(root.rglob(Path(image).name))), None)
        if found is None:
            raise TaskError(
                f"{download}: has no {Path(image).name} for question {row['questionId']}"
            )
        image = found.read_bytes()
    if not isinstance(image, bytes):
        raise TaskError(f"{download}: question {row['questionId']} has no image")
    return image


def _suffix(image: bytes, id: str) -> str:
    suffix = next((s for start, s in _SUFFIXES.items() if image.startswith(start)), None)
    if suffix is None:
        raise TaskError(f"question {id}: its page is neither PNG, JPEG, GIF nor WebP")
    return suffix


def notes(items: Mapping[Split, Sequence[Item]]) -> list[str]:
    """The pages that are in more than one split: a skill may have seen them in training."""
    pages = {s: {i.row["page"] for i in items[s] if i.row["page"] != "/"} for s in SPLITS}
    return [
        f"{len(shared)} page(s) are in both {one} and {other}, with different questions"
        for one, other in combinations(SPLITS, 2)
        if (shared := pages[one] & pages[other])
    ]


def task(item: Kept, options: DocVqaOptions) -> Task:
    """One question about the page, which lies in the workspace and is shown with the prompt."""
    row = item.row
    return Task(
        name=item.id,
        instruction=(
            f"The picture `{row['file']}` in the working directory is a page of a document. Answer "
            "the question from what can be read there, in its own words: the name, number, date "
            f"or phrase that is asked for. {TAGGED}\n\nQuestion: {row['question']}\n"
        ),
        digest="",
        family=row["types"][0] if row["types"] else "",
        question=True,
        pictures=(row["file"],),
        workspace=copied(item.files),
        agent_timeout_s=120.0,
        answers=tuple(row["answers"]),
        verify=Judge(tuple(row["answers"]), options.scorer),
    )


BENCHMARK = Benchmark(
    name="docvqa", title="DocVQA", home=HOME, read=read, task=task, options=DocVqaOptions,
    notes=notes,
)  # fmt: skip
