"""A front matter is read as agents read it, and changed where it says what is to be changed."""

from __future__ import annotations

from typing import Any

import pytest

from skillopt.core import front_matter
from skillopt.core.front_matter import (
    Document,
    FrontMatterError,
    in_line_ends_of,
    parse,
    scalars,
    to_yaml,
    with_body,
    with_values,
)


@pytest.mark.parametrize(
    ("text", "opening", "front", "closing", "rest", "newline"),
    [
        ("", "", None, "", "", "\n"),
        ("# x", "", None, "", "# x", "\n"),
        ("# x\r\ny\n", "", None, "", "# x\r\ny\n", "\r\n"),
        ("\ufeff# x", "\ufeff", None, "", "# x", "\n"),
        ("---\na: 1\n---\nr", "---\n", "a: 1\n", "---\n", "r", "\n"),
        ("\ufeff---\na: 1\n---", "\ufeff---\n", "a: 1\n", "---", "", "\n"),
        ("--- \t\r\na: 1\n---  \r\n r", "--- \t\r\n", "a: 1\n", "---  \r\n", " r", "\r\n"),
        ("---\ra: 1\r---\rr\n", "---\r", "a: 1\r", "---\r", "r\n", "\r"),
        ("---\n---\n", "---\n", "", "---\n", "", "\n"),
        ("---\na: 1\n ---\n---\nx", "---\n", "a: 1\n ---\n", "---\n", "x", "\n"),
        ("---\na: 1\n---\nb\n---\n", "---\n", "a: 1\n", "---\n", "b\n---\n", "\n"),
        ("----\na: 1\n---\n", "", None, "", "----\na: 1\n---\n", "\n"),
        # A rule of Markdown.
        ("---\ntext only", "", None, "", "---\ntext only", "\n"),
        ("---\n\n a: 1", "", None, "", "---\n\n a: 1", "\n"),
    ],
)
def test_the_parts_of_a_text_are_the_whole_text(
    text: str, opening: str, front: str | None, closing: str, rest: str, newline: str
) -> None:
    found = parse(text)
    assert (found.opening, found.front, found.closing, found.rest) == (
        opening,
        front,
        closing,
        rest,
    )
    assert found.newline == newline
    assert opening + (front or "") + closing + rest == text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"),
        ("true", True), ("True", True), ("TRUE", True), ("tRUE", "tRUE"), ("yes", "yes"),
        ("false", False), ("False", False), ("FALSE", False), ("off", "off"),
        ("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("012", 12), ("1_000", "1_000"),
        ("0o17", 15), ("0x1F", 31), ("0o8", "0o8"), ("0xG", "0xG"), ("-0x1", "-0x1"),
        ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("+1.25", 1.25), ("1e3", 1000.0), ("2E-2", 0.02),
        (".", "."), (".inf", ".inf"), (".nan", ".nan"), ("1e999", "1e999"), ("1e", "1e"),
        ("9" * 99, int("9" * 99)), ("9" * 100, 1e100), ("9" * 400, "9" * 400),
        ("2020-01-01", "2020-01-01"), ("1:30", "1:30"),
        ("'1'", "1"), ('"true"', "true"), ("''", ""), ("|\n  1\n", "1\n"), ("!!str 1", 1),
        ("[1, a, [~]]", [1, "a", [None]]), ("{b: {c: 0x2}}", {"b": {"c": 2}}), ("[]", []),
    ],
)  # fmt: skip
def test_values_are_those_of_the_core_schema(written: str, value: Any) -> None:
    found = parse(f"---\nk: {written}\n---\n").values["k"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("front", "values", "texts", "repeated"),
    [
        ("a: 1.0\nb: 'x'\nc:\n", {"a": 1.0, "b": "x", "c": None}, {"a": "1.0", "b": "x"}, ()),
        ("a: [1]\nb: {c: 1}\n", {"a": [1], "b": {"c": 1}}, {}, ()),
        ("a: 1\nb: 2\na: 3\na: 4\nb: 5\n", {"a": 4, "b": 5}, {"a": "4", "b": "5"}, ("a", "b")),
        ("a: 1\na: [2]\n", {"a": [2]}, {}, ("a",)),
        ("a: 1\na:\n", {"a": None}, {}, ("a",)),
        ("1: x\n[p, q]: y\n", {"1": "x", "[p, q]": "y"}, {"1": "x", "[p, q]": "y"}, ()),
        ("- a\n", {}, {}, ()),
        ("text\n", {}, {}, ()),
    ],
)
def test_keys_are_texts_of_which_the_last_one_counts(
    front: str, values: Any, texts: Any, repeated: tuple[str, ...]
) -> None:
    found = parse(f"---\n{front}---\n")
    assert (found.values, found.texts, found.repeated) == (values, texts, repeated)


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("a: [b\n", "line 3: the front matter is not YAML: "),
        ("a: 1\nb: two: three\n", "line 3: .* mapping values are not allowed here; put values"),
        ("a: *x\n", "line 2: .* found undefined alias"),
        ("a: \x1b\n", "the front matter is not YAML: unacceptable character"),
        ("a: " + 600 * "[" + "\n", "the front matter is not YAML: too deep"),
        ("a: &a [*a]\n", "contains itself"),
        ("a: &a {b: {c: *a}}\n", "contains itself"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(front: str, said: str) -> None:
    with pytest.raises(FrontMatterError, match=said):
        parse(f"---\n{front}---\n")


@pytest.mark.parametrize("text", ["---\na: 1\n", "---\n\nsome-key : 1", "\ufeff--- \r\na:"])
def test_a_front_matter_that_is_not_closed_is_an_error(text: str) -> None:
    with pytest.raises(FrontMatterError, match="not closed"):
        parse(text)


def test_a_front_matter_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_matter, "MAX_FRONT", 8)
    assert parse("---\na: '12'\n---\n").values == {"a": "12"}
    with pytest.raises(FrontMatterError, match="longer than 8 characters"):
        parse("---\na: '123'\n---\n")


@pytest.mark.parametrize(
    ("front", "count"),
    [("a: 1\nb: 2\n", 2), ("a: [1, 2]\n", 3), ("a: {b: 1}\n", 2), ("a: &x [1, 2]\nb: *x\n", 6)],
)
def test_a_front_matter_has_a_largest_number_of_values(
    monkeypatch: pytest.MonkeyPatch, front: str, count: int
) -> None:
    monkeypatch.setattr(front_matter, "MAX_NODES", count)
    assert parse(f"---\n{front}---\nof {count}").values
    monkeypatch.setattr(front_matter, "MAX_NODES", count - 1)
    with pytest.raises(FrontMatterError, match="too many values"):
        parse(f"---\n{front}---\nof {count - 1}")


@pytest.mark.parametrize(
    ("front", "found"),
    [
        ("", {}),
        ("- a\n", {}),
        ("a: 1.0\nb: 'on'\nc:\n", {"a": "1.0", "b": "on", "c": ""}),
        ("m:\n  p: 1\n  q: true\n", {"m": {"p": "1", "q": "true"}}),
        ("a: [1]\n", None),
        ("m: {p: [1]}\n", None),
        ("m: {p: {q: 1}}\n", None),
    ],
)
def test_values_as_they_are_written_are_texts_or_keys_with_texts(front: str, found: Any) -> None:
    document = parse(f"---\n{front}---\n")
    if found is None:
        with pytest.raises(FrontMatterError, match="neither a text nor keys with texts"):
            scalars(document)
    else:
        assert scalars(document) == found
    assert scalars(parse("# no front matter")) == {}


LONG = " ".join(["word"] * 60)


@pytest.mark.parametrize(
    ("front", "changes", "changed"),
    [
        # A text keeps its style and what is beside it.
        ("a: 1\nb: x # why\nc: z\n", {"b": "y"}, "a: 1\nb: y # why\nc: z\n"),
        ("b: 'x' # why\n", {"b": "it's"}, "b: 'it''s' # why\n"),
        ('b: "x"\n', {"b": 'say "y"'}, 'b: "say \\"y\\""\n'),
        ("b: 'x'\n", {"b": 3}, "b: 3\n"),
        ("b: x\n", {"b": "y: z"}, "b: 'y: z'\n"),
        ("b: x\n", {"b": True}, "b: true\n"),
        ("b: x\n", {"b": ""}, "b: ''\n"),
        ("b: x\n", {"b": "é \U0001f600"}, "b: é \U0001f600\n"),
        ("b: x\n", {"b": LONG}, f"b: {LONG}\n"),
        ("b: 'x'\n", {"b": LONG}, f"b: '{LONG}'\n"),
        ("'a b': 1\n", {"a b": 2}, "'a b': 2\n"),
        ("? a\n: 1\n", {"a": 2}, "? a\n: 2\n"),
        ("b:\nc: 1\n", {"b": "x"}, "b: x\nc: 1\n"),
        # So does a block, if the text has one line.
        ("b: |\n  one\n  two\n\nc: 1\n", {"b": "three"}, "b: |\n  three\n\nc: 1\n"),
        ("b: >-\n    one\n    two\nc: 1\n", {"b": "three"}, "b: >-\n    three\nc: 1\n"),
        ("b: >\n\n   one\n", {"b": "two"}, "b: >\n   two\n"),
        ("b: |\nc: 1\n", {"b": "x"}, "b: |\n  x\nc: 1\n"),
        ("b: |\n  one\nc: 1\n", {"b": 5}, "b: 5\nc: 1\n"),
        ("b: |\n  one\n", {"b": "two\nlines"}, 'b: "two\\nlines"\n'),
        ("b: |\n  one\n", {"b": "two\nx: y"}, 'b: "two\\nx: y"\n'),
        ("b: |\n  one\n", {"z": "n"}, "b: |\n  one\nz: n\n"),
        ("b: |\n  one\n\nc: 1\n", {"b": None}, "c: 1\n"),
        # Lists and keys.
        ("b: x\nc: 1\n", {"b": ["p", "q"]}, "b: \n  - p\n  - q\nc: 1\n"),
        ("b:\n- p\n- q\nc: 1\n", {"b": ["r"]}, "b:\n\n  - r\nc: 1\n"),
        ("b: [p, q]\nc: 1\n", {"b": ["r"]}, 'b: ["r"]\nc: 1\n'),
        ("b: {p: 1}\n", {"b": {"p": 2}}, "b: {p: 2}\n"),
        ("b: {p: 1}\n", {"b": "é"}, 'b: "é"\n'),
        ("m: text\nc: 1\n", {"m": {"p": 1}}, "m: \n  p: 1\nc: 1\n"),
        ("m:\n  p: 1\nc: 1\n", {"m": "text"}, "m:\n  text\nc: 1\n"),
        # In keys with values only what differs is changed.
        ("m:\n  p: 1\n  q: 2 # two\n", {"m": {"p": 1, "q": 3}}, "m:\n  p: 1\n  q: 3 # two\n"),
        ("m:\n  p: 1\n  q: 2\nc: 1\n", {"m": {"p": 1}}, "m:\n  p: 1\nc: 1\n"),
        ("m:\n  p: 1\nc: 1\n", {"m": {"p": 1, "r": {"s": 4}}},
         "m:\n  p: 1\n  r:\n    s: 4\nc: 1\n"),
        ("m:\n  p: 1\nc: 1\n", {"m": {"x": 1}}, "m:\n  x: 1\nc: 1\n"),
        ("m:\n    p: 1\n", {"m": {"p": 1, "x": [1]}}, "m:\n    p: 1\n    x:\n    - 1\n"),
        ("m:\n  n:\n    p: 1\n    q: 2\n", {"m": {"n": {"p": 1, "q": 3}}},
         "m:\n  n:\n    p: 1\n    q: 3\n"),
        # Removed and added.
        ("a: 1\nb: 2\nc: 3\n", {"b": None}, "a: 1\nc: 3\n"),
        ("a: 1\nb:\n  - x\n  - y\nc: 3\n", {"b": None}, "a: 1\nc: 3\n"),
        ("a: 1\n", {"a": None}, ""),
        ("a: 1\n", {"z": None}, "a: 1\n"),
        ("a: 1\n", {"z": "n", "y": [1]}, "a: 1\nz: n\ny:\n- 1\n"),
        ("a: 1\n\n", {"z": "n"}, "a: 1\nz: n\n\n"),
        ("a: 1 # one\n# end\n", {"z": "n"}, "a: 1 # one\nz: n\n# end\n"),
        ("a:\n- 1\n- 2\n", {"z": "n"}, "a:\n- 1\n- 2\nz: n\n"),
        ("", {"z": "n"}, "z: n\n"),
        ("# only\n", {"z": "n"}, "# only\nz: n\n"),
        ("# only\n", {"z": None}, "# only\n"),
        ("a: 1\nb: 2\n", {"a": 1, "b": 3, "c": 4}, "a: 1\nb: 3\nc: 4\n"),
        ("a: 1\na: 2\n", {"a": 3}, "a: 1\na: 3\n"),
        # On one line.
        ("{a: 1, b: 2}\n", {"a": 3}, "{a: 3, b: 2}\n"),
        ("{a: x, b: 2}\n", {"a": "é"}, '{a: "é", b: 2}\n'),
        ("{a: 1, b: 2}\n", {"c": 3}, '{a: 1, b: 2, "c": 3}\n'),
        ("{}\n", {"c": 3, "d": "x"}, '{"c": 3, "d": "x"}\n'),
        ("m: {p: 1}\n", {"m": {"p": 1, "q": [2]}}, 'm: {p: 1, "q": [2]}\n'),
        # What cannot be.
        ("m:\n  p: 1\n", {"m": {"p": 1, "x": None}}, "m: cannot be changed in this"),
        ("{a: 1, b: 2}\n", {"a": None}, "a: cannot be removed from one line"),
        ("m: {p: 1, q: 2}\n", {"m": {"p": 1}}, "q: cannot be removed from one line"),
        ("- a\n", {"a": 1}, "the front matter has no keys"),
        ("text\n", {"a": 1}, "the front matter has no keys"),
        ("a: &x 1\nb: *x\n", {"b": 2}, "b: is an alias of another value"),
        ("a: &x 1\nb: *x\n", {"a": 2, "c": 1}, "^a, c: cannot be changed in this front matter"),
    ],
)  # fmt: skip
def test_a_change_is_made_where_the_value_is(
    front: str, changes: dict[str, Any], changed: str
) -> None:
    for end in ("\n", "\r\n"):
        before = f"---\n{front}---\n# B\n".replace("\n", end)
        document = parse(before)
        if front and changed and not changed.endswith("\n"):
            with pytest.raises(FrontMatterError, match=changed):
                with_values(document, changes)
            continue
        after = f"---\n{changed}---\n# B\n".replace("\n", end)
        assert with_values(document, changes) == after


@pytest.mark.parametrize("value", [0, 0.0, False, "", [], {}, "null", "0"])
@pytest.mark.parametrize(
    ("front", "place"),
    [
        ("", ()),
        ("a: 1\n", ()),
        ("a: 1\nnew: old\n", ()),
        ("new: 'old'\na: 1\n", ()),
        ("new: [1, 2]\n", ()),
        ("new:\na: 1\n", ()),
        ("{a: 1}\n", ()),
        ("{new: 2, a: 1}\n", ()),
        ("m:\n  a: 1\nb: 2\n", ("m",)),
        ("m:\n  new: old\n  a: 1\n", ("m",)),
        ("m: {a: 1}\n", ("m",)),
        ("m:\n  a: 1\nnew: kept\n", ("m",)),
    ],
)
def test_a_value_that_is_nothing_is_one_too(front: str, place: tuple[str, ...], value: Any) -> None:
    document = parse(f"---\n{front}---\n# B\n")
    expected = dict(document.values)
    if place:
        expected[place[0]] = {**document.values[place[0]], "new": value}
        changes = {place[0]: expected[place[0]]}
    else:
        expected["new"] = value
        changes = {"new": value}
    made = parse(with_values(document, changes))
    assert made.values == expected and made.rest == document.rest
    inner = made.values[place[0]] if place else made.values
    assert type(inner["new"]) is type(value)
    if not place:
        left = parse(with_values(made, {"new": None})) if not front.startswith("{") else None
        assert left is None or "new" not in left.values


def test_a_text_without_front_matter_has_no_place_for_values() -> None:
    with pytest.raises(FrontMatterError, match="there is no front matter that could hold it"):
        with_values(parse("# A\n"), {"a": 1})


HEAD = "---\na: 1\n---\n"


@pytest.mark.parametrize(
    ("before", "body", "after"),
    [
        # The space around a body stays.
        (f"{HEAD}\n# A\n", "# B", f"{HEAD}\n# B\n"),
        (f"{HEAD}# A", "# B", f"{HEAD}# B"),
        (f"{HEAD} \t\n\n  # A\n\n", "# B", f"{HEAD} \t\n\n# B\n\n"),
        ("# A\n", "# B", "# B\n"),
        ("\ufeff# A\n", "# B", "\ufeff# B\n"),
        # What had none gets it as in canonical form.
        (HEAD, "# B", f"{HEAD}\n# B\n"),
        (f"{HEAD}\n\n", "# B", f"{HEAD}\n\n# B\n"),
        (f"{HEAD} ", "# B", f"{HEAD}\n# B\n"),
        ("", "# B\nC", "# B\nC\n"),
        ("\n", "# B", "\n# B\n"),
        (HEAD.replace("\n", "\r\n"), "# B\nC", f"{HEAD}\n# B\nC\n".replace("\n", "\r\n")),
        # None at all.
        (f"{HEAD}\n# A\n", "", HEAD),
        ("# A\n", "", ""),
        # Spaces after what was the last line stay with it.
        (f"{HEAD}# A  \n\n", "# A\nmore", f"{HEAD}# A  \nmore\n\n"),
        (f"{HEAD}# A  \n", "# AB\nmore", f"{HEAD}# AB\nmore\n"),
        (f"{HEAD}# A \t\n", "# B", f"{HEAD}# B\n"),
        (f"{HEAD}one\ntwo  \n", "zero\ntwo", f"{HEAD}zero\ntwo  \n"),
        (f"{HEAD}one\ntwo\nthree  \n", "zero\nthree", f"{HEAD}zero\nthree  \n"),
        (f"{HEAD}one\ntwo\nthree  \n", "two\nthree\nfour", f"{HEAD}two\nthree\nfour\n"),
        (f"{HEAD}one\ntwo \t\n\n", "one", f"{HEAD}one\n\n"),
        # Each line keeps its line end, and a new one has that of the line in its place or above.
        (f"{HEAD}a\r\nb\nc\r\n", "a\nnew\nb\nc", f"{HEAD}a\r\nnew\r\nb\nc\r\n"),
        (f"{HEAD}a\r\nb\nc\r\n", "new\na\nb\nc", f"{HEAD}new\r\na\r\nb\nc\r\n"),
        (f"{HEAD}a\r\nb\nc\r\n", "a\nc\nnew", f"{HEAD}a\r\nc\nnew\r\n"),
        (f"{HEAD}a\r\nb\nc\r\nd", "a\nB\nC\nd", f"{HEAD}a\r\nB\nC\r\nd"),
        (f"{HEAD}a\r\nb\nc\r\nd", "a\nB\nd", f"{HEAD}a\r\nB\nd"),
        (f"{HEAD}a\rb\rc", "a\nx\nc", f"{HEAD}a\rx\rc"),
        (f"{HEAD}a\r\nb\nc\r\nd\n", "d", f"{HEAD}d\n"),
    ],
)
def test_a_body_is_replaced_within_its_space_and_line_ends(
    before: str, body: str, after: str
) -> None:
    assert with_body(parse(before), body) == after


@pytest.mark.parametrize(
    ("whole", "old", "new", "found"),
    [
        ("a\r\nb", "a", "x\ny", "x\r\ny"),
        ("a\rb", "b", "x\ny", "x\ry"),
        ("a\nb", "a", "x\ny", "x\ny"),
        ("ab", "a", "x\ny", "x\ny"),
        ("a\nb\rc\n", "a\nb", "b\na", "b\na"),
        ("a\rb\rc\n", "a\rb", "a\nx\nb", "a\rx\rb"),
        ("a\nb\r", "", "x\ny", "x\ny"),
    ],
)
def test_a_new_text_has_the_line_ends_of_the_whole(
    whole: str, old: str, new: str, found: str
) -> None:
    assert in_line_ends_of(whole, old, new) == found


def test_yaml_keeps_order_signs_and_long_lines() -> None:
    assert to_yaml({"b": f"é {LONG}", "a": [1]}) == f"b: é {LONG}\na:\n- 1\n"
    assert Document("", None, "", "").newline == "\n"
