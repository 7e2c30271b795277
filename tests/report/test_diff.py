"""The side-by-side comparison tells the truth about both versions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skillopt.report.diff import DiffRow, Side, side_by_side

lines = st.lists(st.sampled_from(["# A", "", "- one rule", "- other rule", "text <b>", "é\tz"]))


@given(before=lines, after=lines)
def test_every_line_stands_where_it_was_or_is_counted_as_unchanged(
    before: list[str], after: list[str]
) -> None:
    rows = side_by_side("\n".join(before), "\n".join(after))
    left = "\n".join(before).splitlines()
    right = "\n".join(after).splitlines()
    if left == right:
        assert rows == []
        return
    assert rebuilt(rows, left, "left") == left
    assert rebuilt(rows, right, "right") == right
    assert any(row.kind not in ("same", "gap") for row in rows)


def rebuilt(rows: list[DiffRow], lines: list[str], which: str) -> list[str]:
    """One version from the rows; gaps are filled from the version itself."""
    found: list[str] = []
    for row in rows:
        side: Side | None = getattr(row, which)
        if row.kind == "gap":
            found += lines[len(found) : len(found) + row.skipped]
        elif side is not None:
            assert side.number == len(found) + 1
            found.append("".join(text for text, _ in side.parts))
    return found


def test_changed_words_are_marked() -> None:
    (row,) = side_by_side("- Keep the old name.", "- Keep a new name.")
    assert row.left and row.right
    assert [text for text, changed in row.left.parts if changed] == ["the", "old"]
    assert [text for text, changed in row.right.parts if changed] == ["a", "new"]


def test_long_unchanged_stretches_are_left_out() -> None:
    text = "\n".join(str(n) for n in range(50))
    rows = side_by_side(text, text.replace("25", "changed"))
    assert [row.skipped for row in rows if row.kind == "gap"] == [22, 21]
