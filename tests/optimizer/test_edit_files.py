"""Edits to the other files of a skill's folder: only where allowed, exact, and never out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core.skill import (
    Layout,
    Skill,
    canonical_body,
    read_skill,
    skill_problems,
    write_skill,
)
from skillopt.core.types import Edit, EditKind
from skillopt.optimizer.edits import apply_edits
from skillopt.optimizer.files import MAX_CHARS, content_problem, editable_files
from skillopt.optimizer.regions import REMINDERS, protected_regions, with_region
from tests.helpers.cells import examples

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


def change(edit: Edit, data: bytes | None = None) -> str:
    """The file after an edit that must apply; ``data`` is what it held before."""
    old = SKILL if data is None else replace(SKILL, files={**FILES, edit.file: data})
    new, (outcome,) = apply_edits(old, [edit], 1, files=True)
    assert outcome.applied, outcome.reason
    assert new == replace(old, files={**old.files, edit.file: new.files[edit.file]})
    return new.files[edit.file].decode()


def refusal(edit: Edit, data: bytes | None = None, files: bool = True) -> str:
    """Why an edit is refused; the skill must not have changed."""
    old = SKILL if data is None else replace(SKILL, files={**FILES, edit.file: data})
    new, (outcome,) = apply_edits(old, [edit], 1, files=files)
    assert not outcome.applied and new == old
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


@pytest.mark.parametrize(
    ("front", "kept"),
    [
        (b"---\ntitle: x\n---\n", "---\ntitle: x\n---\n"),
        (
            b"\xef\xbb\xbf---\r\ntitle: x\r\n---\r\n\r\n",
            "\ufeff---\r\ntitle: x\r\n---\r\n\r\n",
        ),
        (b"---\n---\n", "---\n---\n"),
        (b"---\ntitle: x\n\n---\n\n", "---\ntitle: x\n\n---\n\n"),
    ],
)
def test_front_matter_of_a_file_is_left_alone(front: bytes, kept: str) -> None:
    guide, data = "references/guide.md", front + b"hello\n\n---\nend\n"
    assert change(Edit("replace", "hello", "bye", file=guide), data) == kept + "bye\n\n---\nend\n"
    assert "not found" in refusal(Edit("replace", "title: x", "- y", file=guide), data)
    assert "nothing would be left" in refusal(Edit("delete", "a", file=guide), front + b"a\n")
    bare, end = kept.rstrip(), "\r\n" if "\r" in kept else "\n"
    appended = change(Edit("append", "", "new", file=guide), bare.encode())
    assert appended == f"{bare}{end}{end}new{end}"


def test_text_of_a_file_does_not_become_front_matter() -> None:
    edit = Edit("delete", "x\n", file="references/guide.md")
    assert "front matter" in refusal(edit, b"x\n\n---\n\ntext\n\n---\n\nend\n")


def test_a_protected_region_of_a_file_is_left_alone() -> None:
    guide = "references/guide.md"
    data = f"# G\n\n{with_region('', 'own', 'Keep this.')}\n"
    assert "protected" in refusal(Edit("delete", "Keep this.", file=guide), data.encode())
    assert change(Edit("append", "", "new", file=guide), data.encode()) == data.replace(
        "# G\n", "# G\n\nnew\n"
    )


def test_lines_are_inserted_below_the_target_however_it_ends() -> None:
    for target in ("a", "a\n", "-a"):
        made = change(Edit("insert_after", target, "  new\n", file="scripts/x.sh"), b"-a\nb")
        assert made == "-a\n  new\nb"
    made = change(Edit("insert_after", "b", "new", file="scripts/x.sh"), b"-a\nb")
    assert made == "-a\nb\nnew\n"


def test_files_of_other_systems_keep_their_line_ends_and_mark() -> None:
    run, guide = "scripts/x.py", "references/guide.md"
    edit = Edit("replace", "y = 1", "y = 2\r\nz = 3", file=run)
    kept = "\ufeffx = 1\r\ny = 2\r\nz = 3\r\n"
    assert change(edit, b"\xef\xbb\xbfx = 1\r\ny = 1\r\n") == kept
    append = Edit("append", "", "- b", file=guide)
    assert change(append, b"\n\n- a") == "\n\n- a\n- b"
    assert change(append, b"- a\r\n- x\n- y\r\n\n") == "- a\r\n- x\n- y\r\n- b\r\n\n"


def test_a_link_is_not_edited_and_nothing_is_made_below_one() -> None:
    links = Layout(links={"references/more.md": "guide.md", "assets": "references"})
    skill = replace(SKILL, layout=links)
    for path in ("references/more.md", "assets/new.md"):
        (outcome,) = apply_edits(skill, [Edit("append", "", "- x", file=path)], 1, files=True)[1]
        assert "link" in outcome.reason or "conflicts" in outcome.reason


def test_what_was_wrong_with_a_file_is_no_reason_to_refuse_an_edit() -> None:
    run, old = "scripts/x.py", b"print 'two'\n# page\x0c\n"
    assert change(Edit("append", "", "# end", file=run), old) == old.decode() + "# end\n"
    assert "valid Python" in refusal(Edit("append", "", "print 'x'", file=run), b"x = 1\n")
    assert "control" in refusal(Edit("append", "", "# \x0c", file=run), old)
    assert "changes nothing" in refusal(Edit("replace", "y = 1", "y = 1", file=run), b"y = 1\n")


def test_scripts_are_edited_by_exact_text_and_stay_valid() -> None:
    run = "scripts/run.py"
    assert change(Edit("replace", "return 0", "return 2", file=run)).endswith("    return 2\n")
    inserted = change(Edit("insert_after", "def main():", "    print(1)", file=run))
    assert "def main():\n    print(1)\n    return 0\n" in inserted
    appended = change(Edit("append", "", "\nif True:\n    main()", file=run))
    assert appended == SCRIPT + "if True:\n    main()\n"
    assert "line 6" in refusal(Edit("replace", "return 0", "return (", file=run))
    assert "line 5" in refusal(Edit("delete", "    return 0\n", file=run))
    assert "more than once" in refusal(Edit("delete", "n", file=run))
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
        ("references/GUIDE.md", "conflicts with"),
        ("scripts/__pycache__/x.py", "compiled code"),
        (f"references/{'語' * 100}.md", "too deep"),
        ("references/guide.md/x.md", "conflicts with"),
    ],
)
def test_paths_that_are_refused(path: str, reason: str) -> None:
    assert reason in refusal(Edit("append", "", "text", file=path))


@pytest.mark.parametrize(
    ("path", "data", "editable"),
    [
        ("references/a.md", b"text", True),
        ("scripts/a.sh", b"", True),
        ("scripts/a.mjs", b"x", True),
        ("scripts/a.pyc", b"x", False),
        ("scripts/md", b"x", False),
        ("assets/a.txt", b"\xe9", False),  # Not UTF-8.
        # The limit is of characters, not of bytes.
        ("references/a.md", b"x" * MAX_CHARS, True),
        ("references/a.md", b"x" * (MAX_CHARS + 1), False),
        ("references/a.md", "é".encode() * MAX_CHARS, True),
        ("references/a.md", "é".encode() * (MAX_CHARS + 1), False),
    ],
)
def test_which_files_edits_may_change(path: str, data: bytes, editable: bool) -> None:
    skill = replace(SKILL, files={"assets/first.txt": b"1", path: data, "scripts/z.py": b"2"})
    found = editable_files(skill)
    assert found.pop("assets/first.txt") == "1" and found.pop("scripts/z.py") == "2"
    assert found == ({path: data.decode()} if editable else {})


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("", "a", ""),
        ("", " \n", "nothing would be left"),
        ("", "é" * MAX_CHARS, ""),
        ("", "é" * (MAX_CHARS + 1), "would have more than"),
        ("a\tb\n", "a\tb\nc\td\n", ""),
        ("", "a\x0cb", "control characters"),
        ("a\x0cb", "a\x0cb and c", ""),
        ("a\x0cb", "ab", ""),
        # One more of a kind that is there already, and one of another kind in its place.
        ("a\x0cb", "a\x0cb\x0c", "control characters"),
        ("a\x0cb", "a\x1bb", "control characters"),
        ("", "a\r", "control characters"),
    ],
)
def test_what_a_file_may_contain_after_an_edit(before: str, after: str, reason: str) -> None:
    found = content_problem("references/a.md", after, before)
    assert reason in found if reason else not found


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
        (Edit("append", "", "-" * 50_000 + "1", file="scripts/run.py"), "not be valid Python"),
        (Edit("append", "", "a" + ".b" * 40_000, file="scripts/run.py"), "not be valid Python"),
        (Edit("replace", "nowhere", "x", file="scripts/run.py"), "found in scripts/run.py"),
        (Edit("note", "", "b", file="references/guide.md"), "not for files"),
    ],
)
def test_other_refusals(edit: Edit, reason: str) -> None:
    assert reason in refusal(edit)


def test_the_guard_has_the_last_word() -> None:
    seen: list[tuple[Skill, Skill]] = []

    def guard(before: Skill, after: Skill) -> str:
        seen.append((before, after))
        return "it leaks" if "secret" in after.body else ""

    edits = [Edit("append", "", text) for text in ("- secret", "- fine", "* Fine.")]
    new, outcomes = apply_edits(SKILL, edits, None, guard=guard)
    assert [o.reason for o in outcomes] == ["it leaks", "", "the skill already says this"]
    assert new.body == "# Rules\n\n- fine"
    assert [before.body for before, _ in seen] == ["# Rules", "# Rules"]  # Not asked for the third.


@pytest.mark.parametrize(
    "edit",
    [
        Edit("append", "", "- secret"),
        Edit("note", "", "secret"),
        Edit("set_description", "", "secret"),
        Edit("append", "", "- secret", file="references/guide.md"),
        Edit("append", "", "x = 'secret'", file="scripts/new.py"),
    ],
)
def test_each_kind_of_edit_is_shown_to_the_guard(edit: Edit) -> None:
    def guard(before: Skill, after: Skill) -> str:
        leaks = any(b"secret" in data for data in after.content().values())
        return "it leaks" if leaks else ""

    new, (outcome,) = apply_edits(SKILL, [edit], None, files=True, guard=guard)
    assert (new, outcome.reason) == (SKILL, "it leaks")
    _, (outcome,) = apply_edits(SKILL, [edit], None, files=True)
    assert outcome.applied


paths = st.one_of(
    st.sampled_from([*FILES, "references/new.md", "scripts/new.py", "SKILL.md", "../x.md"]),
    st.text(st.sampled_from("ab./\\~ éＡ\n"), max_size=12),
    st.text(max_size=12).map(lambda t: f"references/{t}.md"),
)
pieces = st.sampled_from(
    [
        "# Rules", "- one", "two", "return 0", "x = 1", "```", "---", "| a | b |", "<div>", "<!--",
        "<!-- protected:own -->", "<!-- /protected:own -->", "<!-- protected:guidance -->",
        "<!-- /protected:guidance -->", "<!-- protected:reminders -->", "  - <!-- c -->",
    ]
)  # fmt: skip
texts = st.one_of(st.text(max_size=30), pieces)
markdown = st.lists(texts, max_size=7).map("\n\n".join) | st.lists(pieces, max_size=7).map(
    "\n".join
)
data = st.one_of(st.binary(max_size=30), markdown.map(lambda t: t.encode(errors="replace")))
kinds: st.SearchStrategy[EditKind] = st.sampled_from(get_args(EditKind))
edits = st.builds(Edit, kinds, texts, texts, st.just(""), st.just(1), paths | st.just(""))


@st.composite
def folders(draw: st.DrawFn) -> tuple[Skill, list[Edit]]:
    """A skill of any text, and edits of which many name a file and text that are there."""
    body = draw(markdown)
    files = draw(st.fixed_dictionaries(dict.fromkeys(FILES, data)))
    found = [draw(edits) for _ in range(draw(st.integers(0, 2)))]
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(["", *FILES]))
        text = files[path].decode(errors="replace") if path else body
        start = draw(st.integers(0, len(text)))
        cut = text[start : start + draw(st.integers(1, 30))]
        found.append(Edit(draw(kinds), cut, draw(texts), file=path))
    return Skill("a-skill", "Use it.", body, {}, files), found


@settings(max_examples=examples(200))
@given(folders(), st.integers(0, 4) | st.none())
def test_any_edits_to_any_folder(case: tuple[Skill, list[Edit]], budget: int | None) -> None:
    old, given = case
    new, outcomes = apply_edits(old, given, budget, files=True)
    assert [outcome.edit for outcome in outcomes] == given
    assert all(outcome.applied != bool(outcome.reason) for outcome in outcomes)
    applied = [outcome.edit for outcome in outcomes if outcome.applied]
    assert budget is None or len(applied) <= budget
    assert apply_edits(old, applied, None, files=True)[0] == new
    assert not skill_problems(new) or skill_problems(old)
    assert {path for path in new.files if new.files[path] != old.files.get(path)} <= {
        edit.file for edit in applied
    }
    assert kept(new.body) == kept(old.body)
    for path, data in new.files.items():
        if path.endswith(".md") and data != old.files.get(path):
            assert kept(data.decode()) == kept(old.files.get(path, b"").decode())


def kept(text: str) -> list[str]:
    """The protected regions of a text without the reminders."""
    text = canonical_body(text)
    regions = [text[a:b] for a, b in protected_regions(text)]
    return [region for region in regions if f"protected:{REMINDERS}" not in region]


@settings(max_examples=examples(150))
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
