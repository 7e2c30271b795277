"""The turns of a log, and the sessions of people that they belong to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.drafts import sessions
from skillopt.tasks.drafts.sessions import (
    Session,
    Turn,
    Turns,
    is_skill_name,
    logs,
    objects,
    records,
    said,
    skills_in,
    text_of,
    whole_sessions,
)


def test_lines_that_are_too_long_or_no_object_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_LINE_BYTES", 12)
    lines = ['{"a": 12345}', '{"b": 123456}', "x" * 40, "[1]", "{", '{"c": 1}', '{"d": 1']
    (tmp_path / "log").write_text("\n".join(lines))
    assert list(records(tmp_path / "log")) == [{"c": 1}]
    monkeypatch.setattr(sessions, "MAX_LINE_BYTES", 13)
    assert list(records(tmp_path / "log")) == [{"a": 12345}, {"c": 1}]
    (tmp_path / "log").write_text("x" * 100)
    assert list(records(tmp_path / "log")) == []


def test_values_of_the_wrong_kind_are_none() -> None:
    value = {"a": {"b": "text", "n": 1}, "l": [1, {"x": 1}]}
    assert text_of(value, "a", "b") == "text"
    assert [text_of(value, *keys) for keys in (("a",), ("a", "n"), ("a", "b", "c"), ("z",))] == [
        "", "", "", "",
    ]  # fmt: skip
    assert objects(value["l"]) == [{"x": 1}] and objects(value) == objects(None) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", True), ("A1._-b", True), ("a" * 100, True), ("a" * 101, False), ("", False),
        (".a", False), ("-a", False), ("a/b", False), ("a\n", False), ("é", False),
    ],
)  # fmt: skip
def test_names_of_skills(text: str, name: bool) -> None:
    assert is_skill_name(text) is name


def test_what_was_put_around_a_request_is_taken_off() -> None:
    ide = "# Context from my IDE setup:\n\nopen tabs\n\n## My request for Codex:\nDo it.\n"
    assert said(ide) == "Do it." and said("  Do it. ") == "Do it."
    assert skills_in("cat ~/.codex/skills/house/SKILL.md x/.y/SKILL.md SKILL.md") == ["house"]


def test_what_an_agent_did_is_of_the_turn_before(tmp_path: Path) -> None:
    turns = Turns()
    turns.answered("nobody asked")
    turns.changed(["x"])
    turns.opened(["x"])
    turns.interrupted()
    turns.add("1", "first", "t1")
    turns.answered(" said ")
    turns.answered("  ")
    turns.changed(["b", "a", "", "a\0", "x" * 256, "d/" * 2048, "b"])
    turns.changed(["c", "a", "x" * 255])
    turns.opened(["one", "../two", "one"])
    turns.opened(["three"])
    turns.add("2", "second", "t2", again=True)
    turns.finished()
    turns.add("3", "third", "t3")
    turns.interrupted()
    turns.add("4", "fourth", "t4")
    assert turns.found == [
        Turn("1", "first", "t1", "said", ("b", "a", "c", "x" * 255), ("one", "three")),
        Turn("2", "second", "t2", while_working=True, again=True),
        Turn("3", "third", "t3", interrupted=True),
        Turn("4", "fourth", "t4"),
    ]


def test_the_first_turn_waits_for_nobody() -> None:
    turns = Turns()
    turns.add("1", "first", "t1")
    turns.add("2", "second", "t2")
    assert [turn.while_working for turn in turns.found] == [False, True]


@pytest.mark.parametrize(("length", "kept"), [(4095, True), (4096, False)])
def test_a_path_may_be_as_long_as_linux_allows(length: int, kept: bool) -> None:
    turns = Turns()
    turns.add("1", "first", "t1")
    path = ("abc/" * 1024)[:length]
    turns.changed([path])
    assert turns.found[0].files == ((path,) if kept else ())


def test_logs_are_files_of_their_own(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.jsonl").mkdir()
    (tmp_path / "e.jsonl").symlink_to("a.jsonl")
    assert [file.name for file in logs(tmp_path, "*.jsonl")] == ["a.jsonl", "b.jsonl"]
    assert logs(tmp_path / "missing", "*") == []


def a_session(id: str, *turns: Turn, **values: Any) -> Session:
    return Session("codex", id, Path("log"), turns=turns, **values)


T = [Turn(f"x:{n}", f"text {n}", f"2026-01-0{n}") for n in range(1, 5)]


def test_what_a_sub_agent_did_is_of_the_turn_in_which_it_began() -> None:
    did = replace(T[0], files=("f", "g"), skills=("s",))
    person = a_session("p", replace(T[0], files=("f",), skills=("r",)), T[2])
    for began, at in (("2026-01-01", 0), ("2026-01-02", 0), ("2026-01-03", 1), ("2026-01-09", 1)):
        sub = a_session("a", did, parent="p", began=began)
        deeper = a_session("b", replace(T[0], files=("h",)), parent="a", began=began)
        (found,) = whole_sessions([person, sub, deeper])
        files = [list(turn.files) for turn in found.turns]
        skills = [list(turn.skills) for turn in found.turns]
        assert files == ([["f", "g", "h"], []] if at == 0 else [["f"], ["f", "g", "h"]])
        assert skills == ([["r", "s"], []] if at == 0 else [["r"], ["s"]])
    early = a_session("a", did, parent="p", began="2025-01-01")
    assert whole_sessions([person, early]) == [person]
    assert whole_sessions([early]) == [], "its person's session is gone"


def test_sub_agents_in_a_circle_are_nobodys() -> None:
    one, two = a_session("a", T[0], parent="b"), a_session("b", T[1], parent="a")
    assert whole_sessions([one, two]) == [] == whole_sessions([a_session("e")])


def test_a_fork_has_the_turns_before_it() -> None:
    base = a_session("p", *T[:3])
    fork = a_session("f", T[3], base="p", base_end=3)
    assert [s.turns for s in whole_sessions([base, fork])] == [tuple(T[:3]), (*T[:2], T[3])]
    named = a_session("n", T[3], base="q", base_end=3)
    other = a_session("q", Turn("a:b:2", "two"), Turn("a:b:3", "three"))
    assert [turn.text for turn in whole_sessions([other, named])[1].turns] == ["two", "text 4"]
    again = a_session("g", Turn("9:9", "more"), base="f", base_end=5)
    found = whole_sessions([base, fork, again])
    assert found[2].turns == (*T[:2], T[3], Turn("9:9", "more"))


def test_a_copy_of_the_turns_before_a_fork_is_the_same_turns() -> None:
    base = a_session("p", *T[:3])
    copied = [replace(turn, id=f"copy {n}") for n, turn in enumerate(T[:2])]
    fork = a_session("f", *copied, T[3], base="p")
    (_, found) = whole_sessions([base, fork])
    assert found.turns == (*T[:2], T[3])
    other = a_session("f", replace(T[0], text="other"), T[1], base="p")
    assert whole_sessions([base, other])[1].turns == other.turns


def test_forks_in_a_circle_end() -> None:
    one = a_session("a", T[0], base="b", base_end=9)
    two = a_session("b", T[1], base="a", base_end=9)
    own = a_session("c", T[2], base="c", base_end=9)
    found = whole_sessions([one, two, own])
    assert [len(session.turns) for session in found] == [2, 2, 1]
    assert json.dumps([session.id for session in found]) == '["a", "b", "c"]'
