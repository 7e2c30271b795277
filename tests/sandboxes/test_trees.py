"""Untrusted folders: rights first, then what must not be there; whatever was done to them."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.trees import entries_below, make_harmless, remove_tree

modes = st.integers(0, 0o7777)
kinds = st.sampled_from(["file", "folder", "pipe", "link", "socket"])


def make(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("x")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(path.name)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))


@given(
    entries=st.lists(st.tuples(st.integers(0, 5), kinds, modes), max_size=12),
    links=st.booleans(),
    top=modes,
)
def test_everything_that_is_left_can_be_read_and_nothing_else_is_left(
    entries: list[tuple[int, str, int]], links: bool, top: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        root.mkdir()
        folders, made = [root], []
        for number, (where, kind, mode) in enumerate(entries):
            path = folders[where % len(folders)] / f"{kind}{number}"
            make(path, kind)
            made.append((path, kind, mode))
            if kind == "folder":
                folders.append(path)
        for path, kind, mode in reversed([(root, "folder", top), *made]):
            if kind != "link":
                path.chmod(mode)
        gone = ("pipe", "socket") if links else ("pipe", "socket", "link")
        removed = make_harmless(root, links=links)
        expected = [path for path, kind, _ in made if kind in gone]
        assert removed == sorted(str(path.relative_to(root)) for path in expected)
        left = {entry.path for entry in entries_below(root)}
        assert left == {str(path) for path, kind, _ in made if kind not in gone}
        for path, kind, _ in made:
            if kind == "file":
                assert path.read_text() == "x" and not path.stat().st_mode & 0o6000
            elif kind == "folder":
                assert stat.S_IMODE(path.stat().st_mode) & 0o700 == 0o700


def test_names_of_what_is_removed_can_be_printed_and_encoded(tmp_path: Path) -> None:
    os.mkfifo(os.fsencode(tmp_path) + b"/\xff\n\x1b[31m")
    (name,) = make_harmless(tmp_path)
    assert name.encode().isascii() is False and name.startswith("\\xff") and "\x1b" not in name


def test_what_has_no_path_is_removed_with_its_folder(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "kept").write_text("x")
    here = os.open(top, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert len(make_harmless(top)) == 1
    assert (top / "kept").read_text() == "x"
    assert all(len(entry.path) < 4096 for entry in entries_below(top))


@pytest.mark.parametrize("mode", [0, 0o111, 0o444, 0o555])
def test_a_tree_of_any_rights_is_removed(tmp_path: Path, mode: int) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "f").write_text("x")
    (top / "a" / "b").chmod(mode)
    (top / "a").chmod(mode)
    remove_tree(top)
    assert not top.exists()


@pytest.mark.parametrize(
    ("mode", "file", "folder"),
    [
        (0o4755, 0o755, 0o4755), (0o2755, 0o755, 0o2755), (0o6777, 0o777, 0o6777),
        (0o1644, 0o1644, 0o1744), (0, 0o600, 0o700), (0o055, 0o655, 0o755),
    ],
)  # fmt: skip
def test_what_would_give_its_rights_to_whoever_runs_it_does_not(
    mode: int, file: int, folder: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        (tmp_path / name).chmod(mode)
    assert make_harmless(tmp_path) == []
    found = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")]
    assert found == [file, folder]


@pytest.mark.parametrize("kind", ["folder", "file", "nothing"])
def test_of_a_link_only_itself_is_removed(kind: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    if kind == "folder":
        there.mkdir()
        (there / "inner").write_text("x")
        (there / "inner").chmod(0o400)
        there.chmod(0o500)
    elif kind == "file":
        there.write_text("x")
        there.chmod(0o400)
    (tmp_path / "to").symlink_to("there")
    before = [(path, path.stat().st_mode) for path in tmp_path.glob("there/**") if path.exists()]
    remove_tree(tmp_path / "to")
    assert not (tmp_path / "to").is_symlink() and there.exists() is (kind != "nothing")
    assert before == [(path, path.stat().st_mode) for path, _ in before]
    if kind != "nothing":
        assert stat.S_IMODE(there.stat().st_mode) == (0o500 if kind == "folder" else 0o400)
