"""The simulated judge and the simulated descriptions: plain rules, by table."""

from __future__ import annotations

import json

import pytest

from skillopt.core.types import Task
from skillopt.rollouts.judge.asking import read_findings
from skillopt.rollouts.judge.evidence import Evidence
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.judge.verdicts import weighed
from skillopt.sim.describing import content_words, improved
from skillopt.sim.judge import reply

SHOWN = Evidence(
    {
        "final_answer": "Dear guest,\nthe total of the invoices is 12.",
        "files": [{"path": "out.csv", "change": "added", "content": "a,b\n1,2"}],
        "steps": [],
    }
)


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("The answer contains 'Dear guest'.", "met"),
        ('The answer contains "dear GUEST".', "met"),
        ("The file `out.csv` exists.", "met"),
        ("The file `other.csv` exists.", "unmet"),
        ("It contains 'Dear guest' and 'a,b'.", "met"),
        ("It contains 'Dear guest' and 'x,y'.", "unmet"),
        ("The answer does not contain 'sorry'.", "met"),
        ("The answer does not contain 'Dear'.", "unmet"),
        ("It gives the total of the invoices.", "met"),
        ("The moon is made of cheese.", "unmet"),
    ],
)
def test_each_statement_is_decided_by_plain_rules(statement: str, verdict: str) -> None:
    task = Task(name="t", instruction='1. "Not a statement."', digest="1")
    question = read_template(None).question(task, {1: statement}, SHOWN)
    found = read_findings(reply(question.prompt))
    assert [one.verdict for one in found.findings if one.number == 1][-1] == verdict
    assert weighed(found, [1], SHOWN)[1][1] == ""  # It quotes what exists.


def test_without_a_field_nothing_is_met() -> None:
    assert json.loads(reply("1. \"It contains 'x'.\""))["findings"][0]["verdict"] == "unmet"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Add up the invoices", {"add", "invoice"}),
        ("currencies, boxes and crashes", {"currency", "box", "crash"}),
        ("A log of the CSV files", {"log", "csv"}),
        ("class", {"class"}),
        ("", set()),
    ],
)
def test_words_that_say_what_a_text_is_about(text: str, words: set[str]) -> None:
    assert content_words(text) == words


@pytest.mark.parametrize(
    ("missed", "won", "described"),
    [
        (["Reconcile the invoices."], [], "For logs and charts. Also for: invoice, reconcile."),
        ([], ["Draw charts."], "For logs"),
        (["Count the logs."], ["Draw charts."], "For logs. Also for: count."),
        ([], [], "For logs and charts."),
        (["Draw a plot."], ["Draw charts.", "Draw lines."], "For logs. Also for: plot."),
    ],
)
def test_a_description_gains_words_that_it_missed_and_loses_what_it_won(
    missed: list[str], won: list[str], described: str
) -> None:
    assert improved("For logs and charts.", missed, won) == described
