"""Files of people's verdicts, and how far a judge agrees with them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from skillopt.evaluation.agreement import Agreement
from skillopt.rollouts.judge.labels import LabelsError, read_labels

ROW = '{"rollout": "abcdef12", "expectation": "It greets.", "verdict": "met"}'


@pytest.mark.parametrize(
    ("word", "met"),
    [("met", True), ("Unmet", False), ("yes", True), ("no", False), ("pass", True), ("0", False)],
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_labels_are_read_from_json_and_csv(
    word: str, met: bool, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"labels.{suffix}"
    file.write_text(
        ROW.replace('"met"', f'"{word}"') + f"\n\n{ROW}\n"
        if suffix == "jsonl"
        else f'task,expectation,verdict\nt-1,"It greets, twice.",{word}\nt-1,1,met\n'
    )
    first, second = read_labels(file)
    assert first.met is met and second.met
    assert second.where == f"{file}:3"
    if suffix == "csv":
        assert (first.task, first.expectation) == ("t-1", "It greets, twice.")
        assert second.expectation == "1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "has no labels"),
        ("a.jsonl", "{", "a.jsonl:1: not JSON"),
        ("a.jsonl", f"{ROW}\n[1]", "a.jsonl:2: must be an object"),
        ("a.jsonl", ROW.replace("verdict", "verdikt"), "a.jsonl:1: unknown verdikt; known"),
        ("a.jsonl", ROW.replace('"met"', '"maybe"'), "neither met nor unmet"),
        ("a.jsonl", ROW.replace('"met"', "[1]"), "verdict: must be text"),
        ("a.jsonl", ROW.replace('"met"', '""'), "verdict: is missing"),
        ("a.jsonl", ROW.replace("It greets.", " "), "expectation: is missing"),
        ("a.jsonl", ROW.replace('"rollout": "abcdef12", ', ""), "neither a rollout nor a task"),
        ("a.jsonl", ROW.replace("abcdef12", "xyz"), "not the beginning of a key"),
        ("a.csv", "task,expectation,verdict\nt,a,b,met\n", "a.csv:2: has not as many fields"),
        ("a.csv", "task,expectation,verdict\nt,met\n", "a.csv:2: has not as many fields"),
        ("a.csv", "task,expectation\nt,a\n", "verdict: is missing"),
        ("a.csv", 'task,expectation,verdict\nt,"a,met\n', "not CSV"),
        ("a.csv", "task,expectation,verdict\n", "has no labels"),
        ("missing.csv", None, "cannot be read"),
        ("latin.csv", b"task,expectation,verdict\nt,\xe4,met\n", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_of_labels_is_said_by_line(
    name: str, text: str | bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LabelsError, match=message) as error:
        read_labels(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("words", "met"),
    [
        (("met", "MET", "true", "yes", "pass", "passed", "1"), True),
        (("unmet", "false", "No", "fail", "failed", "0"), False),
    ],
)
@pytest.mark.parametrize("quoted", [True, False])
def test_verdicts_are_said_in_several_words(
    words: tuple[str, ...], met: bool, quoted: bool, tmp_path: Path
) -> None:
    bare = [word for word in words if quoted or word in ("true", "1", "false", "0")]
    said = [f'"{word}"' if quoted else word for word in bare]
    (tmp_path / "a.json").write_text("\n".join(ROW.replace('"met"', word) for word in said))
    assert [label.met for label in read_labels(tmp_path / "a.json")] == [met] * len(bare)


@pytest.mark.parametrize(
    ("key", "fits"),
    [("abcd", True), ("abc", False), ("a" * 64, True), ("a" * 65, False), ("ABCD", False)],
)
def test_a_rollout_is_named_by_four_digits_or_more(key: str, fits: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(ROW.replace("abcdef12", key))
    if fits:
        (label,) = read_labels(file)
        assert (label.rollout, label.task, label.expectation) == (key, "", "It greets.")
    else:
        with pytest.raises(LabelsError, match="4 to 64 of 0-9"):
            read_labels(file)


def test_a_table_of_another_programs_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.CSV"
    file.write_bytes(b"\xef\xbb\xbftask,rollout,expectation,verdict\r\n t-1 , abcd,'It\r\n,met\r\n")
    with pytest.raises(LabelsError, match=r"a\.CSV:2: has not as many"):
        read_labels(file)
    file.write_bytes(b"\xef\xbb\xbftask,rollout,expectation,verdict\r\n t-1 , abcd, 2 , Met \r\n")
    (label,) = read_labels(file)
    assert (label.task, label.rollout, label.expectation, label.met) == ("t-1", "abcd", "2", True)


def test_a_field_may_have_several_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('task,expectation,verdict\nt-1,"It greets\nand leaves.",met\nt-1,2,unmet\n')
    first, second = read_labels(file)
    assert first.expectation == "It greets\nand leaves." and second.where == f"{file}:4"


# By statsmodels 0.15.0, stats.inter_rater.cohens_kappa: kappa and its standard error.
KNOWN = [
    ((20, 5, 10, 15), 0.3999999999999999, 0.12699606293110033),
    ((45, 15, 25, 15), 0.13043478260869554, 0.0986615376234396),
    ((25, 35, 5, 35), 0.25925925925925924, 0.07715973174444572),
    ((40, 9, 6, 45), 0.6995192307692307, 0.07139360269998822),
]


@pytest.mark.parametrize(("cells", "kappa", "error"), KNOWN)
def test_kappa_and_its_interval_are_those_of_known_tables(
    cells: tuple[int, int, int, int], kappa: float, error: float
) -> None:
    found = Agreement(*cells).kappa
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(kappa)
    assert Agreement(*cells).standard_error == pytest.approx(error)
    assert found.low <= kappa - 1.959964 * error + 1e-6
    assert found.high >= kappa + 1.959964 * error - 1e-6
    assert found.high - found.low < 2.5 * 1.96 * error * 1.3


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (9, 0, 0, 0), (0, 0, 0, 9)])
def test_without_two_verdicts_there_is_no_kappa(cells: tuple[int, int, int, int]) -> None:
    assert Agreement(*cells).kappa is None


def test_full_agreement_on_few_is_not_taken_for_sure() -> None:
    few, many = Agreement(3, 0, 0, 3).kappa, Agreement(60, 0, 0, 60).kappa
    assert few is not None and many is not None
    assert few.value == many.value == few.high == many.high == 1.0
    assert few.low is not None and many.low is not None
    assert few.low < 0.2 and 0.9 < many.low < 1.0


def test_the_interval_covers_the_true_kappa() -> None:
    """Of two who agree on 80 % of halves, kappa is 0.6: over all tables of 40 by their chance."""
    n, kappa, covered, whole = 40, 0.6, 0.0, 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            for c in range(n + 1 - a - b):
                cells = (a, b, c, n - a - b - c)
                logs = math.lgamma(n + 1) - sum(math.lgamma(k + 1) for k in cells)
                shares = (0.4, 0.1, 0.1, 0.4)
                logs += sum(k * math.log(p) for k, p in zip(cells, shares, strict=True))
                chance = math.exp(logs)
                if chance < 1e-7:
                    continue
                whole += chance
                found = Agreement(*cells).kappa
                covered += chance * (
                    found is not None
                    and found.low is not None
                    and found.high is not None
                    and found.low <= kappa <= found.high
                )
    assert whole > 0.999 and covered / whole > 0.94


def test_pairs_are_counted_by_who_says_yes() -> None:
    pairs = [(True, True), (True, False), (True, False), (False, True), (False, False)]
    assert Agreement.of(pairs) == Agreement(1, 2, 1, 1)
    assert Agreement.of(pairs).agreed == 2 and Agreement.of(pairs).total == 5
