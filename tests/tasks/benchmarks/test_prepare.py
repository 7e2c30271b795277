"""``skillopt data``: what is said of a download, what is refused, what is left behind."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from skillopt.config.kinds import BENCHMARKS
from skillopt.config.schema import TasksConfig
from skillopt.tasks.benchmarks.base import PREPARED
from skillopt.tasks.benchmarks.prepare import benchmark, prepare
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.literals import literals_of
from skillopt.tasks.sources import load_splits
from tests.helpers.benchmark_sets import write
from tests.helpers.command_line import skillopt

PAPER = {
    "searchqa": (400, 200, 1400),
    "livemath": (35, 17, 125),
    "docvqa": (107, 53, 374),
    "officeqa": (50, 24, 172),
    "spreadsheetbench": (80, 40, 280),
    "alfworld": (39, 18, 134),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_papers_splits(name: str) -> None:
    splits = benchmark(name).splits
    assert tuple(len(ids) for ids in splits.values()) == PAPER[name]
    ids = [id for of_split in splits.values() for id in of_split]
    assert len(set(ids)) == len(ids), "no item is in two splits"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_to_get_is_said_and_nothing_else_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = skillopt("data", "prepare", name)
    assert done.returncode == 2 and "--from" in done.stderr
    home = benchmark(name).home
    for text in (home.url, home.get, home.size, home.terms):
        assert text in done.stdout
    assert not [*tmp_path.iterdir()]


def test_all_are_listed_with_what_is_there(tmp_path: Path) -> None:
    download, splits = write("livemath", tmp_path)
    given = ("--from", download, "--splits", splits, "--to", tmp_path / "data" / "livemath")
    assert skillopt("data", "prepare", "livemath", *given).returncode == 0
    rows = json.loads(skillopt("data", "list", "--json", "--in", tmp_path / "data").stdout)
    states = {row["name"]: row["state"] for row in rows}
    assert list(states) == list(BENCHMARKS)
    assert "4/4/4" in states.pop("livemath") and set(states.values()) == {"not prepared"}


def test_missing_ids_are_listed(tmp_path: Path) -> None:
    download, splits = write("livemath", tmp_path)
    shutil.rmtree(download / "data" / "202512")
    target = tmp_path / "made"
    done = skillopt(
        "data", "prepare", "livemath", "--from", download, "--splits", splits, "--to", target
    )
    assert done.returncode == 0 and "missing: 6 ids" in done.stdout
    assert len(json.loads((target / PREPARED).read_text())["missing"]) == 6


def nothing_there(folder: Path) -> None:
    shutil.rmtree(folder / "download")


def nothing_in_it(folder: Path) -> None:
    nothing_there(folder)
    (folder / "download").mkdir()


def half_a_file(folder: Path) -> None:
    for file in (folder / "download").rglob("*.json"):
        file.write_bytes(file.read_bytes()[:-40])


def other_rows(folder: Path) -> None:
    for file in (folder / "download").rglob("*.json"):
        file.write_text('[{"a": 1}]')


def the_target_exists(folder: Path) -> None:
    (folder / "made").mkdir()


def splits_of_another_form(folder: Path) -> None:
    (folder / "splits.json").write_text('{"train": []}')


def ids_of_something_else(folder: Path) -> None:
    (folder / "splits.json").write_text('{"splits": {"train": ["x"], "val": [], "test": []}}')


def an_item_in_two_splits(folder: Path) -> None:
    splits = json.loads((folder / "splits.json").read_text())["splits"]
    (folder / "splits.json").write_text(json.dumps({"splits": {**splits, "test": splits["train"]}}))


def a_text_for_a_split(folder: Path) -> None:
    splits = json.loads((folder / "splits.json").read_text())["splits"]
    (folder / "splits.json").write_text(json.dumps({"splits": {**splits, "test": "202511:1"}}))


def pointers_of_a_clone(folder: Path) -> None:
    for file in (folder / "download").rglob("*.json"):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def options_of_another_form(folder: Path) -> None:
    file = next((folder / "download").rglob("*_202511_final.json"))
    rows = json.loads(file.read_text())
    rows[1]["mcq"]["choices"] = ["one", "two"]
    file.write_text(json.dumps(rows))


REFUSED = {
    an_item_in_two_splits: "may name an item only once; 4 are named again: ",
    a_text_for_a_split: "expected a list and not '202511:1'",
    pointers_of_a_clone: "git lfs pull",
    options_of_another_form: "_final.json: row 2: has another form than is published",
    nothing_there: "no such file or folder",
    nothing_in_it: "give the download as its home publishes it",
    half_a_file: "is the download complete?",
    other_rows: "has rows with month, no, mcq (qa_202511_final.json has columns a; ",
    the_target_exists: "already exists",
    splits_of_another_form: "train, val and test",
    ids_of_something_else: "has none of the 1 items",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_what_is_refused(spoil: object, tmp_path: Path) -> None:
    write("livemath", tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())
    done = skillopt(
        "data", "prepare", "livemath", "--from", tmp_path / "download", "--splits",
        tmp_path / "splits.json", "--to", tmp_path / "made",
    )  # fmt: skip
    assert done.returncode == 2 and REFUSED[spoil] in done.stderr, done.stderr  # type: ignore[index]
    assert sorted(tmp_path.iterdir()) == before, "nothing half-written is left"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    download, file = write("livemath", tmp_path)
    splits = json.loads(file.read_text())["splits"]
    return prepare(benchmark("livemath"), download, tmp_path / "made", splits).folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ""}, "tasks.path"),
        ({"path": "nowhere"}, "skillopt data prepare"),
        ({"source": "searchqa"}, "was prepared for livemath"),
        ({"options": {"colour": 1}}, "tasks.options.colour"),
        ({"options": {"scorer": "mine"}}, "tasks.options.scorer"),
    ],
)
def test_a_config_that_does_not_fit(made: Path, change: dict[str, object], message: str) -> None:
    config = TasksConfig.model_validate({"source": "livemath", "path": str(made), **change})
    with pytest.raises(TaskError, match=message):
        load_splits(config, 7, made.parent)


def test_tasks_know_what_no_edit_may_say_and_differ_by_their_options(made: Path) -> None:
    def digests(options: dict[str, object]) -> set[str]:
        config = TasksConfig.model_validate(
            {"source": "livemath", "path": str(made), "options": options}
        )
        tasks = load_splits(config, 7, made.parent)["train"]
        assert "Every even Pell number is blue." in literals_of(tasks[0]).answers
        return {task.digest for task in tasks}

    assert digests({}) == digests({}) and len(digests({})) == 4
    assert not digests({}) & digests({"scorer": "public"})
    assert not digests({}) & digests({"shuffle_seed": 7})


def test_splits_in_a_folder_of_the_references_form(tmp_path: Path) -> None:
    download, file = write("livemath", tmp_path)
    for split, ids in json.loads(file.read_text())["splits"].items():
        (tmp_path / "splits" / split).mkdir(parents=True)
        items = [{"id": id, "source_file": "data/x.json"} for id in ids]
        (tmp_path / "splits" / split / "items.json").write_text(json.dumps(items))
    given = ("--from", download, "--splits", tmp_path / "splits", "--to", tmp_path / "made")
    assert "4 train, 4 val, 4 test" in skillopt("data", "prepare", "livemath", *given).stdout
    shutil.rmtree(tmp_path / "splits" / "val")
    refused = skillopt("data", "prepare", "livemath", *given[:-1], tmp_path / "again")
    assert refused.returncode == 2 and "val/items.json" in refused.stderr


def test_rows_without_a_value_are_missing(tmp_path: Path) -> None:
    download, splits = write("livemath", tmp_path)
    file = next(download.rglob("*_202511_final.json"))
    rows = json.loads(file.read_text())
    rows[0]["mcq"] = None
    file.write_text(json.dumps(rows))
    ids = benchmark("livemath").split_ids(json.loads(splits.read_text()))
    assert prepare(benchmark("livemath"), download, tmp_path / "made", ids).missing == ("202511:1",)


def test_a_text_may_have_any_characters(tmp_path: Path) -> None:
    download, splits = write("livemath", tmp_path)
    file = next(download.rglob("*_202511_final.json"))
    rows, odd = json.loads(file.read_text()), "a\u2028b\x85c\x0bd\x1ce\r\nf"
    rows[0]["mcq"]["question"] = odd
    file.write_text(json.dumps(rows))
    ids = benchmark("livemath").split_ids(json.loads(splits.read_text()))
    made = prepare(benchmark("livemath"), download, tmp_path / "made", ids).folder
    config = TasksConfig.model_validate({"source": "livemath", "path": str(made)})
    assert odd in load_splits(config, 7, tmp_path)["train"][0].instruction


SPOILED = {
    "train.jsonl": {
        None: r"train\.jsonl: ",
        '{"id": ': r"train\.jsonl: line 1: is not as it was prepared: JSONDecodeError",
        "[1]\n": r"train\.jsonl: line 1: is not as it was prepared: TypeError",
        '{"id": "a", "digest": "", "row": {}}\n': "line 1: is not as it was prepared: KeyError",
        '{"id": "a", "digest": "b", "row": {}}\n': "files/a: is missing; prepare livemath again",
    },
    PREPARED: {None: "benchmark.json", "[]": "lacks one of", '{"format": 1}': "lacks one of"},
}
"""What is said of a prepared folder, by file, and what was made of it; None if it was removed."""


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, each in SPOILED.items() for content in each]
)
def test_a_prepared_folder_that_was_changed(made: Path, name: str, content: str | None) -> None:
    if content is None:
        (made / name).unlink()
    else:
        (made / name).write_text(content)
    config = TasksConfig.model_validate({"source": "livemath", "path": str(made)})
    with pytest.raises(TaskError, match=SPOILED[name][content]):
        load_splits(config, 7, made.parent)


def archive_of(folder: Path) -> Path:
    file = folder / "clone" / "spreadsheetbench_verified_400.tar.gz"
    file.parent.mkdir()
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder / "download", arcname="data")
    (file.parent / "sample_data_200.tar.gz").write_text("not read")
    return file


@pytest.mark.slow
def test_an_archive_is_found_in_a_clone_of_its_repository(tmp_path: Path) -> None:
    _, splits = write("spreadsheetbench", tmp_path)
    clone = archive_of(tmp_path).parent
    ids = benchmark("spreadsheetbench").split_ids(json.loads(splits.read_text()))
    found = prepare(benchmark("spreadsheetbench"), clone, tmp_path / "made", ids)
    assert found.counts == {"train": 4, "val": 4, "test": 4}


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spreadsheetbench_verified_400.tar.gz"
    file.write_bytes(b"no archive")
    with pytest.raises(TaskError, match="is the download complete"):
        list(benchmark("spreadsheetbench").read(file))
