"""No agent gets the eval files that score its skill, wherever they are in the skill's folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.skill import read_skill
from skillopt.evaluation.evaluate import evaluate
from skillopt.tasks.evals.hiding import without_evals
from skillopt.tasks.evals.reading import eval_files

SUITE = json.dumps(
    {
        "skill_name": "s",
        "evals": [
            {
                "id": number,
                "prompt": "Do it.",
                "expected_output": "4711",
                "assertions": [{"type": "file_exists", "path": f"out-{number}.txt"}],
            }
            for number in range(2)
        ],
    }
)


def skill(folder: Path, evals: str) -> Path:
    for name, text in {
        "SKILL.md": "---\nname: s\ndescription: Do it.\n---\n# S\n",
        "scripts/evals.py": "print(1)\n",
        evals: SUITE,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("evals", "extra", "left"),
    [
        ("evals/evals.json", "evals/files/in.txt", set()),
        ("evals.json", "files/in.txt", {"files/in.txt"}),
        ("evals/mine/evals.json", "evals/mine/in.txt", {"evals/mine/in.txt"}),
    ],
)
def test_eval_files_are_left_out(tmp_path: Path, evals: str, extra: str, left: set[str]) -> None:
    folder = skill(tmp_path / "s", evals)
    (folder / extra).parent.mkdir(parents=True, exist_ok=True)
    (folder / extra).write_text("in")
    read = read_skill(folder)
    shown = without_evals(read, [folder / evals])
    assert shown.files.keys() == {"scripts/evals.py", *left}
    assert shown.text == read.text


def test_a_skill_without_them_stays_itself(tmp_path: Path) -> None:
    read = read_skill(skill(tmp_path / "s", "evals/evals.json"))
    assert without_evals(read, []) is read
    other = skill(tmp_path / "other", "evals/evals.json") / "evals/evals.json"
    other.write_text(SUITE.replace("4711", "42"))
    assert without_evals(read, [other]) is read


def test_links_to_what_is_left_out_go_with_it(tmp_path: Path) -> None:
    folder = skill(tmp_path / "s", "evals/evals.json")
    read = read_skill(folder)
    links = {"evals/own": "../SKILL.md", "other": "scripts/evals.py", "evals.txt": "other"}
    linked = replace(read, layout=replace(read.layout, links=links, folder="s2"))
    shown = without_evals(linked, [folder / "evals/evals.json"])
    assert shown.layout.links == {"other": "scripts/evals.py", "evals.txt": "other"}
    assert shown.layout.folder == "s2" and {*shown.files} == {"scripts/evals.py"}
    # Other files of tasks, one of which is as long as a file of the skill.
    rows, same = tmp_path / "rows.jsonl", tmp_path / "same"
    rows.write_text("{}")
    same.write_text("print(2)\n")
    assert without_evals(linked, [rows, same]) is linked
    same.write_text("print(1)\n")
    assert {*without_evals(linked, [rows, same]).files} == {"evals/evals.json"}


@pytest.mark.slow
def test_what_is_mounted_has_none(tmp_path: Path) -> None:
    folder = skill(tmp_path / "s", "evals/evals.json")
    config = load_config(
        write_config(tmp_path, folder), Config, {"runs": str(tmp_path / "runs"), "patience": 1}
    )
    assert eval_files(str(folder))
    evaluate(config, {"s": read_skill(folder)}, split="val")
    (mounted,) = (tmp_path / "runs/store/skills").glob("*/s")
    found = {path.relative_to(mounted).as_posix() for path in mounted.rglob("*") if path.is_file()}
    assert found == {"SKILL.md", "scripts/evals.py"}


def write_config(folder: Path, source: Path) -> Path:
    file = folder / "s.yaml"
    file.write_text(
        f"name: s\ntasks: {{source: {source}, split: [1, 1, 0]}}\nskill: {{init: {source}}}\n"
        "harness: {name: direct}\nsandbox: {kind: local}\n"
        "target: {upstream: sim, name: sim-1}\noptimizer: {upstream: sim, name: sim-1}\n"
        "upstreams: {sim: {kind: sim}}\n"
    )
    return file
