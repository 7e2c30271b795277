"""What is a task's own, arm by arm: values, names and declared answers that count or do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from skillopt.tasks.contents import MAX_BYTES
from skillopt.tasks.literals import Literals, literals_of
from tests.helpers.tasks import a_book, literals_in
from tests.helpers.values import a_task

Read = Callable[..., Literals]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The literals of a task with the given files."""
    return partial(literals_in, tmp_path)


def sets(found: Literals) -> tuple[set[str], set[str], set[str]]:
    """Answers, secrets and small values."""
    return {*found.answers}, {*found.secret}, {*found.small}


@pytest.mark.parametrize(
    ("program", "answers", "small"),
    [
        # A single word: five letters if something is compared with it, or else seven.
        ("assert x == 'quvzo'", {"quvzo"}, set()),
        ("assert x == 'quvz'", set(), {"quvz"}),
        ("x = 'quvzowa'", {"quvzowa"}, set()),
        ("x = 'quvzow'", set(), {"quvzow"}),
        ("assert x == 'schema'", set(), {"schema"}),
        ("x = 'Quvzowa'", {"Quvzowa"}, set()),
        # Numbers of several parts, but no versions and no addresses that all know.
        ("assert x == '10.7.3.9'", {"10.7.3.9"}, set()),
        ("x = '10.7.3.9'", set(), {"10.7.3.9"}),
        ("assert x == '2.7.9'", {"2.7.9"}, set()),
        ("assert x == '127.0.0.9'", set(), {"127.0.0.9"}),
        ("assert x == '10.0.0.0'", set(), {"10.0.0.0"}),
        ("assert x == '1.0.1'", set(), {"1.0.1"}),
        # What nothing is compared with: three digits may be a size, five words a message.
        ("x = 217", set(), {"217"}),
        ("x = 7041", {"7041"}, set()),
        ("x = 3.25", {"3.25"}, set()),
        ("x = 'a 7041 b c'", {"a 7041 b c", "7041"}, set()),
        ("x = 'a 7041 b c d'", {"7041"}, {"a 7041 b c d"}),
        # What something is compared with: four words, or three with an odd one.
        ("assert x == 217", {"217"}, set()),
        ("assert x == 'the big table is'", {"the big table is"}, set()),
        ("assert x == 'the big table'", set(), {"the big table"}),
        ("assert x == 'the quvzo table'", {"the quvzo table"}, set()),
        ("assert x == 'quvzo table'", set(), {"quvzo table"}),
        # Names and paths are no values; codes are.
        ("assert x == 'true_area'", set(), set()),
        ("assert x == 'code_70412'", {"code_70412"}, set()),
        ("assert x == '/app/out/7041.25'", set(), set()),
        # The alternatives of a pattern, and codes in a text.
        ("re.match(r'quvzo|paid|glimbo', x)", {"quvzo|paid|glimbo", "quvzo", "glimbo"}, set()),
        ("x = re.compile('glimborious|quvzo')", {"glimborious"}, {"glimborious|quvzo"}),
        ("assert x == '(quvz|schema)'", set(), {"(quvz|schema)"}),
        ("assert x == 'bytes=15359'", {"bytes=15359"}, set()),
        ("assert x == 'of bytes=15359'", {"of bytes=15359", "bytes=15359", "15359"}, set()),
        ("assert x == 'of v=15359.25'", {"of v=15359.25", "v=15359.25"}, set()),
        ("assert x == ''", set(), set()),
        ("assert x == 'paid a_b'", {"paid a_b"}, set()),
        ("assert x == 'paid true_area'", set(), {"paid true_area"}),
        # Three digits or two words, and the neighbours of these limits.
        ("x = 21", set(), {"21"}),
        ("x = 2170", set(), {"2170"}),
        ("x = 2171", {"2171"}, set()),
        ("x = 'v1.2.3'", set(), {"v1.2.3"}),
        ("assert x == 'v4.2.3'", {"v4.2.3"}, set()),
        ("assert x == '192.168.7.3'", set(), {"192.168.7.3"}),
    ],
)
def test_values_in_the_tests_programs(
    read: Read, program: str, answers: set[str], small: set[str]
) -> None:
    found = read({"tests/check.py": program})
    assert sets(found) == (answers, answers, small)


@pytest.mark.parametrize(
    ("name", "content", "answers", "small"),
    [
        ("a.txt", "# Total 7041.25\n", {"Total 7041.25", "7041.25"}, set()),
        ("a.txt", ">  kRx9Qa2 \n", {"kRx9Qa2"}, set()),
        ("a.txt", "* a | kRx9Qa2 |\n", {"kRx9Qa2"}, {"a"}),
        ("a.txt", "| `Greta Lindqvist` | *12* |\n|---|:-:|\n", {"Greta Lindqvist"}, {"12"}),
        # On a line of its own three digits are a value, within one a count.
        ("a.txt", "217\n3.2\n\n", {"217"}, {"3.2"}),
        ("a.txt", "217 in 3.25\n", {"217 in 3.25", "3.25"}, set()),
        ("a.txt", "bytes=15359;\n", {"bytes=15359;", "bytes=15359", "15359"}, set()),
        ("a.json", '"# a | kRx9Qa2"', {"# a | kRx9Qa2", "kRx9Qa2"}, {"# a"}),
        ("a.json", '"kRx9Qa2,"', {"kRx9Qa2,"}, set()),
        ("a.json", '{"k": ["see kRx9Qa2"]}', {"see kRx9Qa2", "kRx9Qa2"}, set()),
        ("a.json", "[1e400, 3.250, NaN, true, null, -217]", {"1e400", "3.250", "-217"}, {"NaN"}),
        ("a.json", "[3.25", {"[3.25"}, set()),
        ("a.json", f"[{'9' * 5000}, -0]", set(), {"9" * 5000, "-0"}),
        ("a.JSON", "[3.25]", {"3.25"}, set()),
        ("a.jsonl", '{"a": 3.25}\n\n  \n[7041]\n', {"3.25", "7041"}, set()),
        ("a.ndjson", "[3.25]\n7041\n", {"3.25", "7041"}, set()),
        ("a.csv", "7041;3.25,kRx9Qa2\n", {"7041;3.25", "kRx9Qa2"}, set()),
        ("a.csv", "a\tb,7041\n3.25\tx,9\n", {"b,7041", "3.25"}, {"a", "x,9"}),
        ("a.csv", "a,b\nx\ty,7041\n", {"7041"}, {"a", "b", "x y"}),
        ("a.csv", '"x\n7041",3.25\n', {"x 7041", "7041", "3.25"}, set()),
        ("a.xlsm", a_book([True, None, 771.25]), {"771.25"}, set()),
        ("a.txt", b"\xef\xbb\xbf7041\n", {"7041"}, set()),
        ("a.txt", "7041\n" + " " * (MAX_BYTES - 5), {"7041"}, set()),
        ("a.txt", "7041\n" + " " * (MAX_BYTES - 4), set(), set()),
        ("Dockerfile", "RUN echo 7041.25", set(), set()),
        ("Makefile", "x: 7041.25", set(), set()),
        ("a.PY", "x = 7041.25", {"7041.25"}, set()),
    ],
)
def test_values_in_the_tests_files(
    read: Read, name: str, content: str | bytes, answers: set[str], small: set[str]
) -> None:
    found = read({f"tests/{name}": content})
    assert sets(found)[::2] == (answers, small)


@pytest.mark.parametrize(
    ("number", "short"),
    [
        ("3.14159265", {"3.142", "3.1416"}),
        ("-3.14159265", {"-3.142", "-3.1416"}),
        ("12.345678", {"12.35", "12.346", "12.3457"}),
        ("0.123456", {"0.1235"}),
        ("12.3456", set()),
        ("12.34567", {"12.35", "12.346", "12.3457"}),
        ("123456789.12345", {"123456789.12", "123456789.123", "123456789.1234"}),
        ("1234567890.12345", set()),
    ],
)
def test_a_number_with_many_decimals_is_secret_as_people_round_it(
    read: Read, number: str, short: set[str]
) -> None:
    found = read({"tests/a.json": f"[{number}]"})
    assert sets(found)[:2] == ({number}, {number} | short)


def test_what_stands_in_given_files_is_secret_and_no_answer(read: Read) -> None:
    files = {"tests/a.json": "[3945.44, 7041]", "environment/a.txt": "3945.44"}
    found = read(files)
    assert sets(found)[:2] == ({"7041"}, {"3945.44", "7041"})
    # What it is asked with is known to everyone.
    found = read(files, instruction="Is it 3945.44?")
    assert sets(found)[:2] == ({"7041"}, {"7041"})
    # What a Dockerfile says is not given, what a program says is.
    files = {"tests/a.json": "[3945.44, 7041]", "environment/Dockerfile": "ENV A=3945.44"}
    assert read(files | {"environment/a.py": "7041", "environment/a.txt": ""}).answers == {
        "3945.44"
    }


def test_a_text_is_given_if_its_words_follow_each_other(read: Read) -> None:
    run = "the crates went up to the north harbour at noon"
    values = [run, f"{run} today", "crates went up to the", "crates went the up to", "north har"]
    found = read({"tests/a.json": json.dumps(values), "environment/a.txt": f"x {run} y"})
    assert found.answers == {f"{run} today", "crates went the up to"}


@pytest.mark.parametrize(
    ("declared", "answers", "secret", "small"),
    [
        ('answer = "x"', set(), set(), {"x"}),
        ('answer = "xy"', {"xy"}, set(), set()),
        ('answer = "yes"', set(), set(), {"yes"}),
        ('answer = "order"', set(), set(), {"order"}),
        ('answer = " quince "', {"quince"}, {"quince"}, set()),
        ('answer = "pear"', {"pear"}, set(), set()),
        ('answer = "12 pear"', {"12 pear"}, set(), set()),
        ('answer = "a fig x"', {"a fig x"}, {"a fig x"}, set()),
        ('answers = ["kRx9Qa2", 3.25, true]', {"kRx9Qa2", "3.25"}, {"kRx9Qa2", "3.25"}, set()),
        ('expected = {b = ["a1"]}', {"a1"}, set(), set()),
        ('other = "quince"', set(), set(), set()),
        ('answer = " "', set(), set(), set()),
    ],
)
def test_what_holds_of_a_declared_answer(
    read: Read, declared: str, answers: set[str], secret: set[str], small: set[str]
) -> None:
    # Whether it is given does not matter: its author declares it.
    found = read({"task.toml": f"[metadata]\n{declared}\n"}, "Say quince or kRx9Qa2.")
    assert sets(found) == (answers, secret, small)


def test_answers_that_a_task_from_a_program_declares() -> None:
    found = literals_of(replace(a_task(), answers=(" quince ", "", "42", "x")))
    assert sets(found) == ({"quince", "42"}, {"quince"}, {"x"})


@pytest.mark.parametrize(
    ("name", "toml", "names"),
    [
        ("abc1", "", {"abc1"}),
        ("ab1", "", set()),
        ("abcd", "", set()),
        ("Fix-It", "", {"fix-it"}),
        ("a", '[task]\nname = "acme/deep/fix-1"', {"acme/deep/fix-1", "fix-1"}),
        ("fix-2", '[task]\nname = "fix-1"', {"fix-1", "fix-2"}),
        ("fix-2", "[task]\nname = 31415", {"fix-2"}),
        ("fix-2", "task = 3\nmetadata = 3", {"fix-2"}),
    ],
)
def test_names_of_a_task(read: Read, name: str, toml: str, names: set[str]) -> None:
    assert read({"task.toml": toml}, name=name).names == names


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("ledger_book.csv", True), ("ledger.csv", False), ("uvw9.md", True), ("u9.c", False),
        ("u99.c", True), ("quvz", False), ("quvzo", False), ("quvz1", True), ("a1b2", False),
        ("quvzo-1", True), (".quvzo", False), (".quvz.x9", True), ("requirements.txt", False),
        ("Makefile", False),
    ],
)  # fmt: skip
def test_which_names_of_files_are_a_tasks_own(read: Read, name: str, own: bool) -> None:
    for part in ("environment", "tests", "solution"):
        assert read({f"{part}/deep/{name}": "", f"{part}s/quvz_glim.csv": ""}).files == (
            {name} if own else set()
        )


@pytest.mark.parametrize(
    ("instruction", "names"),
    [
        ("Run `quvzofn(1)`.", {"quvzofn"}),
        ("Run `quvzofn`.", set()),
        ("Call `quvz(`.", set()),
        ("Call `schema(x)`.", set()),
        ("See /app/quvzodir or /app/in/quvzob.", {"quvzodir", "quvzob"}),
        ("See /workspace/in/quvzo.csv now.", {"quvzo.csv"}),
        ("See /root/quvzoa and /home/me/quvzob.", {"quvzoa", "quvzob"}),
        ("See /srv/quvzo, /app/quvzo/x, /app/quvz and /app/schema.", set()),
        ("Read `my quvz book.csv`.", {"my quvz book.csv"}),
        ("Run `python3 quvz.csv`.", {"quvz.csv"}),
        ("Pay `quvz glim 12.50`.", set()),
        ("Use (quvz_book), and quvzBook.", {"quvz_book", "quvzbook"}),
        ("Use quvz_glim(quvz_book).", {"quvz_glim"}),
        ("See out/true_area_1/ and out/ab_cd.", {"true_area_1", "ab_cd"}),
        ("Use json.loads and Quvzo.", set()),
        ("Use QuvzGlimBook.", {"quvzglimbook"}),
        ("Use a_b and a_bcd", {"a_bcd"}),
    ],
)
def test_names_in_an_instruction(read: Read, instruction: str, names: set[str]) -> None:
    assert read({}, instruction).files == names


def test_a_folder_is_no_file_of_the_tasks(read: Read) -> None:
    assert read({"tests/quvz_glim.csv/a.py": ""}).files == set()


def test_names_in_the_tests_programs(read: Read) -> None:
    assert read({"tests/a.py": "f('" + "a_bqz " * 33 + "')"}).files == {"a_bqz"}
    assert read({"tests/a.py": "f('" + "a_bqz " * 33 + "ab')"}).files == set()
    assert read({"tests/a.py": "f('out/quvz_glim.csv')"}).files == {"quvz_glim.csv"}


def test_what_the_solution_prints_counts_and_what_the_tests_print_does_not(read: Read) -> None:
    assert read({"solution/solve.sh": "echo 'kRx9Qa2'\n"}).answers == {"kRx9Qa2"}
    assert read({"solution/solve.sh": "", "tests/test.sh": "echo 'kRx9Qa2'\n"}).answers == set()


def test_the_checks_of_an_eval_file_are_what_a_skill_should_teach(read: Read) -> None:
    checks = {"tests/checks.json": '["kRx9Qa2"]', "tests/run_checks.py": "assert x == 'quvzowa'"}
    assert not read(checks).answers
    assert read({**checks, "tests/own.json": "[7041]"}).answers == {"7041"}


def test_a_program_of_that_name_without_checks_is_the_tests_own(read: Read) -> None:
    assert read({"tests/run_checks.py": "assert x == 'quvzowa'"}).answers == {"quvzowa"}


def test_the_words_of_an_instruction_and_of_what_is_given(read: Read) -> None:
    text = " ".join(f"w{n}" for n in range(201))
    found = read({"environment/a.py": "quvzo = 1", "environment/Dockerfile": "FROM zzz"}, text)
    assert found.question == tuple(text.split()[:200])
    assert found.anywhere >= {*text.split(), "quvzo", "1", "zzz", "a.py"}
    # Of programs no long literals are kept.
    assert not read({"environment/a.py": "3945.4412"}).texts
