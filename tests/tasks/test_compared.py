"""Values that test code compares with, in the languages in which tests are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.tasks.compared import values
from skillopt.tasks.literals import literals_of
from tests.helpers.values import a_task

COMPARED = {
    ".py": """
def test_it(done):
    "Documentation of 4711.25 values."
    out = subprocess.run(["python", "/app/run.py", "--depth 9981.5"])
    assert out.stdout == 'migrations: 17 applied', f"wrong output 1234.75 {out}"
    EXPECTED = {"owner": "Greta Lindqvist", "sum": 3945.44}
    self.assertEqual(read(), "a41f9c7e2b", msg="the code 88321.5 is wrong")
    raise SystemExit("no 77123.5 found in this file")
""",
    ".js": """
// 4711.25 in a comment
it('adds 9981.5 rows', () => {
  console.log("wrong output 1234.75");
  expect(run().line).toBe('migrations: 17 applied');
  expect(owner).toEqual({owner: "Greta Lindqvist", sum: 3945.44});
  assert.equal(code, `a41f9c7e2b`);
});
""",
    ".go": """
// 4711.25 in a comment
func TestIt(t *testing.T) {
    if got != "migrations: 17 applied" {
        t.Errorf("wrong output 1234.75: %v", got)
    }
    want := Row{Owner: "Greta Lindqvist", Sum: 3945.44}
    if code != "a41f9c7e2b" { t.Fatal("code 88321.5") }
}
""",
    ".rs": """
/// 4711.25 in a comment
#[test]
fn it() {
    assert_eq!(line(), "migrations: 17 applied");
    let expected = Row { owner: "Greta Lindqvist", sum: 3945.44 };
    println!("wrong output 1234.75");
    assert!(code == "a41f9c7e2b");
}
""",
    ".sh": """
# 4711.25 in a comment
echo "wrong output 1234.75"
grep -q "migrations: 17 applied" out.txt || exit 1
expected_sum=3945.44
[ "$owner" == "Greta Lindqvist" ]
if [ "$code" = "a41f9c7e2b" ]; then echo ok; fi
""",
    ".rb": """
# 4711.25 in a comment
puts "wrong output 1234.75"
expect(line).to eq('migrations: 17 applied')
expect(owner).to eq("Greta Lindqvist")
assert_equal 3945.44, sum
assert_equal "a41f9c7e2b", code
""",
    ".java": """
/* 4711.25
 * in a comment 9981.5 */
assertEquals("migrations: 17 applied", line);
assertThat(owner).isEqualTo("Greta Lindqvist");
assertEquals(3945.44, sum, 0.001);
System.out.println("wrong output 1234.75");
assertEquals("a41f9c7e2b", code);
""",
}
RIGHT = {"migrations: 17 applied", "Greta Lindqvist", "3945.44", "a41f9c7e2b"}
SAID = ("4711.25", "1234.75", "9981.5", "88321.5", "77123.5")


@pytest.mark.parametrize("suffix", COMPARED)
def test_what_is_compared_is_an_answer_and_what_is_said_is_none(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / f"check{suffix}").write_text(COMPARED[suffix])
    found = literals_of(replace(a_task(), folder=tmp_path))
    assert found.answers >= RIGHT
    told = " ".join(found.answers)
    assert not [number for number in SAID if number in told]


def test_a_value_that_the_agent_is_given_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "check.py").write_text(COMPARED[".py"])
    task = a_task("t-1", "Print 'migrations: 17 applied', by Greta Lindqvist.")
    assert literals_of(replace(task, folder=tmp_path)).answers == {"3945.44", "a41f9c7e2b"}


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("assert owner == 'rumpelstiltskin'", True),
        ("assert owner == 'pending'", False),
        ("mode = 'rumpelstiltskin'", True),
        ("mode = 'rumpel'", False),
        ("assert re.search(r'\\bpriyanka|nandakumar\\b', out)", True),
        ("assert version == '4.10.2'", True),
        ("assert host == '127.0.0.1'", False),
        ("assert lines == ['one', 'and two']", False),
        ("check(timeout=125)", False),
        ("GOLD = [125.5]", True),
        ("rows = {'expected': 12.25}", True),
        ("x = b'SN-77120-Q'", True),
    ],
)
def test_one_line(tmp_path: Path, line: str, own: bool) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "check.py").write_text(line + "\n")
    assert bool(literals_of(replace(a_task(), folder=tmp_path)).answers) is own


@given(st.text(max_size=200) | st.text(alphabet="'\"`#\\\n/*=1a "), st.sampled_from([*COMPARED]))
def test_no_program_is_too_strange(source: str, suffix: str) -> None:
    for value, compared in values(source, suffix):
        assert value.split() and isinstance(compared, bool)


@pytest.mark.parametrize(
    ("source", "suffix", "found"),
    [
        ("x = 1", ".py", "1"),
        ("assert x == [-5, 1, 9, 2, 7]", ".py", "-5 1 9 2 7!, 5!, 1!, 9!, 2!, 7!"),
        ("assert x == [-2, -1, 0, 1, 2]", ".py", "2!, 1!, 0!, 1!, 2!"),
        ("assert x == [+5, 1.5, -0.25, 'a']", ".py", "1.5 -0.25 a!, 5!, 1.5!, 0.25!, a!"),
        ("assert x == 'a b'", ".py", "a b!"),
        ("def f():\n    'doc'\n    return 'a'", ".py", "a"),
        ("'doc'", ".py", ""),
        ("x = True\ny = None", ".py", ""),
        ("x = f'a {b}'", ".py", ""),
        ("raise E('a')", ".py", ""),
        ("assert x, 'msg'", ".py", ""),
        ("print('a')\nlog.INFO('a')", ".py", ""),
        ("f('a', msg='b', other='c')", ".py", "a, c"),
        ("f(g)('a')", ".py", "a"),
        ("expected = 'a'", ".py", "a!"),
        ("expected: str = 'a'", ".py", "a!"),
        ("other: str = 'a'", ".py", "a"),
        ("d = {'gold': 'a'}", ".py", "a!, gold!"),
        ("d = {1: 'a'}", ".py", "1, a"),
        ("d = {**x, 'want': 'a'}", ".py", "a!, want!"),
        ("assertEqual(x, 'a')", ".py", "a!"),
        ("x.contains('a')", ".py", "a!"),
        ("x.other('a')", ".py", "a"),
        ("assert x == ['a', 'b', 'c']", ".py", "a b c!, a!, b!, c!"),
        ("x = ['a', 'b', 'c']", ".py", "a, b, c"),
        ("assert x == ['a', 'b']", ".py", "a!, b!"),
        ("assert x == ['1', '2', 'c']", ".py", "1 2 c!, 1!, 2!, c!"),
        # Numbers in a row make a value from the fifth on, unless their steps are the same.
        ("assert x == [5, 1, 9, 2]", ".py", "1!, 2!, 5!, 9!"),
        ("assert x == (5, 1, 9, 2, 7)", ".py", "1!, 2!, 5 1 9 2 7!, 5!, 7!, 9!"),
        ("assert x == [1, 2, 3, 4, 5]", ".py", "1!, 2!, 3!, 4!, 5!"),
        ("x = b'a\\xff'", ".py", "a\ufffd"),
        ("x = 'a  b\\n\\n c '", ".py", "a b, c"),
        ("x = (", ".py", ""),
        ("x = ('a'", ".py", "a"),
        ("x != 'a'", ".js", "a!"),
        ("x == 'a'", ".js", "a!"),
        ("x = 'a'", ".js", "a"),
        ('x = """a\nb"""', ".js", "a, b"),
        ("x = '''a''' + `b`", ".js", "a, b"),
        ("x = 'a\\'b'", ".js", "a'b"),
        ('x = "a\\"b"', ".js", 'a"b'),
        ("# 'a'\n#!'b'", ".js", "b"),
        ("// 'a'\n/* 'a'\n * 'b'\n */ \n-- 'a'\n;; 'a'\n% 'a'", ".js", ""),
        ("--x 'a'", ".js", "a"),
        ("echo 'a'", ".sh", ""),
        ("echo 'a' | grep b", ".sh", "a!"),
        ("echo 'a' > f", ".sh", "a"),
        ("echo 'a' => f", ".sh", ""),
        ("echo 5\nx = 6", ".sh", "6"),
        ("echo 5 | x", ".sh", "5"),
        ("x = 'a'\nputs 'b'\ny = 'c'", ".rb", "a, c"),
        ("[ 'a', 'b', 'c' ]", ".js", "a b c!, a, b, c"),
        ("('a', 'b')", ".js", "a, b"),
        ("{'a', 'b', 'c',}", ".js", "a b c!, a, b, c"),
        ("[5, -1, 9, 2, 7]", ".js", "1, 2, 5 -1 9 2 7!, 5, 7, 9"),
        ("[1, 2, 3, 4, 5]", ".js", "1, 2, 3, 4, 5"),
        ("x = 1_000 + 2.5f + 3px + .5 + v1.2", ".js", "1_000, 2.5"),
        ("grep 'a' f", ".sh", "a!"),
        ("cat <<EOF\na b\nc\nEOF\n", ".sh", "a b, c"),
        ("cat <<-'X'\n a\n X\n", ".bash", "X, a"),
        ("cat <<EOF\na b\nEOF\n", ".js", ""),
        ("x -eq 5", ".sh", "5!"),
        ("x =~ 'a'", ".sh", "a!"),
        ("diff 'a' b", ".sh", "a!"),
        ("expected='a'", ".sh", "a!"),
        ("x='a'\nexpected='b'", ".sh", "a, b!"),
        ("'a' # expected", ".sh", "a!"),
        ("'a' # secret", ".sh", "a"),
    ],
)
def test_the_values_of_a_program_and_whether_they_are_compared(
    source: str, suffix: str, found: str
) -> None:
    """Those that are compared have an exclamation mark."""
    told = sorted(f"{value}{'!' if compared else ''}" for value, compared in values(source, suffix))
    assert told == sorted(filter(None, found.split(", ")))


@pytest.mark.parametrize(
    ("source", "suffix", "found"),
    [("echo 'a'", ".sh", ["a"]), ("puts 'a' + 5", ".rb", ["a", "5"]), ("# 'a'", ".sh", [])],
)
def test_what_a_solution_prints_is_a_value(source: str, suffix: str, found: list[str]) -> None:
    assert [value for value, _ in values(source, suffix, writes=True)] == found
