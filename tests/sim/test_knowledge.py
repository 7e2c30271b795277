"""Rules are recognised in many wordings, not when negated, and not in one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.sim.habits import Habit
from skillopt.sim.knowledge import BAD_RULES, CHORES, HABITS, USELESS_RULES, Chore, quirks_in
from skillopt.tasks.quickstart import generator

INITIAL = Path(generator.__file__).parent / "skill" / "house-rules" / "SKILL.md"

STATED = {
    "ledger": [
        "- Amounts in parentheses are negative, never positive.",
        "* Bracketed figures, e.g. (12.00), mean minus 12.00.",
        "- Do not add amounts in parentheses as positive values; they are negative.",
        "- Don't forget that amounts in parentheses\n  are negative.",
    ],
    "reconcile": [
        "1. Compare ids after stripping leading zeros and ignoring case.",
        "- Identifiers: normalise them (upper-case, no leading zeros) before matching.",
        "- Match references regardless of letter case and zero padding.",
    ],
    "logs": [
        "- Count by hour in UTC, not in local time.",
        "- Do not group by the hour as written: convert timestamps to UTC first.",
    ],
    "migrate": [
        "- Never leave out optional fields; write null for missing values.",
        "- Missing optional fields must be present with the value `null`.",
    ],
    "repair": [
        "- On a missing input file exit with status 2.",
        "- Use exit code 2 for invalid input, not 1.",
        "- Bad input: `sys.exit(2)` with a message on stderr, also for a missing file.",
    ],
    "report": [
        "- Dates such as 04/03/2026 are day first.",
        "- Slashed dates are DD/MM/YYYY, never MM/DD/YYYY.",
    ],
    "searchqa": ["- Answer with only the name, no sentence around it."],
    "docvqa": ["- Copy the value of a field without its label."],
    "livemath": ["- Compare the options: the strongest one that is true is right."],
    "alfworld": [
        "- Placing things: say move X to Y, since put is not known.",
        "- Put X down with move X to Y.",
    ],
    "officeqa": [
        "- Units: convert the table's figure into that of the question.",
        "- For an answer in millions divide a table in thousands by 1,000.",
    ],
    "spreadsheetbench": [
        "- Write computed values into cells, not formulas.",
        "- openpyxl stores no result of a formula: compute it and store the value.",
    ],
}
NOT_STATED = {
    "ledger": ["- Do not treat amounts in parentheses as negative.", "- Parentheses matter."],
    "reconcile": ["- Never strip leading zeros or change the case of ids.", "- Match ids exactly."],
    "logs": ["- Do not convert log times to UTC.", "<timezone>Etc/UTC</timezone>"],
    "migrate": ["- Avoid null for optional fields.", "- Leave out optional fields."],
    "repair": ["- Never exit with code 2 on a missing file.", "- Use 2 spaces in every file."],
    "report": ["- Dates are month first, not day first.", "- Write dates as ISO."],
    "searchqa": ["- The answer is never only the name.", "- The answer is short: a few words."],
    "docvqa": ["- Copy the label with its value."],
    "livemath": ["- Options: avoid the strongest.", "- Compare all options."],
    "alfworld": ["- Put X in/on Y, never move it.", "- `take T from F`, `move T to F`"],
    "officeqa": ["- Never convert the unit of a figure.", "- Name the unit of a figure."],
    "spreadsheetbench": ["- Never write values in place of formulas.", "- Formulas begin with =."],
}


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.family)
def test_wordings(habit: Habit) -> None:
    for text in (habit.rule, *STATED[habit.family]):
        assert habit.rule_present(f"# Rules\n\n- Be kind.\n{text}\n"), text
    for text in NOT_STATED[habit.family]:
        assert not habit.rule_present(text), text


@pytest.mark.parametrize("chore", CHORES, ids=lambda chore: chore.family)
def test_wordings_of_people_who_have_not_read_the_patterns(chore: Chore) -> None:
    """118 wordings of the rules, and as many opposites, near-misses and open questions."""
    lists = json.loads(Path(__file__).with_name("wordings.json").read_text())
    said = {
        kind: [text for family, text in lists[kind] if family == chore.family] for kind in lists
    }
    assert len(said["right"]) >= 18 and len(said["wrong"]) >= 18
    assert not [text for text in said["right"] if not chore.rule_present(f"- {text}")]
    assert not [text for text in said["wrong"] if chore.rule_present(f"- {text}")]


def test_no_rule_states_another() -> None:
    for habit in HABITS:
        others = [other.rule for other in HABITS if other is not habit]
        others += [bad.rule for bad in BAD_RULES] + list(USELESS_RULES)
        assert not habit.rule_present("\n".join(f"- {rule}" for rule in others)), habit.family
    for bad in BAD_RULES:
        assert quirks_in(f"- {bad.rule}") == {bad.quirk}
    good = "\n".join(f"- {habit.rule}" for habit in HABITS)
    assert not quirks_in(good + "\n".join(f"\n- {rule}" for rule in USELESS_RULES))
    assert not quirks_in("- Do not sort rows alphabetically.\n- Never remove duplicate lines.")


def test_the_initial_skill_fixes_and_breaks_nothing() -> None:
    text = INITIAL.read_text()
    assert not any(habit.rule_present(text) for habit in HABITS)
    assert not quirks_in(text)


def test_a_naive_command_does_not_show_the_better_way() -> None:
    for habit in CHORES:
        command = habit.naive("Do `a.csv`.")
        assert habit.better_reading.__name__ not in command
        assert habit.naive_reading.__name__ in command
