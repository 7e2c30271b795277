"""OfficeQA's download: the rows, the pages that they name, and the tasks that are made of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from skillopt.core.types import Split
from skillopt.tasks.benchmarks.base import Item, Kept
from skillopt.tasks.benchmarks.officeqa.benchmark import OfficeQaOptions, notes, read, shared, task
from skillopt.tasks.benchmarks.officeqa.pages import (
    ALL_CHARS,
    PAGE_CHARS,
    Page,
    listed,
    page_number,
    pages,
    rendered,
    shown,
)
from skillopt.tasks.benchmarks.officeqa.score import Judge
from skillopt.tasks.harbor import TaskError


@pytest.mark.parametrize(
    ("cell", "entries"),
    [
        ([" a", "", 1], ["a", "1"]),
        ('[" a", "", 1]', ["a", "1"]),
        ('"a"', ['"a"']),
        ("a, b.TXT", ["a, b.TXT"]),
        ("a, b.txt, c", ["a", "b.txt", "c"]),
        ("a, b\nc", ["a, b", "c"]),
        (0, []),
        (7, ["7"]),
    ],
)
def test_a_cell_has_entries_in_several_forms(cell: object, entries: list[str]) -> None:
    assert listed(cell) == entries


@pytest.mark.parametrize(
    ("doc", "number"),
    [
        ("https://x.org/a?pagenum=7&page=3", 3),
        ("https://x.org/a?page_id=8&pagenum=7", 7),
        ("https://x.org/a?page_id=8", 8),
        ("https://x.org/a?page=b&pagenum=7", 7),
        ("https://x.org/a?page=b&page=4", 4),
        ("https://x.org/a?page=b#&page=5", 5),
        ("https://x.org/a?apage=5", None),
        ("x page=5", None),
        ("", None),
    ],
)
def test_a_page_is_named_in_several_ways(doc: str, number: int | None) -> None:
    assert page_number(doc) == number


def parsed(folder: Path, stem: str, document: Any) -> Path:
    file = folder / f"{stem}.json"
    file.write_text(json.dumps(document))
    return file


def element(text: Any, *numbers: Any) -> dict[str, Any]:
    return {"content": text, "bbox": [{"page_id": number} for number in numbers]}


def document(*elements: Any) -> dict[str, Any]:
    return {"document": {"elements": list(elements)}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parsed")
    return {
        stem: parsed(folder, stem, document(element(f"{stem} 1", 1), element(f"{stem} 2", 2)))
        for stem in ("a", "b")
    }


@pytest.mark.parametrize(
    ("names", "docs", "found"),
    [
        (["a.txt"], ["page=1", "page=2"], ["a 1", "a 2"]),
        (["a.txt", "b.txt"], ["page=1", "page=1"], ["a 1", "b 1"]),
        (["a.txt", "b.txt"], ["page=1", "page=1", "page=2"], ["a 1", "b 1"]),
        (["a.txt", "b.txt"], ["page=2"], ["a 2"]),
        ([], ["page=1"], []),
        (["a.txt"], ["none", "page=2"], ["a 2"]),
        (["c.txt", "b.txt"], ["page=1", "page=2"], ["b 2"]),
        (["a.txt"], ["page=1", "?page=1", "page=2"], ["a 1", "a 2"]),
        (["a.txt", "b.txt", "a.txt"], ["page=9", "page=1", "page=1"], ["b 1", "a 1"]),
        ([" x/a.txt ", "b"], ["page=1", "page=1"], ["a 1", "b 1"]),
        (["a.txt"], [], []),
    ],
)
def test_pages_are_those_of_the_named_bulletins(
    names: list[str], docs: list[str], found: list[str], files: dict[str, Path]
) -> None:
    assert [page["text"] for page in pages(names, docs, files)] == found


def test_a_page_has_its_file_number_and_link(files: dict[str, Path]) -> None:
    (page,) = pages(["b.txt"], ["https://x.org/?page=2"], files)
    assert page == {"file": "b.txt", "number": 2, "doc": "https://x.org/?page=2", "text": "b 2"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (document(element(" one ", 1), element("two", 1), element("other", 2)), "one\n\ntwo"),
        (document(element("one", 1), element("  ", 1), element("two", 1)), "one\n\ntwo"),
        (document(element("one", 2, 1)), "one"),
        (document(element("one", "1")), "one"),
        (document(element("one", None, "x", float("inf"), 1)), "one"),
        (document({"content": "one", "bbox": ["x", {}, {"page_id": 1}]}), "one"),
        (document({"content": "one", "bbox": {"page_id": 1}}), ""),
        (document({"content": "one"}), ""),
        (document(element(5, 1), "x", element("one", 1)), "one"),
        (document(element("one", 3)), ""),
        ({"document": {"elements": {"content": "one"}}}, ""),
        ({"document": [element("one", 1)]}, ""),
        ({"elements": [element("one", 1)]}, ""),
        ([element("one", 1)], ""),
    ],
)
def test_a_page_is_what_the_parsed_document_has_on_it(
    content: Any, text: str, tmp_path: Path
) -> None:
    found = list(pages(["a.txt"], ["page=1"], {"a": parsed(tmp_path, "a", content)}))
    assert [page["text"] for page in found] == ([text] if text else [])


def test_a_parsed_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    for file in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(TaskError, match=rf"{file.name}: .*is the download complete"):
            list(pages(["a.txt"], ["page=1"], {"a": file}))


def a_page(text: str, file: str = "a.txt", number: int = 1) -> Page:
    return Page(file=file, number=number, doc="d", text=text)


HEAD = "### a.txt page 1\nSource URL: d\n\n"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("x" * PAGE_CHARS, "x" * PAGE_CHARS),
        ("x" * (PAGE_CHARS + 1),
         f"{'x' * PAGE_CHARS}\n\n[... 1 characters omitted from this parsed page ...]"),
        ("x" * (PAGE_CHARS - 2) + "  yyy",
         f"{'x' * (PAGE_CHARS - 2)}\n\n[... 3 characters omitted from this parsed page ...]"),
    ],
)  # fmt: skip
def test_a_long_page_is_cut_with_a_word_on_it(text: str, block: str) -> None:
    assert shown([a_page(text)]) == HEAD + block
    assert PAGE_CHARS == 24_000 and ALL_CHARS == 80_000


def test_all_pages_together_are_cut() -> None:
    assert shown([]) == ""
    quarter = a_page("x" * (ALL_CHARS // 4 - len(HEAD)))
    block, cut = shown([quarter]), "\n\n[... oracle parsed page context truncated ...]"
    four = "\n\n".join([block] * 4)
    assert shown([quarter] * 4) == four
    assert shown([quarter] * 5) == four, "nothing is left of the fifth"
    longer = a_page(quarter["text"] + "y")
    assert shown([*[quarter] * 3, longer, quarter]) == f"{four}{cut}"
    shorter = a_page(quarter["text"][:-3])
    assert shown([*[quarter] * 3, shorter, quarter]) == f"{four[:-3]}\n\n###{cut}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (" a &lt; b ", "a < b"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\n\nb\n\n\nc\n\n\n\n\nd", "a\n\nb\n\nc\n\nd"),
        ("<TABLE><tr><td>1</td></tr></TABLE>", "| 1 |\n| --- |"),
        ("<tr><td>1</td></tr>", "<tr><td>1</td></tr>"),
        ("<table><tr><th>a</th><td> b \n c</td></tr><tr><td>1</td></tr></table>",
         "| a | b c |\n| --- | --- |\n| 1 |  |"),
        ("<table><tr><td>1</td></tr><tr><td>a</td><td>b</td></tr></table>",
         "| 1 |  |\n| --- | --- |\n| a | b |"),
        ("<table><tr><td>a|b</td><td>|</td></tr></table>", "| a\\|b | \\| |\n| --- | --- |"),
        ("<table><tr><td></td><td> </td></tr><tr><td></td><td>1</td></tr></table>",
         "|  | 1 |\n| --- | --- |"),
        ("<table><td>lost</td><tr><td>1</td> lost <td>2</tr>lost<tr><td>3</table>",
         "| 1 |\n| --- |"),
        ("<table><tr><td>1<b>2</b></td></tr><tr><td>3</td></tr> x</table>",
         "| 12 |\n| --- |\n| 3 |"),
        ("<table><tr><td>1</p></td></td></tr></tr></table>", "| 1 |\n| --- |"),
        ("<table>\nno <b>rows</b> &amp; &lt;none&gt;</table>", "no rows & <none>"),
    ],
)  # fmt: skip
def test_an_element_becomes_markdown(content: str, text: str) -> None:
    assert rendered(content) == text


ROW = {
    "uid": " U1 ", "question": " How many? ", "answer": " 5 ", "source_files": "a.txt",
    "source_docs": "page=1", "difficulty": " easy ",
}  # fmt: skip


def download(folder: Path, *rows: dict[str, str], json_files: bool = True) -> Path:
    if json_files:
        (folder / "jsons").mkdir()
        parsed(folder / "jsons", "a", document(element("text", 1)))
    file = folder / "officeqa_full.csv"
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_a_row_becomes_an_item(tmp_path: Path) -> None:
    file = download(tmp_path, ROW, ROW | {"answer": " "}, ROW | {"uid": "U2", "difficulty": ""})
    one, other = read(tmp_path)
    assert [one, other] == [*read(file)], "of a file, what lies beside it is read too"
    page = {"file": "a.txt", "number": 1, "doc": "page=1", "text": "text"}
    row = {
        "question": "How many?", "answer": "5", "difficulty": "easy", "files": ["a.txt"],
        "docs": ["page=1"], "pages": [page],
    }  # fmt: skip
    assert one == Item("U1", row) and other == Item("U2", row | {"difficulty": ""})


def test_the_columns_that_not_all_downloads_have_may_be_missing(tmp_path: Path) -> None:
    few = {key: ROW[key] for key in ("uid", "question", "answer", "source_files")}
    download(tmp_path, few, json_files=False)
    (tmp_path / "other.json").write_text(json.dumps([few]))
    (found,) = read(tmp_path)
    assert found.row == {
        "question": "How many?", "answer": "5", "difficulty": "", "files": ["a.txt"], "docs": [],
        "pages": None,
    }  # fmt: skip


def test_the_corpus_is_the_folder_of_the_texts(tmp_path: Path) -> None:
    (tmp_path / "jsons" / "transformed").mkdir(parents=True)
    (tmp_path / "jsons" / "transformed" / "a.json").write_text("")
    (tmp_path / "file.csv").write_text("")
    assert shared(tmp_path) == {}
    (tmp_path / "texts" / "transformed").mkdir(parents=True)
    (tmp_path / "texts" / "transformed" / "a.txt").write_text("")
    corpus = {"corpus": tmp_path / "texts" / "transformed"}
    assert shared(tmp_path) == shared(tmp_path / "file.csv") == corpus


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([None, None], "without treasury_bulletins_parsed/jsons there is no setting 'oracle'"),
        ([[], None, ["p"]], "2 item(s) have no page in the JSON files"),
        ([["p"]], ""),
    ],
)
def test_items_without_pages_are_noted(found: list[Any], said: str) -> None:
    items = [Item(str(n), {"pages": one}) for n, one in enumerate(found)]
    of: dict[Split, list[Item]] = {"train": items[:1], "val": items[1:2], "test": items[2:]}
    assert notes(of) == ([said] if said else [])


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "shared" / "corpus").mkdir(parents=True)
    page = {"file": "a.txt", "number": 1, "doc": "d1", "text": "the page"}
    row = {
        "question": "How many?", "answer": "5", "difficulty": "easy", "files": ["a.txt"],
        "docs": ["d1"], "pages": [page],
    }  # fmt: skip
    return Kept("U1", row, tmp_path / "files", tmp_path / "shared")


OPENING, ASKED = "Answer the question from the issues of the U.S.", "Question: How many?"
FOLDER, TAKEN = "The folder `/corpus` has the issues as text", "The answer is taken from:\n- a.txt"
PAGES = "The pages with the answer, as they were parsed:\n\n### a.txt page 1"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, [OPENING, ASKED, FOLDER]),
        ({"search": True}, [OPENING, ASKED, FOLDER]),
        ({"setting": "hint"}, [OPENING, ASKED, FOLDER, TAKEN]),
        ({"setting": "oracle"}, [OPENING, ASKED, f"{TAKEN}\n- d1", PAGES, "the page"]),
        ({"setting": "oracle", "search": True},
         [OPENING, ASKED, FOLDER, f"{TAKEN}\n- d1", PAGES, "the page"]),
    ],
)  # fmt: skip
def test_an_instruction_has_what_the_setting_gives(
    options: dict[str, Any], parts: list[str], kept: Kept
) -> None:
    made = task(kept, OfficeQaOptions(**options))
    found = made.instruction.removesuffix("\n").split("\n\n")
    pieces = [piece for part in parts for piece in part.split("\n\n")]
    assert len(found) == len(pieces)
    assert all(one.startswith(piece) for one, piece in zip(found, pieces, strict=True))
    searches = FOLDER in parts
    assert made.question is not searches and (made.workspace is None) is not searches
    assert made.folders == ({"/corpus": kept.shared / "corpus"} if searches else {})
    assert (made.name, made.family, made.answers) == ("U1", "easy", ("5",))


def test_an_oracle_without_a_page_shows_none(kept: Kept, tmp_path: Path) -> None:
    kept.row["pages"] = []
    assert "pages with the answer" not in task(kept, OfficeQaOptions(setting="oracle")).instruction
    made = task(kept, OfficeQaOptions(timeout_s=7, scorer="reference", tolerance=0.5))
    assert made.workspace is not None and made.agent_timeout_s == 7
    made.workspace(tmp_path)
    assert made.verify == Judge("5", "reference", 0.5)


@pytest.mark.parametrize(
    ("options", "lacking", "said"),
    [
        ({}, "corpus", "setting corpus, search false: .* without treasury_bulletins_parsed/trans"),
        ({"setting": "hint"}, "corpus", "setting hint, search false"),
        ({"setting": "oracle", "search": True}, "corpus", "setting oracle, search true"),
        ({"setting": "oracle"}, "pages", "without treasury_bulletins_parsed/jsons"),
        ({"setting": "oracle", "search": True}, "pages", "parsed/jsons"),
        ({"setting": "oracle"}, "corpus", ""),
        ({"setting": "hint"}, "pages", ""),
    ],
)
def test_what_a_setting_needs_and_is_not_there_is_said(
    options: dict[str, Any], lacking: str, said: str, kept: Kept
) -> None:
    if lacking == "corpus":
        (kept.shared / "corpus").rmdir()
    else:
        kept.row["pages"] = None
    if not said:
        assert task(kept, OfficeQaOptions(**options)).name == "U1"
        return
    with pytest.raises(TaskError, match=said):
        task(kept, OfficeQaOptions(**options))


@pytest.mark.parametrize(
    ("key", "fits", "breaks"),
    [
        ("tolerance", (0, 0.5, 1), (-0.01, 1.01)),
        ("timeout_s", (0.1, 1000), (0, -1)),
        ("setting", ("corpus", "hint", "oracle"), ("all",)),
        ("scorer", ("public", "reference"), ("own",)),
    ],
)
def test_options_have_their_bounds(key: str, fits: tuple[Any], breaks: tuple[Any]) -> None:
    for value in fits:
        assert getattr(OfficeQaOptions(**{key: value}), key) == value
    for value in breaks:
        with pytest.raises(ValidationError):
            OfficeQaOptions(**{key: value})
    plain = OfficeQaOptions()
    assert plain.searches
    assert (plain.setting, plain.search, plain.scorer) == ("corpus", False, "public")
    assert (plain.tolerance, plain.timeout_s) == (0.0, 180.0)
