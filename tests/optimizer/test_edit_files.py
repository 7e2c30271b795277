"""Edits to the other files of a skill's folder: only where allowed, exact, and never out of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.optimizer.edits import apply_edits
from skillopt.skill import Skill, read_skill, skill_problems, write_skill
from skillopt.types import Edit

GUIDE = "---\ntitle: Guide\n---\n\n# Guide\n\n- one\n- two\n"
SCRIPT = "#!/usr/bin/env python3\nimport sys\n\n\ndef main():\n    return 0\n"
FILES = {
    "references/guide.md": GUIDE.encode(),
    "scripts/run.py": SCRIPT.encode(),
    "scripts/run.sh": b"set -e\necho one\n",
    "assets/logo.txt": b"\xff\xfe",
    "assets/logo.png": b"png",
}
SKILL = Skill("a-skill", "Use it.", "# Rules", {}, FILES)


def change(edit: Edit) -> str:
    """The file after an edit that must apply."""
    new, (outcome,) = apply_edits(SKILL, [edit], 1, files=True)
    assert outcome.applied, outcome.reason
    assert {k: v for k, v in new.files.items() if k != edit.file} == {
        k: v for k, v in SKILL.files.items() if k != edit.file
    }
    assert new.body == SKILL.body
    return new.files[edit.file].decode()


def refusal(edit: Edit, files: bool = True) -> str:
    new, (outcome,) = apply_edits(SKILL, [edit], 1, files=files)
    assert not outcome.applied and new == SKILL
    return outcome.reason


def test_files_are_left_alone_unless_the_config_allows_it() -> None:
    edit = Edit("append", "", "- three", file="references/guide.md")
    assert "edits to SKILL.md only" in refusal(edit, files=False)


def test_markdown_is_edited_as_the_body_is() -> None:
    guide = "references/guide.md"
    assert change(Edit("append", "", "- three", file=guide)) == GUIDE + "- three\n"
    assert change(Edit("insert_after", "- one", "- new", file=guide)) == GUIDE.replace(
        "- one\n", "- one\n- new\n"
    )
    assert change(Edit("delete", "- one\n", file=guide)) == GUIDE.replace("- one\n", "")
    assert "already says" in refusal(Edit("append", "", "* Two.", file=guide))
    assert "not found" in refusal(Edit("delete", "title: Guide", file=guide))
    assert "open" in refusal(Edit("append", "", "```\nopen", file=guide))


def test_scripts_are_edited_by_exact_text_and_stay_valid() -> None:
    run = "scripts/run.py"
    assert change(Edit("replace", "return 0", "return 2", file=run)).endswith("    return 2\n")
    inserted = change(Edit("insert_after", "def main():", "    print(1)", file=run))
    assert "def main():\n    print(1)\n    return 0\n" in inserted
    appended = change(Edit("append", "", "\nif True:\n    main()", file=run))
    assert appended == SCRIPT + "if True:\n    main()\n"
    assert "line 6" in refusal(Edit("replace", "return 0", "return (", file=run))
    assert "line 5" in refusal(Edit("delete", "    return 0\n", file=run))
    assert "more than once" in refusal(Edit("delete", "main" * 0 + "n", file=run))
    assert change(Edit("delete", "echo one\n", file="scripts/run.sh")) == "set -e\n"


def test_a_new_file_is_made_by_appending() -> None:
    edits = [
        Edit("append", "", "# More\n\n- rule", file="references/more.md"),
        Edit("append", "", "- other", file="references/more.md"),
    ]
    new, outcomes = apply_edits(SKILL, edits, 2, files=True)
    assert all(outcome.applied for outcome in outcomes)
    assert new.files["references/more.md"] == b"# More\n\n- rule\n- other\n"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../out.md", "hidden or empty"),
        ("/etc/cron.d/x.sh", "hidden or empty"),
        ("references/../../x.md", "hidden or empty"),
        ("references//x.md", "hidden or empty"),
        ("references/.x.md", "hidden or empty"),
        ("references/x.md ", "hidden or empty"),
        ("references/a/b/c.md", "too deep"),
        ("references\\x.md", "characters"),
        ("references/x\n.md", "characters"),
        ("references/e\u0301.md", "characters"),
        ("references/\u202e.md", "characters"),
        ("SKILL.md", "SKILL.md itself"),
        ("skill.MD", "SKILL.md itself"),
        ("other.md", "must be below one of"),
        ("elsewhere/x.md", "must be below one of"),
        ("references/x.exe", "not Markdown or a script"),
        ("assets/logo.png", "not Markdown or a script"),
        ("assets/logo.txt", "not UTF-8"),
        ("References/Guide.md", "must be below"),
        ("references/GUIDE.md", "cannot stand beside"),
        ("references/guide.md/x.md", "cannot stand beside"),
    ],
)
def test_paths_that_are_refused(path: str, reason: str) -> None:
    assert reason in refusal(Edit("append", "", "text", file=path))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (Edit("replace", "a", "b", file="references/none.md"), "no such file"),
        (Edit("set_description", "", "b", file="references/guide.md"), "not for files"),
        (Edit("delete", "set -e\necho one\n", file="scripts/run.sh"), "nothing would be left"),
        (Edit("append", "", "x" * 100_001, file="scripts/run.sh"), "100,000 characters"),
        (Edit("append", "", "\x1b[2J", file="scripts/run.sh"), "control characters"),
        (Edit("append", "", "a\x00b", file="scripts/run.py"), "control characters"),
        (Edit("append", "", "(" * 5000, file="scripts/run.py"), "not be valid Python"),
    ],
)
def test_other_refusals(edit: Edit, reason: str) -> None:
    assert reason in refusal(edit)


paths = st.one_of(
    st.sampled_from([*FILES, "references/new.md", "scripts/new.py", "SKILL.md", "../x.md"]),
    st.text(st.sampled_from("ab./\\~ éＡ\n"), max_size=12),
    st.text(max_size=12).map(lambda t: f"references/{t}.md"),
)
texts = st.one_of(st.text(max_size=30), st.sampled_from(["- one", "return 0", "echo one", "x = 1"]))
kinds = st.sampled_from(["append", "insert_after", "replace", "delete", "note", "set_description"])
edits = st.builds(Edit, kinds, texts, texts, st.just(""), st.just(1), paths | st.just(""))


@settings(max_examples=300, deadline=None)
@given(st.lists(edits, max_size=4))
def test_any_edits_leave_a_folder_that_can_be_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, given: list[Edit]
) -> None:
    new, outcomes = apply_edits(SKILL, given, 3, files=True)
    applied = [outcome.edit for outcome in outcomes if outcome.applied]
    assert len(applied) <= 3 and all(o.applied or o.reason for o in outcomes)
    assert apply_edits(SKILL, applied, None, files=True)[0] == new
    assert skill_problems(new) == ()
    if new.files != SKILL.files:
        folder = tmp_path_factory.mktemp("written") / new.name
        write_skill(new, folder)
        assert read_skill(folder).digest == new.digest
        assert not list(folder.parent.glob("*.md"))
