"""The leak guard against an optimizer that copies from tasks, and for one that does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.config.schema import TasksConfig
from skillopt.core.skill import Skill
from skillopt.core.types import Task
from skillopt.optimizer.leaks import NEAR, WITHHELD, LeakGuard, Questions, leak_guard
from skillopt.sim.knowledge import BAD_RULES, HABITS, USELESS_RULES
from skillopt.tasks.harbor import read_tasks
from skillopt.tasks.quickstart.generator import generate
from skillopt.tasks.words.generator import KINDS
from skillopt.tasks.words.generator import source as words_source
from tests.helpers.values import SKILL, a_task

SENTENCE = "tell the bookkeeper which of the customers owes the largest sum"
PROSE = """\
# How we work

Read the whole request first and list what it asks for: the files to read, the file to write, its
columns and their order. Open each input once and look at its header and at the first and the last
rows. If a file is not found, say so in one line and stop; do not guess. Dates come in many forms:
`2026-03-04` and 4 March 2026 are the same day, 12/24/2025 can only be month first, and a time
without a zone is local. In a CSV file check the delimiter (comma, semicolon, tab), the encoding
(UTF-8, ISO-8859-1, windows-1252) and whether numbers look like 1,234.50 or 1.234,50. An amount has
two decimals, a share at most 3, a count none. Never write `NaN`; use null, or leave the cell empty.

1. Copy the input to `/tmp/work`, so that it can be compared afterwards (`diff -u`, `sha256sum`).
2. Write a short Python 3.11 script. Read with `csv.DictReader` or `json.loads`; for workbooks use
   openpyxl. Keep `README.md`, `config.yaml` and `requirements.txt` as they are.
3. Compare the totals of input and output: they must agree to 0.01. Count the rows: 100 in, 100 out.
4. Look at the result as its reader would. Rows in ascending order? A final row called Total?

| Status | Meaning |
| --- | --- |
| Approved | to be paid within 30 days |
| Pending | wait, then ask again after 365 days |
| In progress | leave alone |

Exit with code 0 when all went well, 2 for bad input and 127 for a missing program. A service that
answers 404 or 503 is asked again up to 5 times with pauses of 1, 2, 4, 8 and 16 seconds. Convert
CSV files only where asked. To reconcile two lists, match their ids first, then the amounts; report
what is left over. Customers, invoices and payments each have an id: do not mix them up. Office
supplies and travel are accounts, Germany is a country, and all of them are written as given.
"""

Make = Callable[..., Task]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    root = tmp_path_factory.mktemp("tasks")

    def task(name: str, instruction: str, files: Mapping[str, object]) -> Task:
        for path, content in files.items():
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, str) else json.dumps(content)
            (root / name / path).write_text(text)
        return replace(a_task(name, instruction), folder=root / name)

    return task


@pytest.fixture(scope="module")
def tasks(make: Make) -> list[Task]:
    expected = {
        "total": 3945.44, "who": "Greta Lindqvist", "n": 42, "status": "approved", "ok": True,
        "state": "not found", "kind": "In progress", "code": "kRx9Qa2", "day": "2026-03-05",
        "both": 8123.25,
    }  # fmt: skip
    shared = {"environment/table.csv": "order_id,amount\n"}
    return [
        make(
            "logs-05",
            f"Add up `sheet-alpha.csv`. Then {SENTENCE}, and write `report.md`.",
            {
                **shared,
                "task.toml": '[metadata]\nanswer = "quicksilver"\n',
                "tests/data.json": expected,
                "environment/sheet-alpha.csv": "INV-00123,12.5,2026-01-14T21:07:52+00:00,77.25\n",
                "environment/ledger book 7.txt": "write to jane.roe@example.org",
                "solution/report.md": "| Total | 58832.01 |\n",
            },
        ),
        make(
            "convert-csv",
            "Convert `data.csv` for the accountants and give them `report.md` in the folder `out`.",
            {**shared, "tests/data.json": {"n": 42, "both": 8123.25, "x": [1, 2]}},
        ),
        make(
            "reconcile",
            "Match `table.csv` and `README.md`.",
            {**shared, "tests/want.txt": "Sum: 9921.75\nan answer of several words is here too\n"},
        ),
    ]


@pytest.fixture(scope="module")
def guard(tasks: list[Task]) -> LeakGuard:
    return leak_guard(tasks)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("quickstart")
    generate(folder, 42)
    return read_tasks(folder)


def with_body(text: str) -> Skill:
    return replace(SKILL, body=f"{SKILL.body}\n\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        "The total is 3945.44.", "3,945.44", "3.945,44", "(3945.440)", "-3945.44", "EUR3945.44",
        "$3,945.44", "**3945.44**", "__3945.44__", "`3945.44`", "total:3945.44;", "| sum |3945.44|",
        "```sh\necho total=3945.44\n```", "a/3945.44/b", "３９４５.４４", "3\u202f945.44",
        "39\u200b45.44", "3945\\.44", "<!-- 3945.44 -->", "- ask greta LINDQVIST",
        "**Greta** _Lindqvist_", "as Greta\n  Lindqvist says", "krx9QA2", "58,832.01",
        "9921.75", "Quicksilver!",
        "say: an answer of several words is here too!", "due on 2026-03-05",
    ],
)  # fmt: skip
def test_an_expected_answer_is_refused(guard: LeakGuard, text: str) -> None:
    assert guard.refusal(SKILL, with_body(text)).startswith(
        "it copies the expected answer of a task ('"
    )


@pytest.mark.parametrize(
    "text",
    ["As in logs-05.", "see acme/LOGS-05/tests", "**logs-05**", "logs\u201105", "`convert-csv`"],
)
def test_a_tasks_name_is_refused(guard: LeakGuard, text: str) -> None:
    assert guard.refusal(SKILL, with_body(text)).startswith("it names a single task ('")


@pytest.mark.parametrize(
    "text",
    ["Open sheet-alpha.csv.", "cat /app/Sheet-Alpha.CSV", "`sheet\\-alpha.csv`'s",
     "(ledger book 7.txt)"],
)  # fmt: skip
def test_a_single_tasks_file_is_refused(guard: LeakGuard, text: str) -> None:
    assert guard.refusal(SKILL, with_body(text)).startswith("it names a file of a single task ('")


@pytest.mark.parametrize(
    "text",
    [
        f"Always {SENTENCE}!", "Tell the bookkeeper *which* of the\n  customers owes the largest",
        "INV-00123", "2026-01-14 21:07:52", "mail Jane.Roe@example.org",
    ],
)  # fmt: skip
def test_a_long_literal_is_refused(guard: LeakGuard, text: str) -> None:
    reason = guard.refusal(SKILL, with_body(text))
    assert reason.startswith("it copies a long literal of a single task ('")


def test_everything_that_an_edit_can_write_is_looked_at(guard: LeakGuard) -> None:
    reason = "it copies the expected answer of a task ('3,945.44')"
    reason += ": say how it is found, or make up a value"
    assert guard.refusal(SKILL, replace(SKILL, description="For 3,945.44.")) == reason
    for name in ("references/sums.md", "scripts/sum.py", "data.json"):
        added = replace(SKILL, files={name: b'{"sum": "3,945.44"}'})
        assert guard.refusal(SKILL, added) == reason
    named = replace(SKILL, files={"references/sheet-alpha.csv": b"\xff\x00"})
    assert "it names a file of a single task ('sheet-alpha.csv')" in guard.refusal(SKILL, named)


def test_the_worst_comes_first_and_is_cut(guard: LeakGuard) -> None:
    text = f"In logs-05, open sheet-alpha.csv and {SENTENCE}."
    assert "it names a single task ('logs-05')" in guard.refusal(SKILL, with_body(text))
    assert "'3945.44'" in guard.refusal(SKILL, with_body(text + " It is 3945.44."))
    quoted = guard.refusal(SKILL, with_body(SENTENCE)).partition("('")[2].partition("')")[0]
    assert quoted and SENTENCE.startswith(quoted) and len(quoted) <= 60


def test_dates_and_counts_of_hidden_rows_are_fine_as_examples(make: Make) -> None:
    days = [f"2026-04-{day}" for day in range(10, 30)]
    rows = make("stays-1", "Do it.", {"tests/data.json": [*days, *range(201, 220), 7211.5]})
    guard = leak_guard([rows])
    assert guard.refusal(SKILL, with_body("Write 2026-04-12, in lines of 211 letters.")) == ""
    assert "7211.5" in guard.refusal(SKILL, with_body("On 2026-04-12 it was 7211.50."))
    assert guard.redact(rows, "no 2026-04-12") == f"no {WITHHELD}"


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        # Five of them are answers, six are rows of data: dates and numbers of three digits alike.
        (["2026-04-10", "2026-04-11", "2026-04-12", "2026-04-13", "2026-04-14"], True),
        (["2026-04-10", "2026-04-11", "2026-04-12", "2026-04-13", "2026-04-14", 201], False),
        (["2026-04-12", 201, 202, 203, 204], True),
        (["2026-04-12", 201, 202, 203, 204, 205], False),
        # Numbers of other lengths do not count.
        (["2026-04-12", 2011, 2022, 2033, 2044, 2055, 2066], True),
    ],
)
def test_few_dates_are_answers_and_many_are_rows(
    values: list[object], refused: bool, make: Make
) -> None:
    task = make("stays-1", "Do it.", {"tests/data.json": values})
    found = leak_guard([task]).refusal(SKILL, with_body("It began on 2026-04-12 for all."))
    assert bool(found) is refused


@pytest.mark.parametrize(
    ("givers", "refused"),
    [
        ((), True),
        # What only the task itself hands out is still its own answer.
        ((0,), True),
        ((1,), False),
        ((0, 1), False),
    ],
)
def test_an_answer_that_another_task_hands_out_is_no_secret(
    givers: tuple[int, ...], refused: bool, make: Make
) -> None:
    named = f"{'-'.join(map(str, givers))}-given"
    tasks = [
        make(
            f"sums-{number}-{named}",
            f"Do it {number}.",
            {
                "tests/data.json": {"total": 7712.25} if number == 0 else {"n": 1},
                "environment/x.csv": "a,7712.25\n" if number in givers else "a,b\n",
            },
        )
        for number in range(2)
    ]
    found = leak_guard(tasks).refusal(SKILL, with_body("It comes to 7712.25 then."))
    assert ("the expected answer of a task" in found) is refused


@pytest.mark.parametrize(
    ("tasks", "expecting", "shared"),
    [
        # At least three, and half of all.
        (2, 2, False), (3, 3, True), (4, 3, True), (4, 2, False), (6, 3, True), (7, 3, False),
        (7, 4, True), (8, 4, True),
    ],
)  # fmt: skip
def test_what_half_of_the_tasks_expect_is_a_convention(
    tasks: int, expecting: int, shared: bool, make: Make
) -> None:
    every = [
        make(
            f"of-{tasks}-{expecting}-{number}",
            f"Do it {number}.",
            {"tests/data.json": {"total": 7712.25 if number < expecting else 100.5 + number}},
        )
        for number in range(tasks)
    ]
    seen = "7712.25" if shared else WITHHELD
    assert leak_guard(every).redact(every[0], "no 7712.25") == f"no {seen}"


@pytest.mark.parametrize(
    "text",
    ["13945.44", "3945.445 and 3945.4", "14.53", "42 lines", "8123.25", "report.md", "table.csv",
     "order_id", "approved", "not found", "In progress", "tell the bookkeeper",
     "task logs 05 hours",
     "convert CSV", "reconcile", "data.csv and README.md", "Greta", ""],
)  # fmt: skip
def test_what_is_nobodys_or_shared_is_fine(guard: LeakGuard, text: str) -> None:
    assert guard.refusal(SKILL, with_body(text)) == ""


def test_what_the_skill_said_before_is_fine(guard: LeakGuard) -> None:
    before = with_body("The total is 3945.44, see logs-05.")
    moved = replace(SKILL, description="See logs-05.", body="- 3,945.44 is the total.\n\nMore.")
    assert guard.refusal(before, moved) == ""
    assert "a file" in guard.refusal(before, replace(moved, body="sheet-alpha.csv has 3945.44"))
    assert guard.refusal(before, SKILL) == ""


def test_an_answer_put_together_from_old_and_new_is_found(guard: LeakGuard) -> None:
    before = with_body("Ask Greta first. " + "Then go on with the next one. " * 40)
    after = replace(before, body=before.body.replace("Greta first", "Greta Lindqvist first"))
    assert "('Greta Lindqvist')" in guard.refusal(before, after)


@pytest.mark.slow
def test_true_rules_and_ordinary_text_pass_the_quickstarts_guard(
    quickstart: list[Task], tasks: list[Task]
) -> None:
    rules = [*(h.rule for h in HABITS), *(bad.rule for bad in BAD_RULES), *USELESS_RULES]
    for guard in (leak_guard(quickstart), leak_guard([*quickstart, *tasks])):
        for text in [*rules, PROSE]:
            assert guard.refusal(SKILL, with_body(text)) == ""


@pytest.mark.slow
def test_what_the_quickstarts_tasks_have_is_refused(quickstart: list[Task]) -> None:
    guard = leak_guard(quickstart)
    for task in quickstart:
        assert "names a single task" in guard.refusal(SKILL, with_body(f"As in {task.name}:"))
        for answer in guard.answers(task, 10**6).splitlines():
            if task.family == "ledger":
                assert f"('{answer}')" in guard.refusal(SKILL, with_body(f"It is {answer}."))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("total: 3,945.44 expected, got 3945.4", f"total: {WITHHELD} expected, got 3945.4"),
        ("-3945.44 EUR / GRETA Lindqvist!", f"-{WITHHELD} EUR / {WITHHELD}!"),
        ("expected 42, got 42 rows of 43", f"expected {WITHHELD}, got 42 rows of 43"),
        ("status should be 'approved', is open", f"status should be '{WITHHELD}', is open"),
        ("sheet-alpha.csv: INV-00123 has 12.5", None),
        ("expected a CSV file with 3 columns, exit code 1", None),
        ("", None),
    ],
)
def test_feedback_does_not_tell_the_answers(
    guard: LeakGuard, tasks: list[Task], said: str, shown: str | None
) -> None:
    assert guard.redact(tasks[0], said) == (said if shown is None else shown)


@pytest.mark.parametrize(
    "inner", [["kRx9Qa2"], ["7712.25"], ["8841.75"], ["7712.25", "8841.75"], []]
)
def test_an_answer_in_another_one_is_withheld_with_it(inner: list[str], make: Make) -> None:
    whole = "7712.25 kRx9Qa2 8841.75"
    values = {"whole": whole, **{f"part{n}": part for n, part in enumerate(inner)}}
    task = make(f"codes-{len(inner)}-{inner[:1]}", "Do it.", {"tests/data.json": values})
    assert leak_guard([task]).redact(task, f"got {whole}, see it") == f"got {WITHHELD}, see it"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Ask Lindqvist then.", "Ask Greta Lindqvist then."),
        ("Ask Greta then.", "Ask Greta Lindqvist then."),
        ("Ask Greta of Lindqvist then.", "Ask Greta Lindqvist then."),
        ("So several words is here too.", "So an answer of several words is here too."),
        ("So an answer of several.", "So an answer of several words is here too."),
        ("It is 3945", "It is 3945.44"),
        ("It is .44 here", "It is 3945.44 here"),
    ],
)
def test_an_answer_is_refused_though_half_of_it_was_there(
    before: str, after: str, guard: LeakGuard
) -> None:
    found = guard.refusal(replace(SKILL, body=before), replace(SKILL, body=after))
    assert found.startswith("it copies the expected answer of a task ('")


def test_only_the_tasks_own_answers_are_withheld(guard: LeakGuard, tasks: list[Task]) -> None:
    assert guard.redact(tasks[1], "3945.44, not 8123.25") == f"3945.44, not {WITHHELD}"
    # Also of a task that the guard was not built over.
    assert leak_guard([]).redact(tasks[0], "3945.44") == WITHHELD


def test_answers_to_show(guard: LeakGuard, tasks: list[Task]) -> None:
    assert guard.answers(tasks[0], 100).splitlines() == [
        "2026-03-05", "3945.44", "58832.01", "8123.25", "Greta Lindqvist", "kRx9Qa2",
        "quicksilver",
    ]  # fmt: skip
    assert "characters left out" in guard.answers(tasks[0], 5)
    assert guard.answers(a_task(), 100) == ""


@pytest.mark.parametrize(
    "text",
    ["Input: otter\nOutput: animal", "Question: **Otter**? It is an animal.",
     "An otter is a kind of animal.", "Animal: cat, dog, otter, owl."],
)  # fmt: skip
def test_a_held_out_question_with_its_answer_is_refused(tmp_path: Path, text: str) -> None:
    splits = words_source(TasksConfig(source="words", seed=3), tmp_path)
    held_out = [*splits["val"], *splits["test"]]
    guard = leak_guard([*splits["train"], *held_out], held_out)
    held = {task.instruction.split()[1] for task in held_out}
    word = "otter" if "otter" in held else sorted(held)[0]
    kind = next(k for k, all_of in KINDS.items() if word in all_of.split())
    for swapped in (text, text.replace("\n", " — ")):
        swapped = re.sub("otter", word, swapped, flags=re.I)
        swapped = re.sub("animal", kind, swapped, flags=re.I)
        assert "question that is kept for tests" in guard.refusal(SKILL, with_body(swapped))
        assert guard.refusal(with_body(swapped), with_body(f"{swapped}\n\nMore.")) == ""
    assert guard.refusal(SKILL, with_body(f"The {word} may be there.")) == ""
    trained = splits["train"][0].instruction.split()[1]
    kind = next(k for k, all_of in KINDS.items() if trained in all_of.split())
    assert guard.refusal(SKILL, with_body(f"Input: {trained}\nOutput: {kind}")) == ""


def test_a_held_out_question_is_found_beside_what_the_skill_said_before(tmp_path: Path) -> None:
    splits = words_source(TasksConfig(source="words", seed=1), tmp_path)
    held_out = [*splits["val"], *splits["test"]]
    guard = leak_guard([*splits["train"], *held_out], held_out)
    kinds = {word: kind for kind, every in KINDS.items() for word in every.split()}
    word = held_out[0].instruction.split()[1]
    before = with_body(f"As in {held_out[1].name}.")
    after = replace(before, body=f"{before.body}\n\nInput: {word}\nOutput: {kinds[word]}")
    assert "names a single task" in guard.refusal(SKILL, before)
    assert "question that is kept for tests" in guard.refusal(before, after)
    # Beside one that the skill had before, too.
    second = held_out[1].instruction.split()[1]
    more = replace(after, body=f"{after.body}\n\nInput: {second}\nOutput: {kinds[second]}")
    assert "question that is kept for tests" in guard.refusal(after, more)
    assert guard.refusal(more, replace(more, body=f"{more.body}\n\nBe kind.")) == ""


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        # The answer, so many words before the question's first word or after its last one.
        (1, None, True),
        (NEAR - 1, None, True),
        (NEAR + 1, None, False),
        (None, 1, True),
        (None, NEAR - 1, True),
        (None, NEAR + 1, False),
        (NEAR + 1, NEAR - 1, True),
        (None, None, False),
    ],
)
@pytest.mark.parametrize("frame", [0, 30])
def test_an_answer_is_looked_for_on_both_sides_of_a_question(
    before: int | None, after: int | None, found: bool, frame: int
) -> None:
    """However many words of other questions stand within it."""
    questions = Questions([(("rivers", "freedonia"), frozenset({"zembla"}))], frozenset({"of"}))
    asked = ["rivers", *["of"] * frame, "freedonia"]
    ahead = [] if before is None else ["zembla", *["filler"] * (before - 1)]
    behind = [] if after is None else [*["filler"] * (after - 1), "zembla"]
    assert bool([*questions.copied(" ".join([*ahead, *asked, *behind]))]) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rivers freedonia zembla", ["rivers freedonia"]),
        # A second occurrence counts as the first does.
        ("rivers lakes " + "filler " * 50 + "rivers freedonia zembla", ["rivers freedonia"]),
        ("rivers freedonia " + "filler " * 50 + "zembla rivers freedonia", ["rivers freedonia"]),
        ("freedonia rivers zembla", []),
        ("rivers lakes freedonia zembla", []),
        ("rivers freedonia zemblas", []),
        ("rivers freedonia", []),
        # An answer that stands in the question is told by it.
        ("lakes freedonia", []),
        ("lakes freedonia syldavia", ["lakes freedonia"]),
    ],
)
def test_a_question_is_copied_with_its_own_answer(text: str, found: list[str]) -> None:
    questions = Questions(
        [
            (("rivers", "freedonia"), frozenset({"zembla"})),
            (("lakes", "freedonia"), frozenset({"lakes", "syldavia"})),
        ],
        frozenset(),
    )
    assert [*questions.copied(text)] == found


def test_every_held_out_question_is_known(tmp_path: Path) -> None:
    splits = words_source(TasksConfig(source="words", seed=1), tmp_path)
    held_out = [*splits["val"], *splits["test"]]
    guard = leak_guard([*splits["train"], *held_out], held_out)
    kinds = {word: kind for kind, every in KINDS.items() for word in every.split()}
    for task in held_out:
        word = task.instruction.split()[1]
        example = with_body(f"Input: {word}\nOutput: {kinds[word]}")
        assert "question that is kept for tests" in guard.refusal(SKILL, example), word


def test_what_most_tasks_expect_is_shown(make: Make) -> None:
    """A value that a skill can only learn if the optimizer sees it."""
    rows = [
        make(f"owners-{n}", "Fill in owners.", {"tests/d.json": ["Unassigned", f"AQ{n}77{n}12"]})
        for n in range(4)
    ]
    guard = leak_guard(rows)
    said = guard.redact(rows[2], "owner is '' but must be 'Unassigned', id must be AQ277212")
    assert said == f"owner is '' but must be 'Unassigned', id must be {WITHHELD}"
    assert WITHHELD in leak_guard(rows[:2]).redact(rows[0], "but must be 'Unassigned'")


def test_the_same_tasks_in_any_order_are_guarded_alike(tasks: list[Task]) -> None:
    orders = [leak_guard(tasks), leak_guard(reversed(tasks))]
    for text in ("3945.44", "logs-05", "report.md", "8123.25"):
        assert len({guard.refusal(SKILL, with_body(text)) for guard in orders}) == 1


def test_a_guard_over_nothing_refuses_nothing() -> None:
    assert leak_guard([]).refusal(SKILL, with_body("3945.44 logs-05")) == ""
    assert leak_guard([a_task("t")]).refusal(SKILL, with_body("Do the chore.")) == ""


texts = st.text() | st.lists(
    st.sampled_from(["3945.44", "logs-05", "sheet-alpha.csv", *SENTENCE.split(), "INV-00123", "\n"])
).map(" ".join)
contents = st.binary(max_size=99) | texts.map(lambda text: text.encode("utf-8", "replace"))
files = st.dictionaries(st.text(max_size=9), contents, max_size=2)
skills = st.builds(Skill, st.just("a-skill"), texts, texts, files=files)


@given(skills, texts)
def test_no_change_is_no_leak(guard: LeakGuard, skill: Skill, other: str) -> None:
    assert guard.refusal(skill, skill) == ""
    assert guard.refusal(skill, replace(skill, body="", description="")) == ""
    swapped = replace(skill, description=skill.body, body=skill.description)
    assert guard.refusal(skill, swapped) == ""
    assert isinstance(guard.refusal(skill, replace(skill, body=other)), str)


@given(texts, texts)
def test_no_answer_slips_through(guard: LeakGuard, before: str, after: str) -> None:
    hidden = with_body(f"{before} 3,945.44 {after}")
    assert "expected answer" in guard.refusal(SKILL, hidden)


@given(texts)
def test_redacting_leaves_the_rest_as_it_is(guard: LeakGuard, tasks: list[Task], text: str) -> None:
    shown = guard.redact(tasks[0], text)
    assert "3945.44" not in shown.split()
    assert guard.redact(a_task(), text) == text


FILES_OF = {
    "shop-orders": "manage.py models.py tox.ini requirements-dev.txt",
    "front-end": "tsconfig.json package-lock.json types.ts vite.config.ts .env.example",
    "parser": "Cargo.toml src/main.rs src/lib.rs rust-toolchain.toml",
    "queue": "go.mod go.sum cmd/server/main.go Makefile",
    "proxy": "nginx.conf entrypoint.sh docker-compose.yml",
    "reports": "schema.sql migrations/0001_initial.sql dbt_project.yml",
    "mobile": "AndroidManifest.xml build.gradle.kts strings.xml",
    "solver": "CMakeLists.txt conftest.py meson.build",
    "cluster": "values.yaml Chart.yaml deployment.yaml main.tf variables.tf",
    "notes": "README.md CHANGELOG.md docs/index.md mkdocs.yml",
    "table": "data.csv report.xlsx config.json results.json",
    "pipeline": "ci.yml .pre-commit-config.yaml pyproject.toml setup.cfg",
}
"""Twelve tasks of different kinds, each the only one that has its files."""


def test_general_advice_is_not_refused_however_different_the_tasks_are(make: Make) -> None:
    """300 edits, 200 of them by people who had not read the guard."""
    edits = json.loads(Path(__file__).with_name("general-edits.json").read_text())
    every = []
    for number, (name, files) in enumerate(FILES_OF.items()):
        there: dict[str, object] = {f"environment/{file}": "x\n" for file in files.split()}
        there["tests/test_it.py"] = (
            f"NAMES = ['PostgreSQL', 'ES2022']\nassert total == {8123.25 + 717 * number}\n"
        )
        asked = f"Mend what is wrong in `{files.split()[0]}`, then run the tests of {name}."
        every.append(make(f"{name}-1", asked, there))
    guard = leak_guard(every, every)
    refused = [reason for text in edits if (reason := guard.refusal(SKILL, with_body(text)))]
    assert len(edits) == 300 and len(refused) <= 3, refused
    for number in range(len(every)):
        assert "expected answer" in guard.refusal(SKILL, with_body(f"{8123.25 + 717 * number:,}"))


@pytest.mark.parametrize(
    "text",
    ["It sums to 125 411 328 000.", "The scene holds **4.967** kPa.", "Ask `solve_pore_mass(x)`.",
     "The order is d, dcba, abcd, a.", "Open probe_scene.strg first.", "Use 4.10.2."],
)  # fmt: skip
def test_what_people_write_differently_from_the_tests(make: Make, text: str) -> None:
    task = make(
        "odd-forms-1",
        "Write solve_pore_mass for /app/data/probe_scene.strg.",
        {
            "tests/a.java": "assertEquals(125411328000L, total);\n",
            "tests/truth.json": {"scene": 4.967424000000001},
            "tests/b.py": "assert f() == ['d', 'dcba', 'abcd', 'a']\nassert version == '4.10.2'\n",
        },
    )
    assert leak_guard([task]).refusal(SKILL, with_body(text))


DIGEST = "4be1c93f7a25d8061f9ce3ab50d7724e6a18f03c92b5dd417e0936caf1825b7d"
WREN = {
    "instruction.md": "",
    "environment/mend.go": "func SettleQuibble(n int) int { return n }\n",
    "environment/Dockerfile": "RUN mkdir -p /var/spool/wren/plume-tallies\n",
    "tests/test_wren.py": (
        "# The heron rows come first since the ferry is late on weekdays.\n"
        "WREN_STRETCHED_CONFIG = dict(a=1)\n"
        "def test_wrens_keep_their_perch_quibble():\n"
        "    assert label == 'reply-contradicts-ledger'\n"
        "    assert kind == 'ferry_during_fog'\n"
        f"    assert digest == '{DIGEST}'\n"
        "    assert head[:4] == b'QVZ1'\n"
        "    assert counts == [193, 284, 347, 508, 614, 733]\n"
        "    assert fruit == 'pomelo'\n"
        "    assert day == '2026-08-17', 'the global count has to fall on at least 2 wet days'\n"
        "    assert said == 'Odalys keeps the plume for Q3 ash (as D6 = 14.3 > 12)'\n"
    ),
    "tests/truth.json": {"one": 5.2835904000000005, "two": 4781.9163, "code": 139},
    "tests/expected/late.txt": "QUAGGA frame=1 lateMs=34\n",
    "solution/solve.sh": (
        "KEY=HDQH-XFUC-MKE8-S3BW\nffmpeg -i a -af 'atempo=1.000417,asetrate=48000' -c:v libx917 b\n"
        "cat > out.csv <<'X'\nclip_04,wren_01_46_909\nThe wren carries dark feathers.\nX\n"
    ),
    "solution/Perch.kt": "fun downgradePerchesToIdle() {}\nval complementPlume = 1\n",
}
FINCH = {
    "environment/a.py": "import quuxlib\nx = 271.5\n",
    "tests/test_finch.py": "assert run('plume_of_ash') == 'ferryWaitQuirk'\n",
    "solution/solve.sh": "ffmpeg -c:v libx919 -af 'rate=139.25' out; f --wait 139\n",
}
ASKED = (
    'Watch "Grotto 9 - The Grimbeak" with Odalys Threnody in `onDestroyView`, print `ferry_wait`.'
    " The example's area is 0.1847, the noise 1.4826 deviations, and Pi 3.1416."
)


@pytest.fixture(scope="module")
def birds(make: Make) -> LeakGuard:
    """A guard over two tasks that have made up much."""
    wren = {path: text for path, text in WREN.items() if path != "instruction.md"}
    return leak_guard([make("wren-tally-quibbles", ASKED, wren), make("finch-9", "Sing.", FINCH)])


@pytest.mark.parametrize(
    "text",
    [
        # Codes and numbers in other forms.
        "Try `HDQHXFUCMKE8S3BW` first.", "Try HDQHXFUC-MKE8S3BW.", "Try hdqh xfuc mke8 s3bw.",
        f"It begins with {DIGEST[:32]}.", f"It is {DIGEST[:7]}.", f"It is {DIGEST.upper()}.",
        "It is 5.2835904.", "Some 5.28359.", "Some 5.284.", "Some 4781.92.", "It is 4781.9163.",
        "Set `atempo=1.000417`.", "Counts are 193, 284 and then 347.", "It has 284, 347, 508.",
        "On 17 August 2026.", "By Aug 17, 2026.", "By 17/08/2026.",
        # Names in any casing, wherever the task has made them up.
        "Use `reply-contradicts-ledger`.", "Use reply_contradicts_ledger.",
        "Use ReplyContradictsLedger.", "Use FerryDuringFog.", "Use ferry_during_fog.",
        "Stretch WREN_STRETCHED_CONFIG.", "Stretch `wrenStretchedConfig`.",
        "See test_wrens_keep_their_perch_quibble.", "See WrensKeepTheirPerchQuibble.",
        "Write wren 01 46 909 for it.", "Write `wren_01_46_909`.", "As wren tally quibbles do.",
        "Call SettleQuibble.", "Call settle_quibble.", "Call downgradePerchesToIdle.",
        "Divide by complement_plume.", "Print ferryWait.", "Print `ferry-wait`.",
        "Look into /var/spool/wren/plume-tallies.", "Look into wren/plume-tallies.",
        # Marks, lines and proper names.
        "It begins with `QVZ1`.", "Write QUAGGA frame=1 lateMs=34 then.",
        "The wren carries dark feathers.", "Fight the Grimbeak.", "Ask Odalys Threnody.",
        "The area is 0.1847.", "The global count has to fall on at least 2 wet days.",
        "Log that Odalys keeps the plume for Q3 ash.", "Fill the column ferry wait.",
        "Note that heron rows come first since the ferry is late on weekdays.",
    ],
)  # fmt: skip
def test_what_a_task_has_made_up_is_refused_in_any_form(birds: LeakGuard, text: str) -> None:
    assert birds.refusal(SKILL, with_body(text))


@pytest.mark.parametrize(
    "text",
    [
        # Too short, or another number.
        f"It is {DIGEST[:6]}.", "It is 5.28.", "It is 5.2836905.", "Some 4781.9.",
        "Set it to 1.01.",
        "Counts are 284 and 193, or 347.", "On 17 August 2025.",
        # What other tasks have anywhere, in any casing.
        "Code 139 is a crash.", "Use a plume of ash.",
        # What everybody could guess.
        "Clear it in `onDestroyView`.", "Noise is 1.4826 deviations.", "It is 3.1416.",
        "Eat a pomelo.", "The ferry waits.", "Settle the quibble.", "It contradicts the ledger.",
        "The reply contradicts the ledger.", "The ferry comes during fog.", "Use the ferry wait.",
        "The count falls on wet days.", "Log who keeps the plume.", "A column for the ferry.",
        "Keep the complement of it.", "See /var/spool/cron/tabs.", "The wren carries feathers.",
        "Feathers are dark, and the wren sings.",
    ],
)  # fmt: skip
def test_what_is_guessed_or_everybodys_is_not_refused(birds: LeakGuard, text: str) -> None:
    assert birds.refusal(SKILL, with_body(text)) == ""


@pytest.mark.parametrize(
    ("where", "has"),
    [
        ("environment/a.py", "x = ZymurgyPlumes()"), ("environment/b.csv", "zymurgy_plumes,1"),
        ("tests/test_a.py", "run(zymurgyPlumes=1)"), ("solution/s.sh", "# zymurgy-plumes"),
        ("solution/zymurgy_plumes.md", ""), ("tests/Dockerfile", "ENV ZYMURGY_PLUMES=1"),
    ],
)  # fmt: skip
def test_a_name_that_another_task_has_anywhere_is_nobodys(where: str, has: str, make: Make) -> None:
    slug = re.sub(r"\W", "", where)
    first = make(f"plumes-1{slug}", "Do it.", {"tests/t.py": "assert f() == 'zymurgy_plumes'\n"})
    other = make(f"plumes-2{slug}", "Do it too.", {where: has})
    text = with_body("Set zymurgy_plumes.")
    assert "('zymurgy_plumes')" in leak_guard([first]).refusal(SKILL, text)
    assert leak_guard([first, other]).refusal(SKILL, text) == ""


def test_a_name_that_the_skill_had_in_another_casing_is_fine(birds: LeakGuard) -> None:
    before = with_body("Call SettleQuibble for /var/spool/wren/plume-tallies.")
    after = replace(before, body=f"{before.body}\n\nThen settle_quibble, in wren/plume-tallies.")
    assert birds.refusal(SKILL, before) and birds.refusal(before, after) == ""


def test_other_forms_of_answers_stay_readable_in_feedback(make: Make) -> None:
    """A guard that refuses them in skills need not hide them in what a verifier says."""
    task = make("wren-2", "Do it.", {"tests/e.txt": "QUAGGA waits for one frame\n"})
    guard = leak_guard([task])
    assert guard.refusal(SKILL, with_body("QUAGGA waits for one frame"))
    said = "late_frames is missing, QUAGGA is not known, wait for one frame"
    assert guard.redact(task, said) == said
