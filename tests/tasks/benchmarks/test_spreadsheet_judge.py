"""How an agent's workbooks are judged: the verdict, what is said of it, hostile files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Reward, named_task
from skillopt.tasks.benchmarks.limited import LimitError, limited
from skillopt.tasks.benchmarks.spreadsheetbench import score
from skillopt.tasks.benchmarks.spreadsheetbench.score import Judge
from tests.helpers.benchmark_sets.spreadsheetbench import saved
from tests.helpers.parity import PARITY, parity

pytestmark = pytest.mark.slow


def judged(folder: Path, gold: Path, output: Path, position: str = "'S'!C1") -> Reward:
    judge = Judge((gold,), (output.name,), position, "", "public")
    return judge(named_task("t"), output.parent, "", folder)


@parity("spreadsheet-pairs")
def test_the_judge_gives_the_public_verdict(row: dict[str, Any], tmp_path: Path) -> None:
    gold, output = PARITY / row["gold"], PARITY / row["pred"]
    for scorer, column in (("public", "expected"), ("reference", "reference")):
        judge = Judge((gold,), (output.name,), row["answer_position"], row["answer_sheet"], scorer)
        reward = judge(named_task("t"), output.parent, "", tmp_path)
        assert reward.hard == reward.soft == float(row[column]["as_is"])
        assert bool(reward.feedback) != row[column]["as_is"]


def test_feedback_names_the_cell_and_not_what_is_expected(tmp_path: Path) -> None:
    gold = saved(tmp_path / "gold.xlsx", C1="Zanzibar", C2=4711, C3="=1+1", C4=5, D1=9)
    output = saved(tmp_path / "output.xlsx", C1=3, C2="=A1*2", C3=2)
    feedback = judged(tmp_path, gold, output, "'S'!C1:C4,'T'!A1").feedback
    assert "S!C1 has the number '3', where a text is expected" in feedback
    assert "S!C2 has a formula without a stored value" in feedback
    assert "S!C4 is empty" in feedback and "no sheet 'T'" in feedback
    assert "Zanzibar" not in feedback and "4711" not in feedback


def no_file(output: Path) -> None:
    output.unlink()


def a_folder(output: Path) -> None:
    output.unlink()
    output.mkdir()


def no_workbook(output: Path) -> None:
    output.write_bytes(b"PK\x03\x04 not a workbook")


def many_zeros(output: Path) -> None:
    """A small file with a sheet of 200 megabytes."""
    unpacked = {}
    with zipfile.ZipFile(output) as archive:
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in unpacked.items():
            if not name.endswith("sheet1.xml"):
                archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            start = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
            sheet.write(start + b'<sheetData><row r="1"><c r="A1" t="str"><v>')
            for _ in range(200):
                sheet.write(b"0" * 1024 * 1024)
            sheet.write(b"</v></c></row></sheetData></worksheet>")


def entities(output: Path) -> None:
    """Ten entities, each ten of the one before it."""
    with zipfile.ZipFile(output) as archive:
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    names = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)]
    kind = f'<!DOCTYPE worksheet [<!ENTITY e0 "0000000000">{"".join(names)}]>'
    sheet = unpacked["xl/worksheets/sheet1.xml"].decode().replace("<worksheet", f"{kind}<worksheet")
    unpacked["xl/worksheets/sheet1.xml"] = sheet.replace("<sheetData>", "<sheetData>&e9;").encode()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in unpacked.items():
            archive.writestr(name, content)


SPOILT: dict[Callable[[Path], None], str] = {
    no_file: "there is no such file",
    a_folder: "there is no such file",
    no_workbook: "cannot be read as a workbook",
    many_zeros: "reading it took more than",
    entities: "cannot be read as a workbook",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_no_workbook_of_an_agent_stops_a_run(
    spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "limited", partial(limited, memory_mb=500))
    gold, output = (saved(tmp_path / name, C1=1) for name in ("gold.xlsx", "output.xlsx"))
    spoil(output)
    reward = judged(tmp_path, gold, output)
    assert reward.soft == 0.0 and SPOILT[spoil] in reward.feedback


def busy(given: Any) -> None:
    while True:
        given += 1


def environment(given: Any) -> dict[str, str]:
    return dict(os.environ)


def test_a_process_with_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert "secret" not in limited(environment, 0).values()
    # The second limit is for a machine that gives it less than a quarter of a processor.
    with pytest.raises(LimitError, match=r"took more than (1 s of work|4 s)$"):
        limited(busy, 0, seconds=1)
