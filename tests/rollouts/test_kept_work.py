"""An agent's work comes back as it was left: contents, modes, links, deletions."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from skillopt.rollouts import kept_work
from skillopt.rollouts.kept_work import (
    ARCHIVE,
    MANIFEST,
    NotKeptError,
    keep_nothing,
    keep_work,
    restore_work,
    snapshot,
    why_not,
)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder that a verifier could notice."""
    found: dict[str, tuple[object, ...]] = {".": (stat.S_IMODE(root.stat().st_mode),)}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        content: object = None
        if path.is_symlink():
            content, mode = os.readlink(path), stat.S_IFLNK
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (mode, content)
    return found


def first(folder: Path) -> Path:
    """A first workspace."""
    root = folder / "first"
    for name in ("same.txt", "changed.txt", "removed.txt", "run.sh", "d/inner.txt", "gone/a/b.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "empty").mkdir()
    (root / "link").symlink_to("same.txt")
    (root / "becomes-link").mkdir()
    (root / "becomes-link" / "x").write_text("x")
    (root / "becomes-folder").write_text("x")
    return root


def nothing(root: Path) -> None:
    pass


def everything(root: Path) -> None:
    (root / "changed.txt").write_text("changed!txt")
    (root / "removed.txt").unlink()
    (root / "run.sh").chmod(0o755)
    shutil.rmtree(root / "gone")
    (root / "empty").rmdir()
    (root / "new" / "deep").mkdir(parents=True)
    (root / "new" / "deep" / "file").write_bytes(bytes(range(256)))
    (root / "new" / "empty").mkdir(mode=0o700)
    (root / "link").unlink()
    (root / "link").symlink_to("/app/changed.txt")
    (root / "to-nowhere").symlink_to("../../nowhere")
    shutil.rmtree(root / "becomes-link")
    (root / "becomes-link").symlink_to("d")
    (root / "becomes-folder").unlink()
    (root / "becomes-folder").mkdir()
    (root / "becomes-folder" / "y").write_text("y")
    os.link(root / "changed.txt", root / "other-name.txt")
    (root / os.fsdecode(b"odd \xff\nname")).write_text("odd")
    (root / "same-but-private").write_text("x")
    (root / "same-but-private").chmod(0o600)
    root.chmod(0o777)


def read_only(root: Path) -> None:
    (root / "d" / "added.txt").write_text("x")
    (root / "d" / "inner.txt").chmod(0o444)
    (root / "d").chmod(0o555)
    (root / "new").mkdir()
    (root / "new" / "file").write_text("x")
    (root / "new").chmod(0o500)


def all_gone(root: Path) -> None:
    for path in root.iterdir():
        path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)


@pytest.mark.parametrize("work", [nothing, everything, read_only, all_gone])
def test_it_comes_back_as_it_was(work: Callable[[Path], None], tmp_path: Path) -> None:
    before = first(tmp_path)
    after, again = tmp_path / "after", tmp_path / "again"
    shutil.copytree(before, after, symlinks=True)
    shutil.copytree(before, again, symlinks=True)
    taken = snapshot(before)
    work(after)
    keep_work(taken, after, taken.altered(after), tmp_path)
    assert why_not(tmp_path) == ""
    restore_work(tmp_path, again)
    assert tree(again) == tree(after)


def kept(folder: Path, work: Callable[[Path], object]) -> Path:
    """The work on a first workspace, kept; returns a copy of that workspace."""
    before = first(folder)
    after, again = folder / "after", folder / "again"
    shutil.copytree(before, after, symlinks=True)
    shutil.copytree(before, again, symlinks=True)
    taken = snapshot(before)
    work(after)
    keep_work(taken, after, taken.altered(after), folder)
    return again


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        (lambda root: os.mkfifo(root / "pipe"), "'pipe' is neither a file nor a folder"),
        (lambda root: os.truncate(root / "same.txt", 70 * 2**20), "changed files of 73400320"),
    ],
)
def test_what_cannot_be_kept_as_a_whole_is_not_kept_at_all(
    work: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    again = kept(tmp_path, work)
    assert problem in why_not(tmp_path) and not (tmp_path / ARCHIVE).exists()
    with pytest.raises(NotKeptError, match="run it again"):
        restore_work(tmp_path, again)


def test_another_first_workspace_is_noticed(tmp_path: Path) -> None:
    again = kept(tmp_path, everything)
    (again / "same.txt").write_text("other")
    with pytest.raises(NotKeptError, match="no longer the one that the agent got"):
        restore_work(tmp_path, again)


def test_a_rollout_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    assert "an earlier version ran it" in why_not(tmp_path)


@pytest.mark.parametrize("name", ["../out", "/tmp/skillopt-out", "becomes-link/x", "a/../../out"])
def test_an_archive_that_was_changed_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    again = kept(tmp_path, everything)
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as tar:
        link = tarfile.TarInfo("becomes-link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(NotKeptError):
        restore_work(tmp_path, again)
    assert not (tmp_path / "out").exists() and not (tmp_path / "x").exists()
    assert not Path("/tmp/skillopt-out").exists()


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    again = kept(tmp_path, everything)
    (tmp_path / ARCHIVE).write_bytes((tmp_path / ARCHIVE).read_bytes()[:50])
    with pytest.raises(NotKeptError, match=r"work\.tar\.gz: cannot be read"):
        restore_work(tmp_path, again)


def test_modes_that_run_a_program_as_another_user_do_not_come_back(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        (root / "run.sh").write_text("new")
        (root / "run.sh").chmod(0o4755)

    again = kept(tmp_path, work)
    restore_work(tmp_path, again)
    assert stat.S_IMODE((again / "run.sh").stat().st_mode) == 0o755


def test_the_number_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_work, "MOST_ENTRIES", 5)
    kept(tmp_path, nothing)
    assert "more than 5 files and folders" in why_not(tmp_path)


def test_altered_are_the_regular_files_that_are_new_or_have_another_content(
    tmp_path: Path,
) -> None:
    root = first(tmp_path)
    taken = snapshot(root)
    assert taken.altered(root) == frozenset()
    everything(root)
    # Modes, links and folders are no contents.
    odd = os.fsdecode(b"odd \xff\nname")
    assert taken.altered(root) == {
        "changed.txt", "other-name.txt", "new/deep/file", "becomes-folder/y", odd,
        "same-but-private",
    }  # fmt: skip


def test_the_digest_of_a_first_workspace_is_that_of_earlier_versions(tmp_path: Path) -> None:
    root = first(tmp_path)
    (root / os.fsdecode(b"odd \xff")).write_text("odd")
    (root / "run.sh").chmod(0o755)
    assert (
        snapshot(root).digest == "d66408cc7f2012ff79d2395639ad5dda1334cefda088c2ddd82879f1ab8b3dff"
    )


def test_a_first_workspace_that_cannot_be_kept_still_shows_what_was_altered(
    tmp_path: Path,
) -> None:
    root = first(tmp_path)
    os.mkfifo(root / "pipe")
    taken = snapshot(root)
    assert "'pipe' is neither a file nor a folder" in taken.problem
    (root / "changed.txt").write_text("changed!txt")
    assert taken.altered(root) == {"changed.txt"}
    keep_work(taken, root, taken.altered(root), tmp_path)
    assert "'pipe' is neither" in why_not(tmp_path) and not (tmp_path / ARCHIVE).exists()


@pytest.mark.parametrize(
    ("name", "most", "work", "problem"),
    [
        ("WORK_BYTES", 5, lambda root: (root / "new").write_text("12345"), ""),
        (
            "WORK_BYTES",
            4,
            lambda root: (root / "new").write_text("12345"),
            "the agent changed files of 5 bytes, and at most 4 are kept",
        ),
        ("FIRST_BYTES", 61, nothing, ""),
        ("FIRST_BYTES", 60, nothing, "the first workspace has 61 bytes, and at most 60"),
        ("MOST_ENTRIES", 14, nothing, ""),
        ("MOST_ENTRIES", 13, nothing, "more than 13 files and folders"),
    ],
)
def test_what_is_kept_has_limits(
    name: str,
    most: int,
    work: Callable[[Path], object],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = first(tmp_path / "counted")
    sizes = [p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    assert (sum(sizes), len([*root.rglob("*")])) == (61, 14)
    monkeypatch.setattr(kept_work, name, most)
    kept(tmp_path, work)
    assert problem in why_not(tmp_path) and bool(why_not(tmp_path)) is bool(problem)
    assert (tmp_path / ARCHIVE).exists() is not bool(problem)


def archived(folder: Path) -> set[str]:
    with tarfile.open(folder / ARCHIVE) as tar:
        return set(tar.getnames())


@pytest.mark.parametrize(
    ("work", "names", "removed"),
    [
        (nothing, set(), []),
        (lambda root: (root / "run.sh").chmod(0o700), {"run.sh"}, []),
        (lambda root: (root / "d").chmod(0o700), {"d"}, []),
        (lambda root: (root / "d" / "inner.txt").write_text("x"), {"d/inner.txt"}, []),
        (lambda root: (root / "removed.txt").unlink(), set(), ["removed.txt"]),
        (
            lambda root: shutil.rmtree(root / "gone"),
            set(),
            ["gone", "gone/a", "gone/a/b.txt"],
        ),
        (lambda root: relinked(root / "link", "changed.txt"), {"link"}, []),
        (lambda root: relinked(root / "link", "same.txt"), set(), []),
        (lambda root: relinked(root / "same.txt", "link"), {"same.txt"}, []),
        (lambda root: (root / "new").mkdir(), {"new"}, []),
    ],
)
def test_only_what_was_changed_is_archived(
    work: Callable[[Path], object], names: set[str], removed: list[str], tmp_path: Path
) -> None:
    kept(tmp_path, work)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert archived(tmp_path) == names and manifest["removed"] == removed
    assert manifest["format"] == 1 and manifest["problem"] == ""
    assert (kept_work.WORK_BYTES, kept_work.FIRST_BYTES) == (64 * 2**20, 256 * 2**20)
    assert manifest["mode"] == stat.S_IMODE((tmp_path / "after").stat().st_mode)


def relinked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def test_why_work_cannot_be_judged_again(tmp_path: Path) -> None:
    kept(tmp_path, nothing)
    assert why_not(tmp_path) == ""
    (tmp_path / ARCHIVE).unlink()
    assert why_not(tmp_path) == "work.tar.gz is missing"
    keep_nothing(tmp_path, "it was handed over")
    assert why_not(tmp_path) == "the agent's work was not kept as a whole: it was handed over"
    (tmp_path / MANIFEST).unlink()
    (tmp_path / MANIFEST).mkdir()
    assert why_not(tmp_path).startswith("its files cannot be read: ")


def test_a_workspace_that_cannot_be_read_again_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = first(tmp_path)
    taken = snapshot(root)
    (root / "new").write_text("x")

    def add(*arguments: object) -> None:
        raise OSError(5, "cannot be read", f"{root}/new")

    monkeypatch.setattr(kept_work, "add", add)
    keep_work(taken, root, taken.altered(root), tmp_path)
    assert why_not(tmp_path).endswith("[Errno 5] cannot be read: '" + "new'")
    assert not (tmp_path / ARCHIVE).exists()


@pytest.mark.parametrize("mode", [0o500, 0o300, 0o600, 0o000])
def test_a_folder_that_its_owner_may_not_use_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        (root / "d" / "inner.txt").write_text("other")

    before = first(tmp_path)
    (before / "d").chmod(mode)
    taken = snapshot(before)
    after, again = tmp_path / "after", tmp_path / "again"
    shutil.copytree(before, after, symlinks=True)
    shutil.copytree(before, again, symlinks=True)
    work(after)
    keep_work(taken, after, taken.altered(after), tmp_path)
    if why_not(tmp_path):  # Nobody but root may read it.
        return
    restore_work(tmp_path, again)
    assert tree(again) == tree(after)


def test_times_come_back(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        (root / "new").write_text("x")
        os.utime(root / "new", (1000, 1000))

    again = kept(tmp_path, work)
    restore_work(tmp_path, again)
    assert (again / "new").stat().st_mtime == 1000


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda root: (root / "run.sh").chmod(0o700), False),
        (lambda root: (root / "same.txt").chmod(0o600), True),
        (lambda root: relinked(root / "link", "d"), False),
        (lambda root: (root / "same.txt").write_text("same_txt"), False),
        (lambda root: (root / "new").mkdir(), False),
        (lambda root: (root / "empty").rmdir(), False),
        (lambda root: os.mkfifo(root / "pipe"), False),
    ],
)
def test_a_first_workspace_is_the_same_by_names_kinds_contents_and_programs(
    change: Callable[[Path], object], same: bool, tmp_path: Path
) -> None:
    again = kept(tmp_path, nothing)
    change(again)
    if same:
        restore_work(tmp_path, again)
    else:
        with pytest.raises(NotKeptError, match="no longer the one"):
            restore_work(tmp_path, again)


def test_a_link_to_a_folder_that_is_closed_stays_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    before = first(tmp_path)
    (before / "away").symlink_to(outside)
    taken = snapshot(before)
    after, again = tmp_path / "after", tmp_path / "again"
    shutil.copytree(before, after, symlinks=True)
    shutil.copytree(before, again, symlinks=True)
    keep_work(taken, after, taken.altered(after), tmp_path)
    restore_work(tmp_path, again)
    assert outside.stat().st_mode & 0o777 == 0o500 and tree(again) == tree(after)


def becomes_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")
    folder.chmod(0o640)


def becomes_a_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("d")


@pytest.mark.parametrize("work", [shutil.rmtree, becomes_a_file, becomes_a_link])
def test_the_mode_of_a_closed_folder_goes_with_it(
    work: Callable[[Path], None], tmp_path: Path
) -> None:
    before = first(tmp_path)
    (before / "gone").chmod(0o500)
    taken = snapshot(before)
    after, again = tmp_path / "after", tmp_path / "again"
    shutil.copytree(before, after, symlinks=True)
    shutil.copytree(before, again, symlinks=True)
    (after / "gone").chmod(0o700)
    work(after / "gone")
    keep_work(taken, after, taken.altered(after), tmp_path)
    restore_work(tmp_path, again)
    assert tree(again) == tree(after) and (again / "d").stat().st_mode & 0o777 != 0o500


def test_folders_are_closed_again_from_the_deepest_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = first(tmp_path)
    for name in ("gone/a", "gone"):
        (before / name).chmod(0o500)
    taken = snapshot(before)
    again = tmp_path / "again"
    shutil.copytree(before, again, symlinks=True)
    keep_work(taken, before, taken.altered(before), tmp_path)
    chmod, seen = Path.chmod, list[tuple[str, int]]()

    def changed(path: Path, mode: int) -> None:
        seen.append((str(path.relative_to(again)), mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", changed)
    restore_work(tmp_path, again)
    assert [one for one in seen if one[1] == 0o500] == [("gone/a", 0o500), ("gone", 0o500)]
    assert [one for one in seen if one[1] == 0o700] == [("gone", 0o700), ("gone/a", 0o700)]


@pytest.mark.parametrize("mode", [0o444, 0o555, 0o644, 0o711, 0o640])
def test_a_program_is_what_its_owner_may_run(mode: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o755)
    programs = snapshot(tmp_path).digest
    (tmp_path / "file").chmod(mode)
    assert (snapshot(tmp_path).digest == programs) is bool(mode & 0o100)
