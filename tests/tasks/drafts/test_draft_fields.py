"""Each field of a draft, by what was said and done in the session, and what a reviewer is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.files import digest_of
from skillopt.tasks.drafts import drafts
from skillopt.tasks.drafts.drafts import (
    Draft,
    Harvest,
    Source,
    Trigger,
    harvest,
    name_of,
    read_draft,
    read_drafts,
    refuse_unreviewed,
    write_draft,
)
from skillopt.tasks.drafts.redaction import Redactor
from skillopt.tasks.drafts.requests import Request
from skillopt.tasks.drafts.sessions import Session, Turn
from skillopt.tasks.drafts.workspace import Kept, WorkspaceError
from skillopt.tasks.harbor import TaskError

SECRET = "hidden-in-here"
FIRST = Turn("s1:1", "Write the report of May now, please and thanks", "2026-01-01T00:00:00Z")
NO_COMMIT = "no files: the log names no commit"
UNOPENED = "the skill was not opened: should it have been?"


class Plain(Redactor):
    """Replaces what is known alone: the detectors take their time."""

    def text(self, text: str) -> str:
        self.count += text.count(SECRET)
        return text.replace(SECRET, "[REDACTED]")


def a_request(**changes: Any) -> Request:
    session = Session("codex", "s1", Path("x"), "1.2", changes.pop("folder", ""),
                      changes.pop("commit", ""))  # fmt: skip
    values: dict[str, Any] = {
        "turn": FIRST, "corrections": (), "accepted": "unknown", "files": (), "skills": (),
        "first": True,
    }  # fmt: skip
    return Request(session=session, **{**values, **changes})


def harvested(folder: Path, *requests: Request, skill: str = "") -> Harvest:
    return harvest(requests, folder / "drafts", Plain(frozenset(), ""), skill)


def one(tmp_path: Path, skill: str = "", **changes: Any) -> Draft:
    (draft,) = harvested(tmp_path, a_request(**changes), skill=skill).new
    assert read_draft(tmp_path / "drafts" / draft.name) == draft
    return draft


def turns(*texts: str) -> tuple[Turn, ...]:
    return tuple(Turn(f"s1:{n}", text) for n, text in enumerate(texts, start=2))


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "instruction", FIRST.text),
        ({"turn": replace(FIRST, text=f" a {SECRET} ")}, "instruction", "a [REDACTED]"),
        ({"turn": replace(FIRST, text="x" * 20_001)}, "instruction", "x" * 20_000),
        # A secret at the border is known as one.
        ({"turn": replace(FIRST, text="x" * 19_990 + SECRET)}, "instruction",
         "x" * 19_990 + "[REDACTED]"),
        ({}, "status", "draft"),
        ({}, "redacted", 0),
        ({"turn": replace(FIRST, text=SECRET), "corrections": turns(f"No {SECRET}")}, "redacted",
         2),
        ({}, "corrections", ()),
        ({"corrections": turns("No", "In bold")}, "corrections", ("No", "In bold")),
        ({"corrections": turns(*("x",) * 25)}, "corrections", ("x",) * 20),
        ({"corrections": turns("No")}, "expectations", ()),
        ({"accepted": "yes"}, "accepted_then", "yes"),
        ({}, "accepted_then", "unknown"),
        ({}, "trigger", None),
        ({"skills": ("a", "b")}, "trigger",
         Trigger(skill="a", query=FIRST.text, should_trigger=True)),
        ({"skill": "b", "skills": ("a", "b")}, "trigger",
         Trigger(skill="b", query=FIRST.text, should_trigger=True)),
        ({"skill": "c", "skills": ("a",)}, "trigger",
         Trigger(skill="c", query=FIRST.text, should_trigger=False)),
        ({"folder": "/w", "files": ("/w/a b", "/w/in/c", "d", "/x", "../y", "/w", "in/../z")},
         "files_changed", ("a b", "in/c", "d")),
        ({"files": ("/w/a", "b")}, "files_changed", ("b",)),
        ({"files": ("a b", "c"), "accepted": "yes"}, "checks", ("test -e 'a b'", "test -e c")),
        ({"files": ("a",), "accepted": "no"}, "checks", ()),
        ({"files": ("a",)}, "checks", ()),
        ({}, "workspace", ""),
        ({"folder": f"/w/{SECRET}", "commit": ""}, "source",
         Source(agent="codex", version="1.2", session="s1", turn="s1:1", at=FIRST.at,
                folder="/w/[REDACTED]", commit="")),
        ({}, "notes", ()),
        ({"first": False}, "notes",
         ("it follows earlier requests of its session: say in the instruction what they made",)),
        ({"folder": "/w"}, "notes", (NO_COMMIT,)),
        ({"folder": "/no/where", "commit": "abc"}, "notes",
         ("no files: /no/where is not on this machine",)),
        ({"skill": "c"}, "notes", (UNOPENED,)),
        ({"skill": "c", "skills": ("c",)}, "notes", ()),
        ({"turn": replace(FIRST, text="x" * 20_000)}, "notes", ()),
        ({"turn": replace(FIRST, text="x" * 20_001)}, "notes",
         ("the request was cut at 20,000 characters",)),
        ({"corrections": turns(*("x",) * 20)}, "notes", ()),
        ({"corrections": turns(*("x",) * 23)}, "notes", ("3 more corrections were left out",)),
    ],
)  # fmt: skip
def test_fields_of_a_draft(changes: dict[str, Any], field: str, value: Any, tmp_path: Path) -> None:
    assert getattr(one(tmp_path, **changes), field) == value


def test_an_expectation_is_said_once(tmp_path: Path) -> None:
    said = one(
        tmp_path, corrections=turns("Use bold type", "Use bold type", "Not red")
    ).expectations
    assert len(said) == 2


def test_a_draft_is_named_by_its_first_words_and_its_turn(tmp_path: Path) -> None:
    end = digest_of("s1:1")[:6]
    redactor = Plain(frozenset(), "")
    assert name_of(a_request(), redactor) == f"write-the-report-of-may-now-{end}"
    short = a_request(turn=replace(FIRST, text=f"Fix {SECRET}"))
    assert name_of(short, redactor) == f"fix-redacted-{end}"
    assert redactor.count == 0
    other = a_request(turn=replace(FIRST, id="s1:9"))
    assert name_of(other, redactor) != name_of(a_request(), redactor)


def test_a_draft_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    first = harvested(tmp_path, a_request())
    (draft,) = first.new
    write_draft(draft.model_copy(update={"instruction": "Mine."}), tmp_path / "drafts")
    other = a_request(turn=replace(FIRST, id="s1:5", text=SECRET))
    again = harvested(tmp_path, a_request(), other)
    assert (again.known, len(again.new), again.redacted) == ([draft.name], 1, 1)
    assert read_draft(tmp_path / "drafts" / draft.name).instruction == "Mine."
    assert [one.name for one in read_drafts(tmp_path / "drafts")] == sorted(
        [draft.name, again.new[0].name]
    )


def not_a_folder(folder: Path) -> None:
    folder.write_text("x")


def another_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "x").touch()


@pytest.mark.parametrize("spoil", [not_a_folder, another_folder])
def test_drafts_have_a_folder_of_their_own(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(tmp_path / "drafts")
    with pytest.raises(TaskError, match="is no folder of drafts, and not empty; name another"):
        harvested(tmp_path, a_request())


def test_an_empty_folder_may_become_one(tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    assert len(harvested(tmp_path, a_request()).new) == 1


@pytest.mark.parametrize(
    ("drafts", "reviewed", "said"),
    [
        (1, 0, r"not reviewed: d0; review them"),
        (5, 0, r"not reviewed: d0, d1, d2, d3, d4; review them"),
        (6, 0, r"not reviewed: d0, d1, d2, d3, d4 and 1 more; review them"),
        (8, 1, r"not reviewed: d1, d2, d3, d4, d5 and 2 more; review them"),
        (2, 2, r"drafts are no tasks; the accepted ones are tasks in .*accepted/tasks"),
    ],
)
def test_drafts_are_no_source_of_tasks(
    drafts: int, reviewed: int, said: str, tmp_path: Path
) -> None:
    harvested(tmp_path)
    for number in range(drafts):
        status = ("accepted", "rejected")[number % 2] if number < reviewed else "later"
        draft = Draft.model_validate(
            {"name": f"d{number}", "instruction": "x", "status": status,
             "source": {"agent": "a", "session": "s", "turn": "t"}}
        )  # fmt: skip
        write_draft(draft, tmp_path / "drafts")
    with pytest.raises(TaskError, match=said):
        refuse_unreviewed(tmp_path / "drafts")
    for source in ("drafts/d0", "drafts/d0/draft.yaml"):
        with pytest.raises(TaskError, match="drafts are no tasks" if reviewed else "reviewed: d0;"):
            refuse_unreviewed(tmp_path / source)
    refuse_unreviewed(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("status: done\n", "status: Input should be"),
        ("extra: 1\n", "extra: Extra inputs"),
        ("format: 2\n", "format: Input should be 1"),
        ("name: other\n", "name: must be 'd', as its folder is named"),
        ("", None),
    ],
)
def test_a_draft_that_was_edited(text: str, said: str | None, tmp_path: Path) -> None:
    base = {"name": "name: d\n", "instruction": "instruction: x\n",
            "source": "source: {agent: a, session: s, turn: t}\n"}  # fmt: skip
    key = text.partition(":")[0]
    lines = "".join(line for name, line in base.items() if name != key)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "draft.yaml").write_text(lines + text)
    if said is None:
        assert read_draft(tmp_path / "d").instruction == "x"
    else:
        with pytest.raises(TaskError, match=said):
            read_draft(tmp_path / "d")
    with pytest.raises(TaskError, match="no draft; 'skillopt review"):
        read_draft(tmp_path)
    with pytest.raises(TaskError, match="no drafts are here"):
        read_drafts(tmp_path)


def test_a_draft_is_written_as_people_read_it(tmp_path: Path) -> None:
    source = Source(agent="codex", session="s", turn="s:1")
    long = "word " * 30 + "end"
    draft = Draft(
        name="d", instruction="Do \u00fc.\nThen: that.", checks=("a", "b"), source=source,
        notes=(long,),
    )  # fmt: skip
    write_draft(draft, tmp_path)
    lines = (tmp_path / "d" / "draft.yaml").read_text("utf-8").splitlines()
    assert lines[:9] == [
        "format: 1", "status: draft", "name: d", "instruction: |-", "  Do \u00fc.", "  Then: that.",
        "expectations: []", "checks:", "  - a",
    ]  # fmt: skip
    assert max(map(len, lines)) in range(90, 104), "a long text goes on in the next line"
    assert read_draft(tmp_path / "d") == draft
    harvested(tmp_path)
    assert (tmp_path / "drafts" / "drafts.json").read_text() == '{\n  "format": 1\n}\n'


def test_a_file_that_is_no_draft_is_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "draft.yaml").write_bytes(b"- \xff\n")
    with pytest.raises(TaskError, match=r"draft\.yaml: the file: Input should be"):
        read_draft(tmp_path / "d")


class Commits:
    """Keeps files of commits, or says why it cannot."""

    def __init__(self, *files: str, fails: bool = False) -> None:
        self.files, self.fails = files, fails
        self.asked: list[tuple[Path, str]] = []

    def __call__(self, folder: Path, commit: str, target: Path, redactor: Redactor) -> Kept:
        self.asked.append((folder, commit))
        for file in self.files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).touch()
        if self.fails:
            raise WorkspaceError("it is gone")
        return Kept(len(self.files), (), ())


def keeping(monkeypatch: pytest.MonkeyPatch, commits: Commits) -> Commits:
    monkeypatch.setattr(drafts, "keep_commit", commits)
    return commits


def later(number: int) -> Turn:
    return replace(FIRST, id=f"s1:{number}")


def test_the_files_of_a_commit_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = keeping(monkeypatch, Commits("a", "sub/b"))
    at: dict[str, Any] = {"folder": "/w/My Page", "commit": "abc"}
    name = f"my-page-{digest_of('/w/My Page@abc')[:10]}"
    left = tmp_path / "drafts" / "workspaces" / f".{name}.new"
    harvested(tmp_path)
    left.mkdir(parents=True)
    (left / "old").touch()
    done = harvested(
        tmp_path,
        a_request(**at, files=("/w/My Page/a", "c", "sub/b"), accepted="yes"),
        a_request(**at, turn=later(2), first=False),
        a_request(**{**at, "commit": "def"}, turn=later(3)),
    )
    other = f"my-page-{digest_of('/w/My Page@def')[:10]}"
    assert [draft.workspace for draft in done.new] == [name, name, other]
    assert done.workspaces == {name: Kept(2, (), ()), other: Kept(2, (), ())}
    assert commits.asked == [(Path("/w/My Page"), "abc"), (Path("/w/My Page"), "def")]
    kept = tmp_path / "drafts" / "workspaces" / name
    assert sorted(one.name for one in kept.iterdir()) == ["a", "sub"] and not left.exists()
    first, second, _ = done.new
    assert first.checks == ("test -e c",), "what was there before is no result"
    assert first.notes == (
        "the files are those of the commit; what was not committed then is not known",
    )
    assert second.notes[1:] == (
        "the files are those of the commit at the beginning of the session",
    )
    again = harvested(tmp_path, a_request(**at, turn=later(4)))
    assert again.new[0].workspace == name and again.workspaces == {} and len(commits.asked) == 2


def test_a_commit_that_cannot_be_had_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = keeping(monkeypatch, Commits("a", fails=True))
    at: dict[str, Any] = {"folder": "/w", "commit": "abc"}
    done = harvested(tmp_path, a_request(**at), a_request(**at, turn=later(2)))
    assert [draft.workspace for draft in done.new] == ["", ""] and len(commits.asked) == 1
    assert [draft.notes for draft in done.new] == [("no files: it is gone",)] * 2
    assert done.workspaces == {}
    assert [*(tmp_path / "drafts" / "workspaces").iterdir()] == []


def test_a_commit_may_have_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping(monkeypatch, Commits())
    done = harvested(tmp_path, a_request(folder="/w", commit="abc"))
    assert (tmp_path / "drafts" / "workspaces" / done.new[0].workspace).is_dir()
    assert done.new[0].source.commit == "abc"


def test_files_are_asked_for_with_a_folder_and_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = keeping(monkeypatch, Commits())
    done = harvested(tmp_path, a_request(commit="abc"), a_request(folder="/w", turn=later(2)))
    assert commits.asked == [] and [draft.workspace for draft in done.new] == ["", ""]
    assert [draft.notes for draft in done.new] == [(), (NO_COMMIT,)]


def test_a_name_is_of_the_first_words_without_secrets(tmp_path: Path) -> None:
    end = digest_of("s1:1")[:6]
    redactor = Plain(frozenset(), "")
    long = a_request(turn=replace(FIRST, text=f"a b {'y' * 196}z"))
    assert name_of(long, redactor) == f"a-b-{'y' * 196}-{end}", "200 characters"
    cut = a_request(turn=replace(FIRST, text="a " * 3 + SECRET + " b" * 20_000))
    assert name_of(cut, redactor) == f"a-a-a-redacted-b-b-{end}"
