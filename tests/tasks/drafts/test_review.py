"""A person's decisions on drafts: what each writes, and what it takes away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.files import to_json
from skillopt.tasks.drafts.drafts import (
    Draft,
    Source,
    Status,
    Trigger,
    read_draft,
    write_draft,
)
from skillopt.tasks.drafts.review import check, decide
from skillopt.tasks.harbor import TaskError, read_task

SOURCE = Source(agent="codex", session="s", turn="s:1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drafts.json").write_text(to_json({"format": 1}))
    (tmp_path / "workspaces" / "w" / "sub").mkdir(parents=True)
    (tmp_path / "workspaces" / "w" / "data.csv").write_text("a\n")
    (tmp_path / "workspaces" / "w" / "sub" / "b").write_text("b\n")
    return tmp_path


def query(text: str, skill: str = "rules", opens: bool = True) -> Trigger:
    return Trigger(skill=skill, query=text, should_trigger=opens)


def drafted(folder: Path, name: str = "d", **values: Any) -> Draft:
    given: dict[str, Any] = {"name": name, "instruction": "Do it.", "source": SOURCE, **values}
    draft = Draft(**given)
    write_draft(draft, folder)
    return draft


def queries(folder: Path) -> dict[str, Any]:
    found = sorted((folder / "accepted" / "triggers").glob("*/evals/trigger-queries.json"))
    return {file.parent.parent.name: json.loads(file.read_text()) for file in found}


@pytest.mark.parametrize(
    ("values", "task", "asks"),
    [
        ({"expectations": ("It is so.",)}, True, False),
        ({"checks": ("test -e a",)}, True, False),
        ({"trigger": query("Do it.")}, False, True),
        ({"trigger": query("Do it."), "checks": ("true",)}, True, True),
    ],
)
def test_an_accepted_draft_is_what_it_says(
    values: dict[str, Any], task: bool, asks: bool, folder: Path
) -> None:
    draft = drafted(folder, **values)
    found = decide(folder, "d", "accepted")
    assert found == draft.model_copy(update={"status": "accepted"}) == read_draft(folder / "d")
    place = folder / "accepted" / "tasks" / "d"
    assert place.is_dir() is task and bool(queries(folder)) is asks
    statuses: tuple[Status, ...] = ("later", "rejected", "draft")
    for status in statuses:
        decide(folder, "d", "accepted")
        decide(folder, "d", status)
        assert read_draft(folder / "d").status == status
        assert not place.exists() and queries(folder) == {}


def test_a_task_that_has_nothing_to_check_any_more_goes(folder: Path) -> None:
    drafted(folder, checks=("true",), trigger=query("Do it."))
    decide(folder, "d", "accepted")
    drafted(folder, trigger=query("Do it."))
    decide(folder, "d", "accepted")
    assert not (folder / "accepted" / "tasks" / "d").exists() and queries(folder)


def test_a_draft_that_cannot_be_a_task_may_be_rejected(folder: Path) -> None:
    drafted(folder)
    with pytest.raises(TaskError, match="nothing says what a right result is"):
        decide(folder, "d", "accepted")
    assert decide(folder, "d", "rejected").status == "rejected"
    assert not (folder / "accepted" / "tasks").exists()


def test_a_task_has_the_files_and_checks_of_its_draft(folder: Path) -> None:
    checks = ("test -e data.csv", "test -e b")
    drafted(folder, expectations=("It is so.",), checks=checks, workspace="w")
    left = folder / "accepted" / "tasks" / ".d.new"
    left.mkdir(parents=True)
    (left / "old").touch()
    decide(folder, "d", "accepted")
    place = folder / "accepted" / "tasks" / "d"
    files = place / "environment" / "files"
    assert (files / "data.csv").read_text() == "a\n" and (files / "sub" / "b").read_text() == "b\n"
    task = read_task(place)
    assert (task.name, task.instruction, task.family) == ("d", "Do it.", "codex")
    assert task.expectations == ("It is so.",)
    given = json.loads((place / "tests" / "checks.json").read_text())["checks"]
    assert [(one["command"], one["label"]) for one in given] == [(one, one) for one in checks]
    assert [one.name for one in place.parent.iterdir()] == ["d"] and not (place / "old").exists()
    drafted(folder, checks=("true",), trigger=query("Do it."))
    decide(folder, "d", "accepted")
    assert read_task(place).family == "rules" and not (files / "data.csv").exists()


def test_queries_are_those_of_the_accepted_drafts_by_skill(folder: Path) -> None:
    drafted(folder, "a", trigger=query("\u00fcber", opens=False))
    drafted(folder, "b", trigger=query("two"), status="later")
    drafted(folder, "c", trigger=query("three"), status="accepted")
    drafted(folder, "d", trigger=query("four", "other"), status="accepted")
    drafted(folder, "e", checks=("true",), status="accepted")
    gone = folder / "accepted" / "triggers" / "gone" / "evals" / "trigger-queries.json"
    gone.parent.mkdir(parents=True)
    gone.write_text("[]")
    decide(folder, "a", "accepted")
    rules = [{"query": "\u00fcber", "should_trigger": False},
             {"query": "three", "should_trigger": True}]  # fmt: skip
    assert queries(folder) == {"rules": rules, "other": [{"query": "four", "should_trigger": True}]}
    file = folder / "accepted" / "triggers" / "rules" / "evals" / "trigger-queries.json"
    text = file.read_text("utf-8")
    assert text == json.dumps(rules, indent=2, ensure_ascii=False) + "\n"
    assert not gone.exists()
    decide(folder, "d", "rejected")
    assert queries(folder) == {"rules": rules}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"checks": ("true",)}, ""),
        ({"trigger": query("q")}, ""),
        ({"expectations": ("so",), "workspace": "w"}, ""),
        ({}, "nothing says what a right result is"),
        ({"instruction": "\n", "checks": ("true",)}, "instruction: is empty"),
        ({"expectations": ("so", " ")}, "expectations: one of them is empty"),
        ({"checks": ("true", "")}, "checks: one of them is empty"),
        ({"checks": ("true", "a\0")}, "checks: has a zero byte"),
        ({"instruction": "a\0", "checks": ("true",)}, "instruction: has a zero byte"),
        ({"trigger": query(" ")}, r"trigger\.query: is empty"),
        ({"trigger": query("q", "../x")}, r"trigger\.skill: '\.\./x' is no name of a skill"),
        ({"checks": ("true",), "workspace": "."}, "must be the name of a folder in"),
        ({"checks": ("true",), "workspace": "w/sub"}, "must be the name of a folder in"),
        ({"checks": ("true",), "workspace": "../w"}, "must be the name of a folder in"),
        ({"checks": ("true",), "workspace": "none"}, "workspaces/none is not there; leave it"),
    ],
)
def test_what_no_task_can_be_is_said(values: dict[str, Any], said: str, folder: Path) -> None:
    draft = Draft(**{"name": "d", "instruction": "Do it.", "source": SOURCE, **values})
    if not said:
        check(draft, folder)
        return
    with pytest.raises(TaskError, match=said) as raised:
        check(draft, folder)
    assert str(raised.value).startswith(f"{folder / 'd' / 'draft.yaml'}: ")
