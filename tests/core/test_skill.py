"""A skill folder is read whole, checked, and written so that it reads the same."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core.skill import (
    Skill,
    SkillError,
    canonical_body,
    read_skill,
    skill_problems,
    write_skill,
)
from tests.helpers.cells import examples

TEXT = (
    "---\nname: a-skill\ndescription: Use it.\nlicense: MIT\nmetadata:\n  author: me\n---\n\n# Hi\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a-skill"
    (made / "scripts").mkdir(parents=True)
    (made / "SKILL.md").write_text(TEXT)
    (made / "scripts" / "run.sh").write_text("#!/bin/sh\n")
    (made / ".git").mkdir()
    (made / ".git" / "HEAD").write_text("not part of it")
    return made


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


def test_reads_a_bare_file_in_any_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "best_skill.md"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read_skill(file).text == TEXT


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


def test_digest_covers_every_part(folder: Path) -> None:
    skill = read_skill(folder)
    others = [
        replace(skill, name="b"),
        replace(skill, description="Other."),
        replace(skill, body="Other"),
        replace(skill, extra={}),
        replace(skill, files={"scripts/run.sh": b"#!/bin/bash\n"}),
        replace(skill, files={"run.sh": b"#!/bin/sh\n"}),
    ]
    assert len({skill.digest, *(other.digest for other in others)}) == 7
    assert replace(skill, body="\r\n# Hi\r\n\r\n").digest == skill.digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# No front matter", "no front matter; begin the file with"),
        ("---\nname: a-skill\n---\n", "description: is missing"),
        ("---\nname: [a\n---\n", "SKILL.md: "),
        ("---\nname: a-skill\ndescription: a --- b\n---\n", "'---'"),
        ("---\nname: a-skill\ndescription: d\ncolour: red\n---\n", "colour"),
        ("---\nname: A_Skill\ndescription: d\n---\n", "must be the folder's name"),
        ("---\nname: a-skill\ndescription: !!python/name:os.system\n---\n", "SKILL.md: "),
        ("---\nname: a-skill\ndescription: d\n---\n\x1b[2J", "U+001B"),
        (b"---\nname: a-skill\ndescription: \xff\n---\n", "not UTF-8"),
    ],
)
def test_refuses_what_is_no_skill(folder: Path, text: str | bytes, reason: str) -> None:
    (folder / "SKILL.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SkillError) as caught:
        read_skill(folder)
    assert reason in str(caught.value)
    assert str(folder / "SKILL.md") in str(caught.value)


def test_a_wrong_path_is_an_error_and_never_an_empty_skill(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "skill.txt").write_text(TEXT)
    for name, reason in (("none", "no such"), ("empty", "no SKILL.md"), ("skill.txt", "Markdown")):
        with pytest.raises(SkillError, match=reason):
            read_skill(tmp_path / name)


def test_refuses_links_and_special_files(folder: Path, tmp_path: Path) -> None:
    (folder / "scripts" / "key").symlink_to("/etc/hostname")
    with pytest.raises(SkillError, match="links"):
        read_skill(folder)
    (folder / "scripts" / "key").unlink()
    (folder / "more").symlink_to(tmp_path)
    with pytest.raises(SkillError, match="links"):
        read_skill(folder)
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(SkillError, match="not an ordinary file"):
        read_skill(folder)


def test_writes_no_invalid_skill(tmp_path: Path) -> None:
    with pytest.raises(SkillError, match="must be named 'a-skill'"):
        write_skill(Skill("a-skill", "d", ""), tmp_path / "b-skill")
    with pytest.raises(SkillError, match="lowercase"):
        write_skill(Skill("A", "d", ""), tmp_path / "A")
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
