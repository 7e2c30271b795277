"""OfficeQA's public reward: each rule at its boundary."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.officeqa.reward import Number, numbers, reward
from skillopt.tasks.benchmarks.officeqa.score import Judge, Scorer, reference_form, score


@pytest.mark.parametrize(
    ("value", "year"),
    [(1899, False), (1900, True), (1950, True), (1950.5, False), (2100, True), (2101, False)],
)
def test_a_year_is_a_whole_number_of_two_centuries(value: float, year: bool) -> None:
    assert Number(value).is_year is year


@pytest.mark.parametrize(
    ("expected", "other", "tolerance", "close"),
    [
        (Number(100), Number(101), 0.01, True),
        (Number(100), Number(99), 0.01, True),
        (Number(100), Number(101.1), 0.01, False),
        (Number(100), Number(98.9), 0.01, False),
        (Number(-100), Number(-101), 0.01, True),
        (Number(-100), Number(100), 1.0, False),
        (Number(200), Number(100), 0.5, True),
        (Number(100), Number(200), 0.5, False),
        (Number(0), Number(0), 0.0, True),
        (Number(0), Number(0.001), 1.0, False),
        (Number(5), Number(0), 1.0, True),
        (Number(5, "million"), Number(5, "million"), 0.0, True),
        (Number(5, "million"), Number(5, "billion"), 1.0, False),
        (Number(5, "million"), Number(5), 0.0, True),
        (Number(5), Number(5, "million"), 0.0, True),
        (Number(5, "million"), Number(6), 0.0, False),
    ],
)
def test_a_number_is_close_by_its_share_and_unit(
    expected: Number, other: Number, tolerance: float, close: bool
) -> None:
    assert expected.matches(other, tolerance) is close


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,234 and 12,34", [(1234, None), (12, None), (34, None)]),
        ("1,234,567.50", [(1234567.5, None)]),
        ("12.5,678", [(12.5, None), (678, None)]),
        ("1,2345", [(1, None), (2345, None)]),
        ("5% -5 \u22126 7.", [(5, None), (-5, None), (-6, None), (7, None)]),
        ("$5 and 5\u20ac", [(5, None), (5, None)]),
        ("(5) ($6) ( \u00a3 1,234.5 )", [(-5, None), (-6, None), (-1234.5, None)]),
        ("(1950) (1,950) ($1950) (1950.5)",
         [(1950, None), (1950, None), (-1950, None), (-1950.5, None)]),
        ("(a 5)", [(5, None)]),
        ("5 trillion", [(5, "trillion")]),
        ("5 Billions", [(5, "billion")]),
        ("5 m", [(5, "million")]),
        ("5 b", [(5, "billion")]),
        ("5 k", [(5, "thousand")]),
        ("5 thousands", [(5, "thousand")]),
        ("5k", [(5, None)]),
        ("5 millionaires", [(5, None)]),
        ("5 million or billion", [(5, "billion")]),
        (f"5 {'x' * 11} million", [(5, "million")]),
        (f"5 {'x' * 12} million", [(5, None)]),
        (f"million {'x' * 11} 5", [(5, "million")]),
        (f"million {'x' * 12} 5", [(5, None)]),
        (f"5 million {'x' * 20} 6", [(5, "million"), (6, None)]),
        ("5   \n  million", [(5, "million")]),
        ("none", []),
    ],
)  # fmt: skip
def test_the_numbers_in_a_text_have_the_unit_near_them(
    text: str, found: list[tuple[float, str | None]]
) -> None:
    assert [(one.value, one.unit) for one in numbers(text)] == found


@pytest.mark.parametrize(
    ("gold", "reply", "right"),
    [
        ("2", "<FINAL_ANSWER>1</FINAL_ANSWER> <final_answer>\n2\n</final_answer> 3", True),
        ("1", "<FINAL_ANSWER>1</FINAL_ANSWER><FINAL_ANSWER>2</FINAL_ANSWER>", False),
        ("", "x", False),
        ("", "", False),
        ("x", "", False),
        ("5", "\n 5 \n\n", True),
        ("5", "so\n5", False),
        ("x" * 250, "x" * 250, True),
        ("x" * 251, "x" * 251, False),
        ("Unable to determine", "unable to determine", False),
        ("5", "Unable to determine, 5", False),
        ("Yes", ' "yes" ', True),
        ("yes", "'YES'", True),
        ("yes (so)", "yes", True),
        ("yes", "yes (1)", False),
        ("yes", "no", False),
        ("yes", "5", False),
        ("a  b", "a b", True),
        ("5", "<b>5</b>", False),
        ("5", "it is 5 > 4", False),
        # Years that an answer mentions do not count, unless the gold may be one.
        ("5", "5 in 1950", True),
        ("5", "5 in 1899", False),
        ("1950", "5 in 1950", False),
        ("1950", "in 1950", True),
        ("5 apples", "5 apples 1950", False),
        ("5 apples 6", "5 apples 6 1950", True),
        ("5 6", "6 5", True),
        ("5 6", "5 5", False),
        ("5 6", "5 6 7", False),
        ("5 6", "5", False),
        # Words.
        ("5 apples", "5", False),
        ("5 apples", "5 pears", False),
        ("5 apples", "5 red Apples.", True),
        ("5 red apples", "5 apples", True),
        ("5", "5 apples", True),
        ("5 x", "5", True),
        ("5 ab", "5", False),
        ("5 million", "5", True),
        ("5 percent", "5%", True),
        ("5 thousands of hundreds", "5", False),
        ("5 thousand", "5 of", True),
        ("5 of, a-b", "5 of a b", True),
        # Lists are in their order, others in any.
        ("[1, 2]", "1, 2", True),
        ("[1, 2]", "[1,2]", True),
        ("[1, 2]", "It is [1, 2] so", True),
        ("[1, 2]", "2, 1", False),
        ("[1, 2]", "1 and 2", True),
        ("[1, 2]", "2 and 1", False),
        ("[1, 2]", "1 and 2 and 3", False),
        ("[1, 2]", "1", False),
        ("[1, 2]", "[1, 2] [3]", False),
        ("[1, 2]", "[1, 2] 5", False),
        ("[1, 2, 3]", "1, 2, 4", False),
        ("[5]", "5", True),
        ("[5] of 6", "6 of 5", True),
        ("[1, x]", "1 x", True),
        ("[1, 2] [3, 4]", "4 3 2 1", True),
        ("[1, 234]", "1,234", True),
        ("[1,234]", "1234", True),
        ("[1,234, 5]", "1,234,5", True),
        ("[1,234, 5]", "1234 and 5", True),
        ("[12, 34%]", "12, 34%", True),
        ("[8, 152260, 1]", "8, 152,260, 1", True),
        ("[8, 152260, 1]", "8, 152, 260, 1", False),
        ("[8, 152260, 1]", "8,152 ,260,1", False),
        ("[8, 152260, 1]", "8,152,260,1,", False),
        ("[8, 152260, 1]", "8,152,260", False),
        ("[-5, $6]", "(5), 6", True),
    ],
)  # fmt: skip
def test_an_answer_is_right_by_its_numbers_and_words(gold: str, reply: str, right: bool) -> None:
    assert reward(gold, reply) is right


@pytest.mark.parametrize(
    ("tolerance", "right"), [(0.0, False), (0.2, True), (1.0, True), (1.01, False), (-0.1, False)]
)
def test_a_tolerance_is_a_share(tolerance: float, right: bool) -> None:
    assert reward("5", "6", tolerance) is right
    assert reward("[5, 10]", "6,12", tolerance) is right
    assert reward("[5, 10]", "6 and 12", tolerance) is right


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (" $1,234.50 Million ", "1234.50"),
        ("-5% (nominal)", "-5%"),
        ("5 Billions of dollars", "5 of"),
        ("millionaire's", "millionaires"),
    ],
)
def test_the_reference_compares_without_units_and_most_punctuation(text: str, form: str) -> None:
    assert reference_form(text) == form


def test_an_empty_answer_is_wrong_whatever_the_gold() -> None:
    empty = score("<answer></answer>", "")
    assert (empty.answer, empty.em, empty.f1) == ("", 0.0, 0.0)
    right = score("<answer>5 of 8</answer>", "5 of 8 million")
    assert (right.answer, right.em, right.f1) == ("5 of 8", 1.0, 1.0)
    assert score("<answer>5 of 9</answer>", "5 of 8").f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("scorer", "tolerance", "soft", "solved"),
    [
        ("public", 0.0, 0.0, False),
        ("public", 0.01, 0.0, False),
        ("public", 0.05, 1.0, True),
        ("public", 0.2, 1.0, True),
        ("reference", 0.2, 2 / 3, False),
    ],
)
def test_the_verdict_is_that_of_the_scorer(
    scorer: Scorer, tolerance: float, soft: float, solved: bool
) -> None:
    found = Judge("100 big apples", scorer, tolerance)(
        named_task("t"), Path(), "<answer>103 big apples</answer>"
    )
    assert found.soft == pytest.approx(soft) and found.solved is solved
    wanted = {
        "em": 0.0, "f1": pytest.approx(2 / 3), "reward_0": 0.0, "reward_0.001": 0.0,
        "reward_0.01": 0.0, "reward_0.05": 1.0, f"reward_{tolerance:g}": float(tolerance > 0.02),
    }  # fmt: skip
    assert found.metrics == wanted
    assert (found.feedback == "") is solved


UNIT = "its digits are right, but it is in another unit"


@pytest.mark.parametrize(
    ("answer", "gold", "said"),
    [
        ("", "5", "it has to be one short line."),
        ("x" * 250, "5", ": it has 0 number(s), and the expected one has 1."),
        ("x" * 251, "5", "it has to be one short line."),
        ("100.05", "100", "it is within 0.1% of it"),
        ("100.5", "100", "it is within 1.0% of it"),
        ("104", "100", "it is within 5.0% of it"),
        ("106", "100", "not the expected one."),
        ("7 8", "5 6", "not the expected one."),
        ("0", "5", "not the expected one."),
        ("5", "0", "not the expected one."),
        ("5000", "5", UNIT),
        ("5", "5000", UNIT),
        ("5000000", "5", UNIT),
        ("-5000000000", "5", UNIT),
        ("50", "5", "not the expected one."),
        ("5000000000000", "5", "not the expected one."),
        ("-5", "5", ": its sign is wrong."),
        ("-7", "5", "not the expected one."),
        ("7 million", "5 billion", ": it names another unit."),
        ("7 million", "5 million", "not the expected one."),
        ("7 million", "5", "not the expected one."),
        ("7", "5 million", "not the expected one."),
    ],
)
def test_feedback_says_how_an_answer_differs(answer: str, gold: str, said: str) -> None:
    found = Judge(gold, "public")(named_task("t"), Path(), f"<answer>{answer}</answer>")
    assert said in found.feedback and not found.solved


def test_feedback_of_the_reference_names_the_smallest_error() -> None:
    judged = Judge("5.0", "reference", 0.5)(named_task("t"), Path(), "<answer>5</answer>")
    assert "its value is right, but it is written differently" in judged.feedback
    judged = Judge("5", "reference", 0.5)(named_task("t"), Path(), "<answer>7</answer>")
    assert "it is within 50.0% of it" in judged.feedback
