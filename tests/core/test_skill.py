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

from skillopt.core.skill import (
    Layout,
    Skill,
    SkillError,
    canonical_body,
    for_agents,
    for_everyone,
    left_out,
    read_skill,
    skill_problems,
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
