"""Where agents look, what is there, and what is in the way of a deployment."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from skillopt.deploy.contents import KEPT, digest, is_as, look
from skillopt.deploy.places import (
    DeployError,
    Place,
    is_left_out,
    place_of,
    seen_by,
    tree_digest,
)
from tests.helpers.homes import link, put
from tests.helpers.rights import ordinary_rights, own_folder


@pytest.mark.parametrize(
    ("to", "path"),
    [
        ("./new", "project/new"), ("..", ""), (".", "project"), ("~", ""), ("~/x/../y", "y"),
        ("there", "project/there"), ("/etc/x/", "/etc/x"),
    ],
)  # fmt: skip
def test_a_folder_of_skills_is_named_by_its_path(home: Path, to: str, path: str) -> None:
    (home / "project" / "there").mkdir()
    place = place_of(to, "project")
    wanted = home / path
    assert place == Place(str(wanted), "project", "skill", wanted)
    assert place.target("geo") == wanted / "geo"


@pytest.mark.parametrize(
    ("to", "form", "said"),
    [
        (
            "codxe",
            "skill",
            "neither an agent .* did you mean 'codex'\\? For a new folder, write ./co",
        ),
        ("zzzzzz", "skill", "nor an existing folder; For a new folder, write ./zzzzzz"),
        ("", "skill", "nor an existing folder"),
        ("./there", "instructions", "instructions need an agent: codex or claude-code or opencode"),
        ("~nobody-of-that-name/x", "skill", "there is no such home"),
    ],
)
def test_a_word_that_is_no_place_is_refused(home: Path, to: str, form: Any, said: str) -> None:
    with pytest.raises(DeployError, match=f"--to {to}: .*{said}"):
        place_of(to, "user", form)


def test_a_project_may_be_another_folder(home: Path) -> None:
    assert place_of("codex", "project", here=home).path == home / ".agents/skills"
    assert place_of("codex", "project", "instructions", home).target("geo") == home / "AGENTS.md"


@pytest.mark.parametrize("value", ["", "relative", "/no/such/home"])
def test_a_home_must_exist_unless_the_agent_has_a_folder_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOME", value)
    with pytest.raises(DeployError, match="which is no absolute path of an existing folder"):
        place_of("codex", "user")
    assert place_of("codex", "project").path == home / "project/.agents/skills"
    monkeypatch.setenv("CODEX_HOME", str(home / "other"))
    assert place_of("codex", "user").path == home / "other/skills"


def test_each_place_of_an_agent_is_seen_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen_by("claude-code")
    assert found["home/.claude/skills"] == home / ".claude/skills"
    assert found["project/.claude/skills"] == home / "project/.claude/skills"
    assert found["project/CLAUDE.md"] == home / "project/CLAUDE.md"
    monkeypatch.chdir(home)
    again = seen_by("claude-code")
    assert sorted(again.values()) == sorted(set(again.values()))
    assert again["home/.claude/skills"] == home / ".claude/skills"
    assert "project/.claude/skills" not in again


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("SKILL.md", False), (".git", True), (".git/config", True), ("a/.git/b", True),
        ("a/x.pyc", True), ("a.pyc.txt", False), ("__pycache__/x", True), ("notes.md~", True),
    ],
)  # fmt: skip
def test_what_belongs_to_tools_is_no_part(name: str, left: bool) -> None:
    assert is_left_out(name) is left


def test_a_digest_tells_names_kinds_modes_bytes_and_links(tmp_path: Path) -> None:
    def made(number: int) -> Path:
        folder = tmp_path / str(number)
        put(folder / "a", b"x")
        put(folder / "b" / "c", b"y")
        link(folder / "d", "a")
        (folder / "e").mkdir()
        return folder

    same = {tree_digest(made(number)) for number in range(2)}
    changes = [
        lambda f: (f / "a").write_bytes(b"z"),
        lambda f: (f / "a").chmod(0o600),
        lambda f: (f / "a").rename(f / "aa"),
        lambda f: (f / "d").unlink(),
        lambda f: ((f / "d").unlink(), link(f / "d", "b")),
        lambda f: ((f / "d").unlink(), put(f / "d", b"a")),
        lambda f: ((f / "d").unlink(), put(f / "d", b"x")),
        lambda f: (f / "e").chmod(0o700),
        lambda f: ((f / "e").rmdir(), put(f / "e", b"")),
        lambda f: ((f / "e").rmdir(), os.mkfifo(f / "e")),
        lambda f: put(f / ".git" / "x"),
        lambda f: f.chmod(0o700),
    ]
    for number, change in enumerate(changes, start=2):
        folder = made(number)
        change(folder)
        same.add(tree_digest(folder))
    assert len(same) == 1 + len(changes)
    assert tree_digest(tmp_path / "none") == "" and tree_digest(tmp_path / "0" / "a") != ""
    (tmp_path / "dead").symlink_to("none")
    assert tree_digest(tmp_path / "dead") != ""


def test_what_tools_leave_is_no_change_and_counts_in_older_entries(tmp_path: Path) -> None:
    folder = put(tmp_path / "geo" / "SKILL.md").parent
    before = digest(folder)
    put(folder / ".git" / "x")
    link(tmp_path / "linked", "geo")
    assert digest(folder) == digest(tmp_path / "linked") == before
    whole = tree_digest(folder)
    assert whole != before and is_as(folder, before) and is_as(tmp_path / "linked", whole)
    assert not is_as(folder, "") and is_as(tmp_path / "none", "")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def a_hard_link(path: Path) -> None:
    os.link(put(path.parent / "other"), path)


@pytest.mark.parametrize(
    ("lay_out", "form", "refused"),
    [
        (lambda t: None, "skill", ""),
        (lambda t: t.mkdir(), "skill", ""),
        (lambda t: put(t / "SKILL.md"), "skill", ""),
        (lambda t: put(t), "instructions", ""),
        (lambda t: put(t), "skill", "at: is a file, and a folder is needed; move it away"),
        (lambda t: t.mkdir(), "instructions", "at: is a folder, and a file is needed"),
        (os.mkfifo, "instructions", "at: is a pipe, and a file is needed"),
        (a_socket, "folder", "at: is a socket, and a folder is needed"),
        (a_hard_link, "instructions", "at: has 2 hard links, of which only this one"),
        (lambda t: put(t, mode=0o444), "instructions", "at: is read-only; chmod u\\+w"),
        (lambda t: put(t, mode=0o464), "instructions", ""),
        (lambda t: put(t, mode=0o200), "instructions", "at: cannot be read; check its permissions"),
        (lambda t: t.mkdir(0o555), "skill", "at: is read-only"),
        (lambda t: t.mkdir(0o300), "skill", "at: cannot be read and replaced"),
        (lambda t: put(t / "x", mode=0o200), "skill", "at/x: cannot be read; check"),
        (lambda t: put(t / "x", mode=0o400), "skill", ""),
        (lambda t: put(t / "b" / "x").parent.chmod(0o600), "skill", "at/b: cannot be read and"),
        (lambda t: put(t / "b" / "x").parent.chmod(0o500), "skill", ""),
        (lambda t: os.mkfifo(put(t / "x").parent / "p"), "skill", "at/p: is a pipe, which cannot"),
        (lambda t: a_socket(put(t / "b" / "x").parent / "s"), "folder", "at/b/s: is a socket, wh"),
        (lambda t: os.mkfifo(put(t / ".git" / "x").parent / "p"), "skill", ""),
        (
            lambda t: [*(put(t / name / "x") for name in KEPT), os.mkfifo(t / "p")],
            "skill",
            "at/p: is a pipe",
        ),
        (lambda t: os.mkfifo(put(t / "b" / ".git" / "x").parent / "p"), "skill", "p: is a pipe"),
        (lambda t: link(t / "x", "nowhere"), "skill", ""),
        (lambda t: link(t, "none"), "skill", "at: is a link to none, which does not exist"),
        (lambda t: link(t, "at"), "skill", "at: is a link that leads to itself"),
        (lambda t: (put(t.parent / "r" / "skill.md"), link(t, "r")), "skill", ""),
        (lambda t: ((t.parent / "r").mkdir(), link(t, "r")), "skill", ""),
        (
            lambda t: (put(t.parent / "r" / "a.jpg"), link(t, "r")),
            "skill",
            "which is not a skill's",
        ),
        (lambda t: (put(t.parent / "r" / "a.jpg"), link(t, "r")), "folder", ""),
        (lambda t: put(t / "a.jpg"), "skill", ""),
    ],
)
def test_what_is_in_the_way_is_named_before_anything_is_written(
    lay_out: Any, form: Any, refused: str
) -> None:
    with own_folder() as root, ordinary_rights():
        target = root / "at"
        lay_out(target)
        try:
            if refused:
                with pytest.raises(DeployError, match=refused):
                    look(target, form)
            else:
                assert look(target, form) == Path(os.path.realpath(target))
        finally:
            for folder in (target, target / "b"):
                if folder.is_dir():
                    folder.chmod(0o700)


@pytest.mark.parametrize(
    ("lay_out", "refused"),
    [
        (lambda r: None, ""),
        (lambda r: put(r / "a"), "/a: is a file, and a folder is needed"),
        (lambda r: link(r / "a", "none"), "/a: is a link to none, which does not exist"),
        (lambda r: (r / "a").mkdir(0o555), "/a: Permission denied: nothing can be put there"),
        (lambda r: (r / "a").mkdir(0o000), "/a/b: cannot be looked at: Permission denied; check"),
        (lambda r: ((r / "c").mkdir(), link(r / "a", "c")), ""),
    ],
)
def test_each_folder_above_is_looked_at(lay_out: Any, refused: str) -> None:
    with own_folder() as root, ordinary_rights():
        lay_out(root)
        if refused:
            with pytest.raises(DeployError, match=refused):
                look(root / "a" / "b" / "geo", "skill")
        else:
            found = look(root / "a" / "b" / "geo", "skill")
            assert found == Path(os.path.realpath(root / "a")) / "b" / "geo"
