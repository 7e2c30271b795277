"""Prepared folders: how they are written of a download, and what is read of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task, named_task
from skillopt.tasks.benchmarks.base import (
    FORMAT,
    PREPARED,
    Benchmark,
    Home,
    Item,
    Kept,
    Options,
    copied,
    id_of,
    no_notes,
    safe,
)
from skillopt.tasks.benchmarks.prepare import benchmark, prepare, read_splits
from skillopt.tasks.harbor import TaskError, folder_digest

HOME = Home("https://x.org", "the file", "1 MB", "MIT")
SPLITS = {"train": ("a", "b"), "val": ("c",), "test": ()}


class Own(Options):
    setting: Literal["one", "two"] = "one"


def task(kept: Kept, options: Any) -> Task:
    if "error" in kept.row:
        raise {"value": ValueError, "attribute": AttributeError}[kept.row["error"]]("odd")
    files = sorted(file.name for file in kept.files.iterdir()) if kept.files.is_dir() else []
    said = [kept.id, kept.row, files, kept.files.name, str(kept.shared), options.setting]
    return replace(named_task(kept.id), instruction=json.dumps(said))


def reading(*items: Item) -> Any:
    return lambda download: iter(items)


def made(**changes: Any) -> Benchmark:
    base: dict[str, Any] = {"name": "own", "title": "Own", "home": HOME, "read": reading(),
                            "task": task, "options": Own}  # fmt: skip
    return Benchmark(**{**base, **changes})


def a_folder(folder: Path, *lines: str, **about: Any) -> Path:
    """A prepared folder, whose training split has these lines."""
    folder.mkdir()
    content = {"format": FORMAT, "benchmark": "own", "counts": {}, "missing": [], "shared": ""}
    (folder / PREPARED).write_text(json.dumps(content | about))
    for split in SPLITS:
        (folder / f"{split}.jsonl").write_text("")
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def line(id: str, digest: str = "", **row: Any) -> str:
    return json.dumps({"id": id, "row": row, "digest": digest})


def loaded(folder: Path, own: Benchmark | None = None, **options: Any) -> tuple[Task, ...]:
    config = TasksConfig(source="own", path=str(folder))
    found = (own or made()).source(config, folder, **options)
    assert list(found) == list(SPLITS)
    return found["train"]


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("a.b_c-9", "a.b_c-9"), ("a/b c:d", "a-b-c-d"), ("..x.y", "x.y"), ("", "-"), ("...", "-"),
        ("\u00e4", "\u00e4"),
    ],
)  # fmt: skip
def test_an_id_is_made_the_name_of_a_folder(id: str, name: str) -> None:
    assert safe(id) == name


def test_an_entry_of_a_split_is_an_id_or_has_one() -> None:
    assert [id_of(entry) for entry in ("a", 7, {"id": 8, "x": 1})] == ["a", "7", "8"]
    lists: dict[str, Any] = {"train": ["a", {"id": "b"}], "val": (3,), "test": []}
    assert made().split_ids({"splits": lists}) == {"train": ("a", "b"), "val": ("3",), "test": ()}
    own = made(entry_id=lambda entry: f"own {entry}")
    assert own.split_ids({"splits": {**lists, "train": ["a"]}})["train"] == ("own a",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "TypeError"),
        ({}, "KeyError: 'splits'"),
        ({"splits": {"train": [], "val": []}}, "KeyError: 'test'"),
        ({"splits": {"train": "a", "val": [], "test": []}}, "expected a list and not 'a'"),
        ({"splits": {"train": [["a"]], "val": [], "test": []}}, r"expected an id and not \['a'\]"),
        ({"splits": {"train": [None], "val": [], "test": []}}, "expected an id and not None"),
        ({"splits": {"train": [{"x": 1}], "val": [], "test": []}}, "KeyError: 'id'"),
    ],
)
def test_splits_of_another_form_are_refused(values: Any, said: str) -> None:
    with pytest.raises(TaskError, match=rf"needs 'splits' with train, val and test.*{said}"):
        made().split_ids(values)


def test_an_item_is_named_once() -> None:
    ids = [str(n) for n in range(12)]
    values = {"splits": {"train": ids, "val": ids[:11], "test": [ids[11], "x"]}}
    with pytest.raises(TaskError) as raised:
        made().split_ids(values)
    assert str(raised.value).endswith(f"; 12 are named again: {', '.join(ids[:10])}")


def test_a_task_gets_its_row_files_and_what_is_shared(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "made", line("a/1", "d1", x=1), line("b", y="\u2028"))
    (folder / "files" / "a-1").mkdir(parents=True)
    (folder / "files" / "a-1" / "page").touch()
    one, other = loaded(folder, setting="two")
    shared = str(folder / "shared")
    assert json.loads(one.instruction) == ["a/1", {"x": 1}, ["page"], "a-1", shared, "two"]
    assert json.loads(other.instruction) == ["b", {"y": "\u2028"}, [], "b", shared, "two"]


def test_blank_lines_are_no_items(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "made", line("a"), "", line("b"), line("c", error="value"))
    with pytest.raises(TaskError, match=r"train\.jsonl: line 3: is not as it was prepared: Val"):
        loaded(folder)
    (folder / "train.jsonl").write_text(f"\n{line('a')}\n\n{line('b')}")
    assert [task.name for task in loaded(folder)] == ["a", "b"]
    (folder / "train.jsonl").write_text("")
    assert loaded(folder) == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"id": ', "JSONDecodeError"), ('{"id": "a"}', "KeyError"), ("[1]", "TypeError"),
        (line("a", error="attribute"), "AttributeError"),
        (line("a", error="value"), "ValueError"),
    ],
)  # fmt: skip
def test_a_line_that_was_changed_is_named(text: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=rf"line 2: is not as it was prepared: {error}"):
        loaded(a_folder(tmp_path / "made", line("b"), text))


def test_a_split_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "made")
    (folder / "val.jsonl").write_bytes(b"\xff")
    with pytest.raises(TaskError, match=r"val\.jsonl: .*prepare it again"):
        loaded(folder)
    (folder / "val.jsonl").unlink()
    with pytest.raises(TaskError, match=r"val\.jsonl: .*prepare it again"):
        loaded(folder)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"benchmark": "other"}, "was prepared for other, format 1, and not for own, format 1"),
        ({"format": 2}, "was prepared for own, format 2, and not for own, format 1"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    about: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=said):
        loaded(a_folder(tmp_path / "made", **about))


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1, "benchmark": "own"}', "5"])
def test_a_folder_that_says_too_little_is_refused(content: str, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "made", missing=[], more=1)
    assert made().about(folder)["more"] == 1
    (folder / PREPARED).write_text(content)
    said = "lacks one of benchmark, counts, format, missing, shared; prepare it again"
    with pytest.raises(TaskError, match=said):
        made().about(folder)
    for spoil in (lambda: (folder / PREPARED).write_text("{"), (folder / PREPARED).unlink):
        spoil()
        with pytest.raises(TaskError, match="make the folder with 'skillopt data prepare own'"):
            made().about(folder)


def test_a_task_changes_with_all_that_decides_it(tmp_path: Path) -> None:
    def digest(
        own: Benchmark | None = None, shared: str = "", digest: str = "", setting: str = "one",
        row: int = 1,
    ) -> str:  # fmt: skip
        folder = tmp_path / f"made{len([*tmp_path.iterdir()])}"
        a_folder(folder, line("a", digest, x=row), shared=shared)
        (folder / "files" / "a").mkdir(parents=True)
        return loaded(folder, own, setting=setting)[0].digest

    found = [
        digest(), digest(shared="s"), digest(digest="d"), digest(setting="two"), digest(row=2),
        digest(made(version=2)),
    ]  # fmt: skip
    assert len(set(found)) == len(found) and digest() == found[0] and all(found)


def test_files_that_are_gone_are_told(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "made", line("a", "d"))
    with pytest.raises(TaskError, match=r"files/a: is missing; prepare own again"):
        loaded(folder)
    with pytest.raises(TaskError, match=r"tasks\.path: own needs a folder that 'skillopt data pre"):
        made().source(TasksConfig(source="own"), tmp_path)


def test_a_workspace_is_a_copy_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    (tmp_path / "source" / "sub" / "a").write_text("x")
    (tmp_path / "target").mkdir()
    copied(tmp_path / "source")(tmp_path / "target")
    assert (tmp_path / "target" / "sub" / "a").read_text() == "x"


def test_splits_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    file, folder = tmp_path / "splits.json", tmp_path / "splits"
    file.write_text(json.dumps({"splits": SPLITS}))
    for split, ids in SPLITS.items():
        (folder / split).mkdir(parents=True)
        (folder / split / "items.json").write_text(json.dumps([{"id": id} for id in ids]))
    assert read_splits(made(), file) == read_splits(made(), folder) == SPLITS
    (folder / "val" / "items.json").write_text("{")
    file.write_text('{"splits": []}')
    for path in (file, folder, tmp_path / "none"):
        with pytest.raises(TaskError, match=rf"{path}: "):
            read_splits(made(), path)


def test_a_benchmark_has_a_name() -> None:
    assert benchmark("searchqa").name == "searchqa"
    with pytest.raises(TaskError, match="no benchmark 'own'; there are: searchqa, "):
        benchmark("own")


def test_a_download_becomes_a_folder(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "x").write_text("x")
    (tmp_path / "file").write_text("f")
    files: Mapping[str, Path | bytes] = {
        "b": b"b", "sub/f": tmp_path / "file", "part": tmp_path / "part"
    }  # fmt: skip
    items = [Item("c", {"n": 3}), Item("b", {"n": "\u00fc"}, files), Item("other", {}),
             Item("a", {"n": 1})]  # fmt: skip
    seen: list[Any] = []

    def notes(found: Any) -> list[str]:
        seen.append({split: [item.id for item in of] for split, of in found.items()})
        return ["a note"]

    own = made(read=reading(*items), notes=notes)
    splits: Any = {"train": ("b", "x", "a"), "val": ("c",), "test": ("y",)}
    target = tmp_path / "new" / "made"
    done = prepare(own, tmp_path / "file", target, splits)
    assert done.folder == target and done.counts == {"train": 2, "val": 1, "test": 0}
    assert done.missing == ("x", "y") and done.notes == ("a note",)
    assert seen == [{"train": ["b", "a"], "val": ["c"], "test": []}]
    assert json.loads((target / PREPARED).read_text()) == {
        "format": 1, "benchmark": "own", "counts": {"train": 2, "val": 1, "test": 0},
        "missing": ["x", "y"], "notes": ["a note"], "shared": "",
    }  # fmt: skip
    kept = target / "files" / "b"
    lines = [
        {"id": "b", "row": {"n": "\u00fc"}, "digest": folder_digest(kept)},
        {"id": "a", "row": {"n": 1}, "digest": ""},
    ]
    text = (target / "train.jsonl").read_text("utf-8")
    assert text == "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
    assert (target / "test.jsonl").read_text() == ""
    assert (kept / "b").read_bytes() == b"b" and (kept / "sub" / "f").read_text() == "f"
    assert (kept / "part" / "x").read_text() == "x"
    assert [one.name for one in (target / "files").iterdir()] == ["b"]
    assert not (target / "shared").exists() and [*target.parent.iterdir()] == [target]


def test_the_papers_splits_are_taken_if_none_are_given(tmp_path: Path) -> None:
    own = made(read=reading(Item("a", {})))
    own.__dict__["splits"] = SPLITS
    done = prepare(own, tmp_path, tmp_path / "made")
    assert done.counts == {"train": 1, "val": 0, "test": 0} and done.missing == ("b", "c")
    assert done.notes == () and no_notes({}) == []


def test_what_cannot_be_prepared_leaves_nothing(tmp_path: Path) -> None:
    def broken(download: Path) -> Mapping[str, Path]:
        raise TaskError("odd")

    (tmp_path / "there").mkdir()
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\n")
    before = sorted(tmp_path.iterdir())
    splits: Any = SPLITS
    for own, download, target, said in (
        (made(), tmp_path, "there", "there: already exists; name another folder with --to"),
        (made(), tmp_path / "none", "made", "none: no such file or folder; give the download"),
        (made(read=reading(Item("x", {}))), tmp_path / "there", "made",
         "has none of the 3 items; is it the file"),
        (made(), tmp_path / "pointer", "made", "is a pointer of Git LFS"),
        (made(read=reading(Item("a", {})), shared=broken), tmp_path / "there", "made", "odd"),
    ):  # fmt: skip
        with pytest.raises(TaskError, match=said):
            prepare(own, download, tmp_path / target, splits)
        assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[tuple[Path, Benchmark]]:
    """A download with a folder that all items share."""
    root = tmp_path / "download"
    (root / "corpus" / "sub").mkdir(parents=True)
    for name, mode in (("a", 0o644), ("sub/b", 0o640), ("c", 0o444)):
        (root / "corpus" / name).write_text(name)
        (root / "corpus" / name).chmod(mode)
    (root / "corpus" / "link").symlink_to(root / "corpus" / "c")
    (root / "index").write_text("i")
    (root / "index").chmod(0o644)

    def shared(download: Path) -> Mapping[str, Path]:
        return {"corpus": root / "corpus", "index.txt": root / "index"}

    before = os.umask(0o077)
    yield root, made(read=reading(Item("a", {})), shared=shared)
    os.umask(before)


def test_what_is_shared_is_linked_or_copied_so_that_all_can_read_it(
    sharing: tuple[Path, Benchmark], tmp_path: Path
) -> None:
    root, own = sharing
    splits: Any = SPLITS
    made = prepare(own, root, tmp_path / "made", splits).folder
    kept, source = made / "shared" / "corpus", root / "corpus"
    same = {name: (kept / name).samefile(source / name) for name in ("a", "sub/b", "c", "link")}
    assert same == {"a": True, "sub/b": False, "c": True, "link": True}
    assert not (kept / "link").is_symlink() and (kept / "sub" / "b").read_text() == "sub/b"
    assert (kept / "sub" / "b").stat().st_mode & 0o777 == 0o644
    assert (made / "shared" / "index.txt").read_text() == "i"
    for folder in (made / "shared", kept, kept / "sub"):
        assert folder.stat().st_mode & 0o777 == 0o755
    about = json.loads((made / PREPARED).read_text())
    assert about["shared"] == folder_digest(made / "shared")


def test_what_cannot_be_linked_is_copied(
    sharing: tuple[Path, Benchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", link)
    root, own = sharing
    splits: Any = SPLITS
    kept = prepare(own, root, tmp_path / "made", splits).folder / "shared" / "corpus" / "c"
    assert kept.read_text() == "c" and not kept.samefile(root / "corpus" / "c")
    assert kept.stat().st_mode & 0o777 == 0o644
