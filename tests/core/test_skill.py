"""A skill folder is read whole, as agents read it, and comes back as it was but for the changes."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core import skill as skills
from skillopt.core.skill import (
    Layout,
    Skill,
    SkillError,
    canonical_body,
    earlier_form,
    for_agents,
    for_everyone,
    is_hidden,
    left_out,
    named,
    plain_text,
    read_skill,
    skill_problems,
    slug,
    write_skill,
)
from skillopt.run.records import skill_made
from tests.helpers.cells import examples

TEXT = (
    "---\nname: a-skill\ndescription: Use it.\nlicense: MIT\nmetadata:\n  author: me\n---\n\n# Hi\n"
)
HEAD = "---\nname: a-skill\ndescription: d\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a-skill"
    (made / "scripts").mkdir(parents=True)
    (made / "SKILL.md").write_text(TEXT)
    (made / "scripts" / "run.sh").write_text("#!/bin/sh\n")
    (made / "scripts" / "run.sh").chmod(0o755)
    (made / ".git").mkdir()
    (made / ".git" / "HEAD").write_text("not part of it")
    return made


def tree(folder: Path) -> dict[str, object]:
    """Everything in a folder: bytes and modes of files, targets of links."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes(), path.stat().st_mode & 0o777
    return found


def written(skill: Skill, below: Path) -> Path:
    below.mkdir(exist_ok=True)
    write_skill(skill, below / skill.folder)
    return below / skill.folder


def test_reads_a_folder(folder: Path) -> None:
    skill = read_skill(folder)
    assert skill == Skill(
        "a-skill",
        "Use it.",
        "# Hi",
        {"license": "MIT", "metadata": {"author": "me"}},
        {"scripts/run.sh": b"#!/bin/sh\n"},
    )
    assert skill.text == TEXT
    assert left_out(folder) == (".git/",)


def test_reads_a_bare_file_in_any_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "best_skill.md"
    data = b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()
    file.write_bytes(data)
    skill = read_skill(file)
    assert skill.text.encode() == data
    assert (skill.name, skill.body) == ("a-skill", "# Hi")


def test_writes_what_it_read_and_replaces_what_is_there(folder: Path, tmp_path: Path) -> None:
    skill = read_skill(folder)
    target = tmp_path / "out" / "a-skill"
    target.parent.mkdir()
    write_skill(skill, target)
    assert read_skill(target) == skill
    assert os.access(target / "scripts" / "run.sh", os.X_OK)
    smaller = replace(skill, body="Less.", files={})
    write_skill(smaller, target)
    assert read_skill(target) == smaller
    assert [path.name for path in target.parent.iterdir()] == ["a-skill"]


def test_everything_in_the_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    (folder / "SKILL.md").write_bytes(
        b"---\r\n# ours\r\ndescription: 'It''s'  # why\r\nname: \"a-skill\"\n\r\ntools:\r\n- a\r\n"
        b"---\n \n# Hi\r\n\ttext \n\n\n"
    )
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / ".env.example").write_bytes(b"\xff\x00")
    (folder / ".gitignore").write_text("x")
    (folder / "scripts" / "plain").write_text("#!/bin/sh\n")
    (folder / "scripts" / "tool").write_bytes(b"\x7fELF")
    for name, mode in (("plain", 0o640), ("tool", 0o711), ("run.sh", 0o700)):
        (folder / "scripts" / name).chmod(mode)
    (folder / "SKILL.md").chmod(0o600)
    (folder / "again").symlink_to("scripts")
    (folder / "scripts" / "up").symlink_to("../.gitignore")
    (folder / "scripts" / "dangling").symlink_to("not-there")
    skill = read_skill(folder)
    copy = written(skill, tmp_path / "out")
    was = {name: value for name, value in tree(folder).items() if not name.startswith(".git/")}
    assert tree(copy) == was
    assert read_skill(copy) == skill and read_skill(copy).digest == skill.digest
    edited = written(replace(skill, body="# Hi\n\ttext\nmore"), tmp_path / "edited")
    assert tree(edited).pop("scripts/tool") == was["scripts/tool"]
    assert (edited / "SKILL.md").read_bytes() == (folder / "SKILL.md").read_bytes().replace(
        b"\ttext ", b"\ttext \nmore"
    )


def test_the_folder_and_the_file_keep_their_own_names(tmp_path: Path) -> None:
    made = tmp_path / "My Folder"
    made.mkdir()
    (made / "Skill.MD").write_text("---\nname: CI Logs\ndescription: d\n---\n# A\n")
    skill = read_skill(made)
    assert (skill.name, skill.folder) == ("CI Logs", "My Folder")
    assert tree(written(skill, tmp_path / "out")) == tree(made)
    agents = written(for_agents(skill), tmp_path / "agents")
    assert [path.name for path in agents.iterdir()] == ["SKILL.md"]
    assert read_skill(agents).digest == skill.digest
    other = tmp_path / "ci-logs"
    made.rename(other)
    assert read_skill(other).digest != skill.digest  # Claude Code shows another name.


def test_a_linked_skill_file_stays_a_link_and_agents_get_a_file(tmp_path: Path) -> None:
    made = tmp_path / "linked"
    made.mkdir()
    (made / "real.md").write_text("---\nname: linked\ndescription: d\n---\n# A\n")
    (made / "SKILL.md").symlink_to("real.md")
    skill = read_skill(made)
    assert tree(written(skill, tmp_path / "out")) == tree(made)
    edited = written(replace(skill, body="# B"), tmp_path / "edited")
    assert (edited / "SKILL.md").is_symlink() and "# B" in (edited / "real.md").read_text()
    agents = written(for_agents(skill), tmp_path / "agents")
    assert not (agents / "SKILL.md").is_symlink()
    assert (agents / "SKILL.md").read_bytes() == (agents / "real.md").read_bytes()


def test_a_linked_folder_has_the_name_of_its_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(folder)
    assert read_skill(tmp_path / "other").folder == "other"


def test_files_of_the_store_can_be_read_by_everybody(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "SKILL.md", folder / "scripts" / "run.sh"):
        path.chmod(path.stat().st_mode & 0o700)
    copy = written(for_everyone(read_skill(folder)), tmp_path / "store")
    modes = [path.stat().st_mode & 0o777 for path in sorted(copy.rglob("*")) if path.is_file()]
    assert modes == [0o644, 0o755]
    assert read_skill(copy).digest == read_skill(folder).digest


def test_digest_covers_every_part(folder: Path) -> None:
    skill = read_skill(folder)
    others = [
        replace(skill, name="b"),
        replace(skill, description="Other."),
        replace(skill, body="Other"),
        replace(skill, extra={}),
        replace(skill, files={"scripts/run.sh": b"#!/bin/bash\n"}),
        replace(skill, files={"run.sh": b"#!/bin/sh\n"}),
        replace(skill, layout=Layout(modes={"scripts/run.sh": 0o644})),
        replace(skill, layout=Layout(links={"x": "SKILL.md"})),
        replace(skill, layout=Layout(folder="other")),
        replace(skill, layout=Layout(TEXT + "\n")),
    ]
    assert len({skill.digest, *(other.digest for other in others)}) == 11
    assert replace(skill, body="\r\n# Hi\r\n\r\n").digest == skill.digest
    same = replace(skill, layout=Layout(modes={"scripts/run.sh": 0o700, "SKILL.md": 0o600}))
    assert same.digest == skill.digest  # Who may read it decides nothing.


def test_the_digest_of_a_canonical_skill_is_that_of_earlier_versions(folder: Path) -> None:
    earlier = "00e5e2ef4d74721f06428810ced4fabd75767901f79e595d7596efe9fedf3ae9"
    assert read_skill(folder).digest == earlier


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\nname: [a\n---\n", "line 3: the front matter is not YAML"),
        ("---\nname: colon\ndescription: Two modes: on and off\n---\n", "in quotes"),
        ("---\nname: a-skill\ndescription: never closed\n", "not closed; add a line '---'"),
        ("---\na: &a [*a]\n---\n", "contains itself"),
        ("---\na: \x1b\n---\n", "not YAML"),
        (b"---\nname: a-skill\ndescription: \xff\n---\n", "not UTF-8"),
    ],
)
def test_refuses_what_cannot_be_read(folder: Path, text: str | bytes, reason: str) -> None:
    (folder / "SKILL.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SkillError) as caught:
        read_skill(folder)
    assert reason in str(caught.value)
    assert str(folder / "SKILL.md") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("# No front matter", "must begin with front matter"),
        ("---\nname: a-skill\n---\n", "Missing required field in frontmatter: description"),
        (HEAD + "x: a --- b\n---\n", "'---'"),
        (HEAD + "colour: red\n---\n", "colour"),
        (HEAD + "license: a\nlicense: b\n---\n", "more than once: license"),
        (HEAD + "tags: [1, {a: b}, 2020-01-01]\nno: ~\n---\n", "Unexpected fields"),
        ("---\nname: A_Skill\ndescription: d\n---\n", "must be lowercase"),
        ("---\nname: b\ndescription: d\n---\n", "is not named as the skill"),
        ("---\nname: 5\ndescription: !!python/name:os.system\n---\n", "non-empty string"),
        ("---\nname: a-skill\ndescription: " + 1300 * "d" + "\n---\n", "1024"),
        (HEAD + "---\n\x1b[2J", "U+001B"),
        ("\ufeff" + HEAD + "---\n", "byte order mark"),
        ("---\n[]\n---\n", "Missing required field"),
        ("---\njust text\n---\n", "Missing required field"),
        ("---\n---\n", "Missing required field"),
        ("", "must begin"),
    ],
)
def test_what_agents_take_is_read_with_an_objection(
    folder: Path, tmp_path: Path, text: str, objection: str
) -> None:
    (folder / "SKILL.md").write_bytes(text.encode())
    skill = read_skill(folder)
    assert objection in " ".join(skill_problems(skill))
    assert (written(skill, tmp_path / "out") / "SKILL.md").read_bytes() == text.encode()


def test_names_and_descriptions_that_are_missing_are_taken_as_agents_do(folder: Path) -> None:
    for text, name, description in (
        ("\n\n# A  title #\n\ntext", "a-skill", "A title #"),
        ("---\ndescription: |\n  two\n  lines\n---\n", "a-skill", "two lines"),
        ("---\nname: 1.0\ndescription:\n---\ntext\n", "1.0", "text"),
        ("---\nname: x\ndescription: true\n---\ntext\n", "x", "true"),
        ("---\nname: x\ndescription: [a, b]\n---\n## text\n", "x", "text"),
        ("", "a-skill", ""),
    ):
        (folder / "SKILL.md").write_text(text)
        skill = read_skill(folder)
        assert (skill.name, skill.description) == (name, description)


def test_values_are_those_of_yaml_1_2(folder: Path) -> None:
    values = "a: on\nb: 012\nc: 0o17\nd: 1:30\ne: 2020-01-01\nf: ~\ng: 1e3\nh: '1'\ni: TRUE\n"
    (folder / "SKILL.md").write_text(HEAD + values + "---\n")
    assert read_skill(folder).extra == {
        "a": "on", "b": 12, "c": 15, "d": "1:30", "e": "2020-01-01", "f": None, "g": 1000.0,
        "h": "1", "i": True,
    }  # fmt: skip


def test_escaped_surrogates_are_read_as_what_they_stand_for(folder: Path) -> None:
    values = '"a\\uD83D\\uDE00": "\\uD800"\n'
    (folder / "SKILL.md").write_text(f'---\ndescription: "\\uD83D\\uDE00 \\uDC00"\n{values}---\n')
    skill = read_skill(folder)
    assert skill.description == "\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}"
    assert skill.extra == {"a\N{GRINNING FACE}": "\N{REPLACEMENT CHARACTER}"}
    assert skill_made(skill).model_dump_json()


def test_a_markdown_file_is_a_skill_named_after_it(tmp_path: Path) -> None:
    file = tmp_path / "GPT5.5 _skill.md"
    file.write_text("# Rules\n\n- one\n")
    skill = read_skill(file)
    assert (skill.name, skill.folder, skill.description) == (*2 * ("gpt5-5-skill",), "Rules")
    assert skill.text == "# Rules\n\n- one\n"
    (tmp_path / "SKILL.md").write_text("# Rules\n")
    assert read_skill(tmp_path / "SKILL.md").folder == read_skill(tmp_path).folder.lower().replace(
        "_", "-"
    )


def test_a_wrong_path_is_an_error_and_never_an_empty_skill(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "skill.txt").write_text(TEXT)
    for name, reason in (("none", "no such"), ("empty", "no SKILL.md"), ("skill.txt", "Markdown")):
        with pytest.raises(SkillError, match=reason):
            read_skill(tmp_path / name)


def test_refuses_links_out_of_the_folder_and_special_files(folder: Path, tmp_path: Path) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / "short").symlink_to("a/b")
    (tmp_path / "secret").write_text("secret")
    for place, target in (
        (folder / "scripts" / "key", "/etc/hostname"),
        (folder / "more", str(tmp_path)),
        (folder / "more", str(folder / "SKILL.md")),
        (folder / "more", "../secret"),
        (folder / "more", "short/../../../secret"),
        (deep / "more", "../../../secret"),
        (folder / "more", ".."),
    ):
        place.symlink_to(target)
        with pytest.raises(SkillError, match="links"):
            read_skill(folder)
        place.unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(SkillError, match="not an ordinary file"):
        read_skill(folder)


def test_what_belongs_to_tools_is_left_out_and_listed(folder: Path) -> None:
    for name in ("__pycache__/x.pyc", ".idea/y", "scripts/.run.sh.swp", "notes.md~", ".DS_Store"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    (folder / "empty").mkdir()
    assert set(read_skill(folder).files) == {"scripts/run.sh"}
    assert left_out(folder) == (
        ".DS_Store", ".git/", ".idea/", "__pycache__/", "empty/", "notes.md~",
        "scripts/.run.sh.swp",
    )  # fmt: skip


def test_other_names_of_folder_and_file_are_objected_to(tmp_path: Path) -> None:
    (tmp_path / "F").mkdir()
    (tmp_path / "F" / "skill.md").write_text("---\nname: s\ndescription: d\n---\n# A\n")
    assert skill_problems(read_skill(tmp_path / "F")) == (
        "the folder 'F' is not named as the skill, 's'",
        "the file 'skill.md' is not named SKILL.md",
    )
    assert left_out(tmp_path / "F" / "skill.md") == ()


def test_a_folder_of_another_name_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SkillError, match="must be named 'a-skill'"):
        write_skill(Skill("a-skill", "d", ""), tmp_path / "b-skill")
    for name in ("..", ".", "", "a/b"):
        with pytest.raises(SkillError, match="cannot write"):
            write_skill(Skill(name, "d", ""), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=examples(60))
@given(st.text(max_size=60), st.text(max_size=200), st.text(max_size=20))
def test_every_valid_skill_survives_writing(
    tmp_path_factory: pytest.TempPathFactory, description: str, body: str, license: str
) -> None:
    skill = Skill("s", description, body, {"license": license})
    if skill_problems(skill):
        return
    folder = tmp_path_factory.mktemp("w") / "s"
    write_skill(skill, folder)
    read = read_skill(folder)
    assert read.text == skill.text
    assert read.digest == skill.digest
    assert read.body == canonical_body(body)


_LINES = st.sampled_from(
    ["---", "name: s", "description: d", "description: >", "  folded", "a: [1, 'x']", "b: {c: d}",
     "- x", "# c", "", "text", "k:", "  l: *a", "  m: &a !!str 1", "? q", "'e': \"f\"",
     "\ufeff", "g: @h"]
)  # fmt: skip


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(_LINES | st.text(max_size=12), st.sampled_from(["\n", "\r\n", ""]))))
def test_any_file_is_read_and_written_as_it_was_or_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    file = tmp_path_factory.mktemp("any") / "s.md"
    file.write_bytes("".join(line + end for line, end in [("---", "\n"), *lines]).encode())
    try:
        skill = read_skill(file)
    except SkillError as error:
        assert str(file) in str(error)
        return
    assert skill.text.encode() == file.read_bytes()
    skill_problems(skill)
    changed = replace(skill, description="Other: words", body=f"{skill.body}\nnew")
    try:
        text = changed.text
    except SkillError:
        return
    file.write_bytes(text.encode())
    again = read_skill(file)
    assert again.description == "Other: words" or not skill.extra
    # Spaces at the end of what was the last line stay with it.
    spaces = re.compile(r"[ \t]+$", re.MULTILINE)
    assert spaces.sub("", again.body) == spaces.sub("", canonical_body(changed.body))
    assert again.extra == skill.extra


def test_a_folder_is_replaced_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for text in ("# One", "# Two", "# Three"):
        write_skill(Skill("mine", "Use it.", text, {}, {"references/x.md": text.encode()}), folder)
        assert read_skill(folder).body == text
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_who_reads_while_a_folder_is_replaced_finds_a_whole_one(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    skills = [Skill("mine", "Use it.", f"# {n}", {}, {"assets/n": str(n).encode()}) for n in (1, 2)]
    write_skill(skills[0], folder)
    seen, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append((folder / "SKILL.md").is_file())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(60):
        write_skill(skills[turn % 2], folder)
    stop.set()
    reader.join()
    assert len(seen) > 60 and all(seen)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("", ""), ("\n \n\t\n", ""), ("a", "a"), ("\n\n  a\n", "  a"), ("a \t\n\n", "a"),
        ("a\r\nb\rc\n", "a\nb\nc"), (" \r\n a\n\n b", " a\n\n b"),
    ],
)  # fmt: skip
def test_a_body_has_no_blank_lines_around_it(text: str, body: str) -> None:
    assert canonical_body(text) == body


def test_a_skill_of_this_project_is_written_in_canonical_form() -> None:
    extra = {"metadata": {"b": 1, "a": [2]}, "license": "MIT"}
    skill = Skill("a-skill", " two\n lines ", "\n# Hi\r\n", extra)
    assert skill.text == (
        "---\nname: a-skill\ndescription: two lines\nlicense: MIT\nmetadata:\n  a:\n  - 2\n  b: 1\n"
        "---\n\n# Hi\n"
    )
    assert Skill("a", "d", "").text == "---\nname: a\ndescription: d\n---\n"
    assert (skill.folder, replace(skill, layout=Layout(folder="f")).folder) == ("a-skill", "f")


@pytest.mark.parametrize(
    ("text", "changes", "after"),
    [
        ("---\nname: s\ndescription: d\n---\n# A\n", {"name": "t"},
         "---\nname: t\ndescription: d\n---\n# A\n"),
        ("---\ndescription: d\n---\n# A\n", {"name": "t"}, "---\ndescription: d\n---\n# A\n"),
        ("---\nname: s\n---\n# A\n", {"description": "A"}, "---\nname: s\n---\n# A\n"),
        ("---\nname: s\n---\n# A\n", {"description": "e"},
         "---\nname: s\ndescription: e\n---\n# A\n"),
        ("---\nname: s\nx: 1\ny: 2\n---\n# A\n", {"extra": {"x": 3, "z": 4}},
         "---\nname: s\nx: 3\nz: 4\n---\n# A\n"),
        ("---\nname: s\n---\n# A\n", {"body": "# B"}, "---\nname: s\n---\n# B\n"),
        ("---\nname: s\n---\n# A  \n\n", {"body": "\n# A\r\n"}, "---\nname: s\n---\n# A  \n\n"),
        ("# A\n", {"body": "# B", "name": "t"}, "# B\n"),
        ("# A\n", {"description": "e"}, None),
    ],
)  # fmt: skip
def test_only_what_was_changed_is_written_anew(
    tmp_path: Path, text: str, changes: dict[str, object], after: str | None
) -> None:
    (tmp_path / "s.md").write_text(text)
    changed = replace(read_skill(tmp_path / "s.md"), **changes)  # type: ignore[arg-type]
    if after is None:
        with pytest.raises(SkillError, match=r"SKILL.md: there is no front matter"):
            _ = changed.text
    else:
        assert changed.text == after


def test_a_reader_of_text_sees_no_line_ends_and_marks(tmp_path: Path) -> None:
    (tmp_path / "s.md").write_bytes(b"\xef\xbb\xbf# A\r\nb\rc\n")
    assert plain_text(read_skill(tmp_path / "s.md")) == "# A\nb\nc\n"


@pytest.mark.parametrize(
    ("data", "modes", "mode", "unusual"),
    [
        (b"#!/bin/sh\n", {}, 0o755, False),
        (b"x", {}, 0o644, False),
        (b"x", {"f": 0o600}, 0o600, False),
        (b"x", {"f": 0o711}, 0o711, True),
        (b"#!/bin/sh\n", {"f": 0o655}, 0o655, True),
        (b"#!/bin/sh\n", {"f": 0o700}, 0o700, False),
    ],
)
def test_what_can_be_executed_is_told_by_its_first_line(
    data: bytes, modes: dict[str, int], mode: int, unusual: bool
) -> None:
    skill = Skill("s", "d", "# A", {}, {"f": data}, Layout(modes=modes))
    assert skill.mode("f") == mode and skill.mode("SKILL.md") == 0o644
    assert (skill.digest != replace(skill, layout=Layout()).digest) == unusual
    assert for_everyone(skill).mode("f") == (0o755 if mode & 0o100 else 0o644)


def test_for_agents_the_text_is_where_they_look_and_where_others_name_it() -> None:
    text = b"---\nname: s\ndescription: d\n---\n\n# A\n"
    layout = Layout(file="real.md", links={"skill.md": "real.md", "other": "real.md"})
    linked = for_agents(Skill("s", "d", "# A", {}, {"x": b""}, layout))
    assert linked.content() == {"x": b"", "real.md": text, "SKILL.md": text}
    assert linked.layout.links == {"other": "real.md"}
    odd = for_agents(Skill("s", "d", "# A", {}, {}, Layout(file="skill.md", links={"a": "x"})))
    assert odd.content() == {"SKILL.md": text} and odd.layout.links == {"a": "x"}


def test_a_link_to_the_text_is_no_part_of_the_digest_and_others_are() -> None:
    skill = Skill("s", "d", "# A")

    def linked(**links: str) -> str:
        return replace(skill, layout=Layout(links=links)).digest

    assert replace(skill, layout=Layout(links={"SKILL.md": "real.md"})).digest == skill.digest
    assert len({skill.digest, linked(a="x"), linked(b="x"), linked(a="y")}) == 4


def test_earlier_versions_read_texts_and_no_hidden_files(tmp_path: Path) -> None:
    text = "---\nname: s\ndescription: d\nversion: 1.0\nmetadata: {a: true}\n---\n# A\n"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "SKILL.md").write_text(text)
    for name in (".env", "x", "a/.b/c"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).touch()
    was = {"version": "1.0", "metadata": {"a": "true"}}
    assert earlier_form(read_skill(tmp_path / "s")) == Skill("s", "d", "# A", was, {"x": b""})
    (tmp_path / "s" / "SKILL.md").write_text("---\nname: s\ntags: [a]\n---\n")
    assert earlier_form(read_skill(tmp_path / "s")) is None


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("a", False), (".a", True), ("a/.b", True), (".a/b", True), ("a.b/c.d", False)],
)
def test_a_file_is_hidden_by_a_name_above_it_too(name: str, hidden: bool) -> None:
    assert is_hidden(name) is hidden


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("My Skill", "my-skill"), ("  a__b--C!", "a-b-c"), ("\u00c4\ufb01 \u00bd", "\u00e4fi-1-2"),
        ("a" * 70, "a" * 64), ("a" * 63 + " b", "a" * 63), ("!!", "skill"), ("", "skill"),
    ],
)  # fmt: skip
def test_a_name_as_the_specification_wants_it(name: str, short: str) -> None:
    assert slug(name) == short


def test_a_skill_is_named_by_its_folder_if_that_is_another() -> None:
    skill = Skill("s", "d", "# A")
    assert named(skill, "t", "t").layout.folder == "" and named(skill, "t", "t").name == "t"
    assert named(skill, "t", "u").folder == "u"


def test_a_whole_folder_has_a_largest_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(TEXT.encode()) + len("#!/bin/sh\n")
    monkeypatch.setattr(skills, "MAX_BYTES", size)
    assert read_skill(folder).body == "# Hi"
    for largest in (size - 1, len(TEXT) - 1):
        monkeypatch.setattr(skills, "MAX_BYTES", largest)
        with pytest.raises(SkillError, match=f"larger than {largest} bytes"):
            read_skill(folder)


def test_the_main_file_is_found_in_any_case_and_the_usual_one_counts(tmp_path: Path) -> None:
    for name, text in (("skill.md", "# Small"), ("Skill.md", "# Odd")):
        (tmp_path / name).write_text(text)
    assert read_skill(tmp_path).body == "# Odd"
    (tmp_path / "SKILL.md").write_text("# Main")
    skill = read_skill(tmp_path)
    assert skill.body == "# Main" and set(skill.files) == {"skill.md", "Skill.md"}
    (tmp_path / "SKILL.md").unlink()
    (tmp_path / "SKILL.md").symlink_to("none.md")
    with pytest.raises(SkillError, match="is a link to something that is not part of the skill"):
        read_skill(tmp_path)


def test_a_skill_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_skill(Skill("s", "d", "# Old"), tmp_path / "s")
    broken = Skill("s", "d", "# New", {}, {"a": b"", "a/b": b""})
    with pytest.raises(OSError):
        write_skill(broken, tmp_path / "s")
    assert read_skill(tmp_path / "s").body == "# Old"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_links_are_written_where_nothing_else_is(tmp_path: Path) -> None:
    layout = Layout(links={"deep/er/link": "../../SKILL.md"}, modes={"SKILL.md": 0o600})
    write_skill(Skill("s", "d", "# A", {}, {}, layout), tmp_path / "s")
    assert (tmp_path / "s" / "deep" / "er" / "link").readlink() == Path("../../SKILL.md")
    assert (tmp_path / "s" / "SKILL.md").stat().st_mode & 0o777 == 0o600
