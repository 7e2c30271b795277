"""Folders that a generator writes: moved to their place whole, and left alone if they are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skillopt.tasks.generated import generated, put, whole_folder
from skillopt.tasks.harbor import TaskError, folder_digest

FILES = {"task.toml": "", "tests/answer.txt": "food\n"}


def write(folder: Path, seed: int) -> None:
    for split in ("train", "val", "test"):
        for name, text in {**FILES, "instruction.md": f"What is {split} {seed}?\n"}.items():
            place = folder / split / f"of-{split}" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def test_a_set_is_written_once_for_its_content(tmp_path: Path) -> None:
    target = tmp_path / "new" / "set"
    made = generated(write, target, 7)
    names = {split: [task.name for task in tasks] for split, tasks in made.items()}
    assert names == {
        "train": ["of-train"], "val": ["of-val"], "test": ["of-test"]
    }  # fmt: skip
    assert made["train"][0].instruction == "What is train 7?"
    before = target.stat().st_ino
    assert generated(write, target, 7) == made and target.stat().st_ino == before
    other = generated(write, target, 8)
    assert other["train"][0].instruction == "What is train 8?" and target.stat().st_ino != before
    assert [*target.parent.iterdir()] == [target]


def test_a_generator_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path, seed: int) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        generated(fail, tmp_path / "set", 7)
    assert [*tmp_path.iterdir()] == []


def a_folder(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "a").write_text(text)
    return folder


def no_link(folder: Path) -> None:
    (folder / "out").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "spoil", [lambda folder: (folder / "b").touch(), no_link], ids=["more", "link"]
)
def test_what_is_something_else_is_replaced(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    target = a_folder(tmp_path / "target", "right")
    spoil(target)
    fresh = a_folder(tmp_path / "fresh", "right")
    put(fresh, target, folder_digest(fresh))
    assert [file.name for file in target.iterdir()] == ["a"] and not fresh.exists()


def test_what_is_right_is_left(tmp_path: Path) -> None:
    target, fresh = a_folder(tmp_path / "target", "right"), a_folder(tmp_path / "fresh", "right")
    before = target.stat().st_ino
    put(fresh, target, folder_digest(fresh))
    assert target.stat().st_ino == before and fresh.exists()


def test_another_process_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(text: str) -> Callable[[Path, Path], Path]:
        def rename(self: Path, target: Path) -> Path:
            a_folder(target, text)
            raise OSError("not empty")

        return rename

    fresh = a_folder(tmp_path / "fresh", "right")
    digest = folder_digest(fresh)
    monkeypatch.setattr(Path, "rename", slower("right"))
    put(fresh, tmp_path / "one", digest)
    assert (tmp_path / "one" / "a").read_text() == "right"
    monkeypatch.setattr(Path, "rename", slower("wrong"))
    with pytest.raises(OSError, match="not empty"):
        put(fresh, tmp_path / "other", digest)


def test_a_whole_folder_has_a_new_place(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "out"
    with whole_folder(target) as fresh:
        assert fresh.name == "out" and fresh.parent.parent == target.parent
        assert fresh.parent.name.startswith(".out.") and not target.exists()
        a_folder(fresh, "x")
    assert (target / "a").read_text() == "x" and [*target.parent.iterdir()] == [target]
    (tmp_path / "link").symlink_to("nowhere")
    for there in (target, tmp_path / "link"):
        with pytest.raises(TaskError, match="already exists; name another"), whole_folder(there):
            pass
