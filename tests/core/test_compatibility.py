"""The script behind docs/compatibility.md counts what it is given, and writes its part alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.compatibility import main, measure, skills
from benchmarks.sources import Source
from benchmarks.task_sets import base_images, counted, read, task_folders, tasks
from skillopt.core.types import Task
from tests.helpers.public_style import TASKS, write_task

ROOT = Path(__file__).parents[2]
PLAIN = ROOT / "tests" / "helpers" / "plain_skills"


def a_folder(tmp_path: Path) -> Path:
    for name, text in {
        "good": "---\nname: good\ndescription: 'd' # why\n---\n# A\n\n- one\n- two\n",
        "broken": "---\nname: two: three\n---\n",
    }.items():
        (tmp_path / "skills" / name).mkdir(parents=True)
        (tmp_path / "skills" / name / "SKILL.md").write_text(text)
    return tmp_path / "skills"


def test_one_skill_is_read_edited_packaged_deployed_and_undone(tmp_path: Path) -> None:
    found = measure(a_folder(tmp_path) / "good")
    counts = found.counts
    assert all(counts[name] == 1 for name in ("found", "read", "identical", "packaged", "undone"))
    assert counts["append applied"] == 2 and counts["replace applied"] == 2
    assert not found.reasons and not any("touched" in name for name in +counts)


def test_what_is_refused_has_its_reason(tmp_path: Path) -> None:
    text = skills([Source("a", "1", a_folder(tmp_path)), Source("b", "2", PLAIN)], 1)
    assert "| a | 1 | 2 | 1 | 1 |" in text and "| b | 2 | 6 | 6 | 6 |" in text
    assert "| **hand-made** |  | 8 | 7 | 7 |" in text
    assert "not read: " in text and "not loaded: codex" in text


def test_only_its_part_of_the_document_is_written(tmp_path: Path) -> None:
    document = tmp_path / "compatibility.md"
    document.write_text("before\n<!-- skills: begin -->\nold\n<!-- skills: end -->\nafter\n")
    main(["skills", f"mine@abc={a_folder(tmp_path)}", "--write", str(document), "--workers", "1"])
    text = document.read_text()
    assert text.startswith("before\n<!-- skills: begin -->\n| source |")
    assert text.endswith("\n<!-- skills: end -->\nafter\n") and "old" not in text


def test_tasks_are_accepted_or_refused_with_the_reason(tmp_path: Path) -> None:
    for name in TASKS:
        write_task(tmp_path / "a set", name)
    (tmp_path / "a set" / "root-by-key" / "instruction.md").unlink()
    found = [read(path) for path in task_folders(tmp_path)]
    total = sum((counted(one).counts for one in found), Counter[str]())
    assert total["found"] == 10 and total["accepted"] == 9
    assert total["root"] == 3 and total["container"] == 1 and total["hosts"] == 2
    (reason,) = [one for one in found if isinstance(one, str)]
    assert reason == "instruction.md: missing"


def test_the_images_that_a_task_is_made_of(tmp_path: Path) -> None:
    folder = write_task(tmp_path, "root-by-key")
    (folder / "environment" / "Dockerfile").write_text(
        "FROM --platform=linux/amd64 a/b:1 AS made\nRUN x\nFROM made\nFROM scratch\nfrom c\n"
    )
    task = read(folder)
    assert isinstance(task, Task) and base_images(task) == ["a/b:1", "c"]


@pytest.mark.engine
def test_tasks_without_their_image_are_counted_and_not_tried(tmp_path: Path) -> None:
    write_task(tmp_path, "a-service-in-the-container")
    gone = write_task(tmp_path, "compose-with-main")
    (gone / "environment" / "Dockerfile").write_text("FROM localhost:9/x:1\nWORKDIR /app\n")
    head, _, row, *_ = tasks([Source("own", "abc", tmp_path)], 1).splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["accepted"] == "2" and cells["base image out of reach"] == "1"
    assert cells["tried"] == "1" and cells["solved by the solution |"] == "1 |"
