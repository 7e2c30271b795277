"""What a judge is shown: enough to decide, no more than there is room for, and nothing that tells
the skill."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from atif import Agent, Observation, ObservationResult, Step, ToolCall, Trajectory

from skillopt.core.skill import Layout, Skill
from skillopt.rollouts.judge import evidence as module
from skillopt.rollouts.judge.evidence import HIDDEN, evidence, without_mentions

RULES = "Amounts in parentheses are negative.\nIgnore leading zeros in all of the ids.\n"
SKILL = Skill("house-rules", "Rules.", RULES)


def worked(*calls: tuple[str, dict[str, Any], str], said: str = "") -> Trajectory:
    steps = [
        Step(
            step_id=number,
            source="agent",
            message="",
            tool_calls=[ToolCall(tool_call_id="1", function_name=name, arguments=arguments)],
            observation=Observation(
                results=[ObservationResult(source_call_id="1", content=result)]
            ),
        )
        for number, (name, arguments, result) in enumerate(calls, start=1)
    ]
    last = Step(step_id=len(steps) + 1, source="agent", message=said or "Done.")
    agent = Agent(name="a", version="1", model_name="m")
    return Trajectory(schema_version="ATIF-v1.8", session_id="s", agent=agent, steps=[*steps, last])


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    first, last = tmp_path / "first", tmp_path / "last"
    for folder in (first, last):
        (folder / "in").mkdir(parents=True)
        (folder / "same.txt").write_text("same")
        (folder / "in" / "gone.txt").write_text("x")
        (folder / "changed.txt").write_text("one\ntwo\nthree\n")
    (last / "in" / "gone.txt").unlink()
    (last / "changed.txt").write_text("one\n2\nthree\n")
    (last / "new.md").write_text("# New\n")
    (last / "picture.png").write_bytes(b"\x89PNG\0\0")
    (last / ".git").mkdir()
    (last / ".git" / "HEAD").write_text("ref")
    with zipfile.ZipFile(last / "book.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "x")
    return first, last


def test_changed_files_are_shown_with_what_changed(places: tuple[Path, Path]) -> None:
    shown = evidence("Done.", *places, None, None, 4000).value
    files = {file["path"]: file for file in shown["files"]}
    assert sorted(files) == ["book.xlsx", "changed.txt", "in/gone.txt", "new.md", "picture.png"]
    assert files["in/gone.txt"] == {"path": "in/gone.txt", "change": "removed"}
    assert files["new.md"]["content"] == "# New"
    assert "-two\n+2" in files["changed.txt"]["content"]
    assert files["picture.png"]["content"] == "binary, 6 bytes"
    assert "xl/workbook.xml" in files["book.xlsx"]["content"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tokens", [500, 2000, 16_000])
def test_it_stays_within_its_room(tokens: int, places: tuple[Path, Path]) -> None:
    for number in range(210):
        (places[1] / f"{number}.txt").write_text("word " * 500)
    calls = [("bash", {"command": "cat x"}, "result " * 1000)] * 60
    shown = evidence("answer " * 50_000, *places, worked(*calls), None, tokens)
    assert len(json.dumps(shown.value)) < 4 * tokens * 1.5 + 3000
    assert shown.value["final_answer"] and shown.value["files"] and shown.value["steps"]
    assert shown.value["files"][-1] == {"change": "further files are left out"}


def test_long_files_take_no_long_time(places: tuple[Path, Path]) -> None:
    for number, folder in enumerate(places):
        lines = (f"{(n * 7919 + number) % 20_011}" for n in range(5000))
        (folder / "long.txt").write_text("\n".join(lines))
        (folder / "path.txt").write_text("skills/" * 30_000 + "x" * number)
    shown = evidence("house-rules " * 20_000, *places, None, SKILL, 4000).value
    changes = {file.get("path"): file["change"] for file in shown["files"]}
    assert changes["long.txt"] == "changed, too long for a difference"
    assert changes["path.txt"] == "changed" and "house" not in shown["final_answer"]


def test_without_a_workspace_no_files_are_shown() -> None:
    shown = evidence("42", None, None, None, SKILL, 1000).value
    assert shown == {"final_answer": "42", "steps": []}


@pytest.mark.parametrize(
    "opening",
    [
        ("Skill", {"skill": "house-rules"}, "Launching skill: house-rules"),
        ("bash", {"command": "cat /home/agent/.codex/skills/house-rules/SKILL.md"}, SKILL.text),
        ("exec_command", {"cmd": "sed -n 1,200p '.agents/skills/house-rules/SKILL.md'"}, RULES),
        ("bash", {"command": "cat ~/.claude/skills/house-rules/references/more.md"}, "More."),
    ],
)
def test_the_opening_of_a_skill_is_not_shown(opening: tuple[str, dict[str, Any], str]) -> None:
    work = ("bash", {"command": "echo 1 > out.txt"}, "ok")
    answer = "By the skill house-rules."
    shown = evidence(answer, None, None, worked(opening, work), SKILL, 4000)
    text = json.dumps(shown.value)
    assert "house-rules" not in text and "SKILL.md" not in text and "parentheses" not in text
    assert [step["calls"][0]["call"] for step in shown.value["steps"] if step["calls"]] == [
        "called bash: echo 1 > out.txt"
    ]


def test_what_is_made_by_a_template_of_the_skill_is_shown(places: tuple[Path, Path]) -> None:
    (places[1] / "new.md").write_text(RULES)
    shown = evidence(RULES, *places, None, SKILL, 4000)
    assert shown.has("Ignore leading zeros") and RULES.strip() == shown.value["final_answer"]
    assert RULES.strip() in {file.get("content") for file in shown.value["files"]}


def test_a_run_without_a_skill_looks_the_same() -> None:
    work = ("bash", {"command": "echo 1 > out.txt"}, "ok")
    opened = ("bash", {"command": "cat .codex/skills/house-rules/SKILL.md"}, SKILL.text)
    with_skill = evidence("It is 1.", None, None, worked(opened, work), SKILL, 4000).value
    without = evidence("It is 1.", None, None, worked(work), None, 4000).value
    assert with_skill == without


@pytest.mark.parametrize(
    ("name", "text", "hidden"),
    [
        ("house-rules", "I used house-rules here.", True),
        ("house-rules", "I used House-Rules here.", True),
        ("house-rules", "the rules of the house", False),
        ("report", "I wrote the report.", False),
        ("report", "I used the skill report.", True),
        ("report", "I used the `report` skill.", True),
        ("report", "I used the skill 'report'.", True),
        ("report", "cat /home/agent/.claude/skills/report/SKILL.md", True),
        ("report", "the reports skill", False),
        ("report", "python .codex/skills/report/make.py", True),
    ],
)
def test_names_of_skills_are_hidden_and_words_are_not(name: str, text: str, hidden: bool) -> None:
    shown = without_mentions(Skill(name, "", ""))(text)
    assert (HIDDEN in shown) is hidden and (shown == text) is not hidden


def test_a_task_about_a_file_of_that_name_is_still_shown() -> None:
    wrote = ("bash", {"command": "cat > mine/SKILL.md <<'E'\nx\nE"}, "")
    shown = evidence("Done.", None, None, worked(wrote), SKILL, 4000).value
    assert "mine/SKILL.md" in json.dumps(shown["steps"])


def files_of(folder: Path, **named: Any) -> Any:
    """What is shown of files; each is its content before and after, None if it is not there."""
    first, last = folder / "first", folder / "last"
    for place, at in ((first, 0), (last, 1)):
        place.mkdir(exist_ok=True)
        for name, contents in named.items():
            if contents[at] is not None:
                content = contents[at]
                (place / name).write_bytes(
                    content if isinstance(content, bytes) else content.encode()
                )
    return evidence("", first, last, None, None, 4000).value["files"]


HUNK = "--- \n+++ \n@@ -2,4 +2,4 @@"


@pytest.mark.parametrize(
    ("before", "after", "change", "content"),
    [
        (None, "new\n", "added", "new"),
        (None, "", "added", None),
        ("old", None, "removed", None),
        ("a", "b", "changed", "--- \n+++ \n@@ -1 +1 @@\n-a\n+b"),
        ("a", b"\xff", "changed", "binary, 1 bytes"),
        (b"\0", "text", "changed", "text"),
        (None, b"a\0b", "added", "binary, 3 bytes"),
        ("0\n1\n2\n3\n4", "0\n1\n2\nx\n4", "changed", f"{HUNK}\n 1\n 2\n-3\n+x\n 4"),
    ],
)
def test_each_change_of_a_file(
    before: str | bytes | None,
    after: str | bytes | None,
    change: str,
    content: str | None,
    tmp_path: Path,
) -> None:
    (shown,) = files_of(tmp_path, it=(before, after))
    assert (shown["path"], shown["change"]) == ("it", change)
    assert shown.get("content") == content


def test_an_unchanged_file_is_not_shown_and_one_of_another_length_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 4)
    shown = files_of(tmp_path, same=("abcd", "abcd"), longer=("abcd", "abcdef"))
    assert [(file["path"], file["change"]) for file in shown] == [("longer", "changed")]


@pytest.mark.parametrize(("lines", "change"), [(3, "changed"), (4, "changed, too long")])
def test_the_difference_of_files_with_many_lines_is_not_computed(
    lines: int, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DIFF_LINES", 3)
    text = "\n".join("abcd"[:lines])
    (grown,) = files_of(tmp_path, it=("a", text))
    assert grown["change"].startswith(change) and (grown["change"] == "changed") is (lines == 3)
    (shrunk,) = files_of(tmp_path, it=(text, "x"))
    assert shrunk["change"] == grown["change"]


@pytest.mark.parametrize(("files", "shown"), [(3, 3), (4, 4), (5, 4)])
def test_so_many_files_are_shown(
    files: int, shown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    found = files_of(tmp_path, **{f"f{n}": (None, "x") for n in range(files)})
    names = [file.get("path", file["change"]) for file in found]
    assert names == [f"f{n}" for n in range(3)] + ["further files are left out"] * (files > 3)
    assert len(found) == shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("archive", "an archive of: a, b"),
        ("broken", "an archive of: (it cannot be read)"),
        ("large", "binary, "),
    ],
)
def test_of_an_archive_its_names_are_shown(
    content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "last").mkdir()
    file = tmp_path / "last" / "book.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in "abc":
            archive.writestr(name, "\0" * 10)
    monkeypatch.setattr(module, "_MOST_FILES", 2)
    if content == "large":
        monkeypatch.setattr(module, "_ARCHIVE_BYTES", file.stat().st_size - 1)
    elif content == "broken":
        data = bytearray(file.read_bytes())
        data[data.index(b"PK\x01\x02")] = 0
        file.write_bytes(data)
    else:
        monkeypatch.setattr(module, "_ARCHIVE_BYTES", file.stat().st_size)
    (shown,) = files_of(tmp_path)
    assert said in shown["content"] and ("archive" in shown["content"]) is (content != "large")
    assert shown["content"].startswith(f"binary, {file.stat().st_size} bytes")


def test_files_of_git_itself_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "last" / "a" / ".git").mkdir(parents=True)
    (tmp_path / "last" / "a" / ".git" / "x").write_text("x")
    (tmp_path / "last" / "a" / ".gitignore").write_text("x")
    (tmp_path / "last" / "link").symlink_to("a")
    assert [file["path"] for file in files_of(tmp_path)] == ["a/.gitignore"]


def test_the_room_is_shared_between_answer_files_and_steps(tmp_path: Path) -> None:
    long = "word " * 2000
    calls = [("bash", {"command": "x"}, long)] * 12
    (tmp_path / "last").mkdir()
    for number in range(12):
        (tmp_path / "last" / f"f{number}").write_text(long)
    for answer, tokens in ((long, 2000), ("short", 2000)):
        value = evidence(answer, None, tmp_path / "last", worked(*calls), None, tokens).value
        room = 4 * tokens
        sizes = {name: len("".join(module._leaves(value[name]))) for name in value}
        if answer == long:
            assert 0.2 * room < sizes["final_answer"] <= 0.26 * room
        assert 0.4 * room < sizes["files"] <= 0.52 * room
        left = room - sizes["final_answer"] - sizes["files"]
        assert 0.4 * left < sizes["steps"] <= left + 400
        assert all(len(file.get("content", "")) <= room * 0.13 + 1100 for file in value["files"])


def test_steps_are_numbered_without_those_that_opened_a_skill() -> None:
    opened = ("bash", {"command": "cat .codex/skills/house-rules/SKILL.md"}, SKILL.text)
    work = ("bash", {"command": "echo 1"}, "ok")
    shown = evidence("", None, None, worked(opened, work, said="All done."), SKILL, 4000).value
    assert shown["steps"] == [
        {
            "step": "step 1",
            "said": "",
            "calls": [{"call": "called bash: echo 1", "result": "got: ok"}],
        },
        {"step": "step 2", "said": "All done.", "calls": []},
    ]


@pytest.mark.parametrize(
    ("name", "folder", "text"),
    [
        ("house", "house-rules", "I used {}."),
        ("house", "house-rules", "I used the skill {}."),
        ("house-rules", "house", "I used the skill {}."),
        ("house-rules-2", "house-rules", "See {}, and {}."),
        ("house-rules", "house-rules-2", "See {}, and {}."),
    ],
)
def test_the_longer_of_two_names_is_hidden_first(name: str, folder: str, text: str) -> None:
    skill, longer = Skill(name, "", "", layout=Layout(folder=folder)), max(name, folder, key=len)
    told = text.replace("{}", longer)
    assert without_mentions(skill)(told) == text.replace("{}", HIDDEN)


@pytest.mark.parametrize(("files", "left_out"), [(200, False), (201, True)])
def test_no_more_than_two_hundred_files_are_shown(
    files: int, left_out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_names", lambda root: {f"{n:03}": tmp_path for n in range(files)})
    monkeypatch.setattr(module, "_change", lambda before, after: ("removed", ""))
    found = evidence("", tmp_path, tmp_path, None, None, 16_000).value["files"]
    assert len([file for file in found if "path" in file]) == 200
    assert (found[-1] == {"change": "further files are left out"}) is left_out


@pytest.mark.parametrize(("size", "shown"), [(1_000_000, "changed"), (1_000_001, "")])
def test_of_files_that_differ_the_first_million_bytes_are_read(
    size: int, shown: str, tmp_path: Path
) -> None:
    same = b"x" * (size - 1)
    found = files_of(tmp_path, it=(same + b"1", same + b"2"))
    assert [file["change"] for file in found] == ([shown] if shown else [])


def test_words_have_the_room_that_calls_would_have() -> None:
    said = "word " * 400
    (shown,) = evidence("", None, None, worked(said=said), None, 1600).value["steps"]
    room = 4 * 1600 * module._PER_STEP
    assert 0.9 * room < len(shown["said"]) <= room + 80
    call = ("bash", {"command": "echo " + "x " * 2000}, "y " * 2000)
    (first, _) = evidence("", None, None, worked(call), None, 1600).value["steps"]
    ((one,)) = first["calls"]
    assert 0.2 * room < len(one["call"]) <= 0.25 * room + 80
    assert 0.2 * room < len(one["result"]) <= 0.25 * room + 80


def test_a_step_is_shown_while_there_is_room_for_it() -> None:
    calls = [("bash", {"command": f"echo {n}"}, "y" * 900) for n in range(6)]
    found = evidence("", None, None, worked(*calls), None, 125).value["steps"]
    numbers = [step["step"] for step in found]
    assert numbers == sorted(numbers) and numbers[-1] == "step 7" and 1 < len(numbers) < 7
    assert evidence("", None, None, worked(*calls), None, 49).value["steps"] == []
    assert len(evidence("", None, None, worked(*calls), None, 50).value["steps"]) > 0
