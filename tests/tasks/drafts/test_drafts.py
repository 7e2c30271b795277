"""Drafts on disk, their review, and the tasks that come of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from skillopt.config.schema import TasksConfig
from skillopt.core.errors import FormatError
from skillopt.tasks.drafts.drafts import (
    Draft,
    harvest,
    read_draft,
    read_drafts,
    write_draft,
)
from skillopt.tasks.drafts.redaction import Redactor
from skillopt.tasks.drafts.requests import Request
from skillopt.tasks.drafts.review import decide
from skillopt.tasks.drafts.sessions import Session, Turn
from skillopt.tasks.drafts.workspace import WorkspaceError, keep_commit
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.sources import load_splits

KEY = "AKIA" + "IOSFODNN7EXAMPLQ"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "reports"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "data.csv").write_text("a,b\n1,2\n")
    (folder / "sub/run.sh").write_text(f"#!/bin/sh\nexport KEY={KEY}\n")
    (folder / "sub/run.sh").chmod(0o755)
    (folder / ".env").write_text("X=1\n")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "picture").write_bytes(b"\x89PNG\x00" + KEY.encode())
    (folder / "ä ö.txt").write_text("ok\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    commit = git(folder, "rev-parse", "HEAD")
    (folder / "data.csv").write_text("later\n")
    return folder, commit


def request(folder: Path | str = "", commit: str = "", **more: object) -> Request:
    session = Session("codex", "s1", Path("x"), "1", str(folder), commit)
    turn = Turn("s1:1", f"Write the report, with {KEY}", "2026-01-01T00:00:00Z")
    values: dict[str, object] = {
        "corrections": (Turn("s1:2", "No, in bold"),),
        "accepted": "yes",
        "files": (f"{folder}/report.md", f"{folder}/data.csv", "/etc/x"),
        "skills": ("house-rules",),
        "first": True,
    }
    return Request(session, turn, **{**values, **more})  # type: ignore[arg-type]


def made(tmp_path: Path, *requests: Request, skill: str = "") -> tuple[Path, list[Draft]]:
    folder = tmp_path / "drafts"
    return folder, harvest(requests, folder, Redactor(frozenset(), ""), skill).new


def test_the_files_are_those_of_the_commit_without_secrets(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, (draft,) = made(tmp_path, request(*repository))
    files = folder / "workspaces" / draft.workspace
    assert (files / "data.csv").read_text() == "a,b\n1,2\n"
    assert KEY not in (files / "sub/run.sh").read_text()
    assert (files / "sub/run.sh").stat().st_mode & 0o111
    assert (files / "ä ö.txt").read_text() == "ok\n"
    assert not (files / ".env").exists() and not (files / "link").is_symlink()
    assert (files / "picture").read_bytes().startswith(b"\x89PNG")
    below = keep_commit(repository[0] / "sub", repository[1][:9], tmp_path / "b", Redactor())
    assert below.files == 1 and (tmp_path / "b/run.sh").is_file()


def test_nothing_of_a_repositorys_settings_is_run(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = repository
    ran = tmp_path / "ran"
    (folder / ".gitattributes").write_text("* filter=evil\n")
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "-qm", "second")
    for key in ("filter.evil.smudge", "core.fsmonitor", "core.pager", "tar.tar.command"):
        git(folder, "config", key, f"touch {ran}")
    lazy = {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": f"ext::sh -c 'touch {ran}'",
        "protocol.ext.allow": "always",
    }
    for key, value in lazy.items():
        git(folder, "config", key, value)
    blob = git(folder, "rev-parse", "HEAD:sub/run.sh")
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(WorkspaceError, match="git: "):
        keep_commit(folder, "HEAD", tmp_path / "missing", Redactor())
    assert not ran.exists()
    git(folder, "hash-object", "-w", "sub/run.sh")
    keep_commit(folder, "HEAD", tmp_path / "k", Redactor())
    assert not ran.exists() and (tmp_path / "k/data.csv").read_text() == "a,b\n1,2\n"


def test_a_mere_no_is_no_expectation(tmp_path: Path) -> None:
    said = (Turn("s1:2", "No!"), Turn("s1:3", "no, use commas"), Turn("s1:4", "No, use commas"))
    _, (draft,) = made(tmp_path, request(corrections=said))
    assert draft.expectations == ("Use commas",) and len(draft.corrections) == 3


def test_a_draft_has_what_was_said_and_done(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, (draft,) = made(tmp_path, request(*repository))
    assert draft.status == "draft" and KEY not in (folder / draft.name / "draft.yaml").read_text()
    assert draft.instruction == "Write the report, with [REDACTED: AWS key]"
    assert draft.expectations == ("In bold",) and draft.corrections == ("No, in bold",)
    assert draft.checks == ("test -e report.md",)  # The data were there before.
    assert draft.files_changed == ("report.md", "data.csv")
    assert draft.trigger is not None and draft.trigger.should_trigger
    assert (draft.redacted, draft.accepted_then) == (1, "yes")
    assert read_drafts(folder) == [draft]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"folder": "/not/here", "commit": "abc1234"}, "/not/here is not on this machine"),
        ({"folder": "/work"}, "the log names no commit"),
        ({"folder": "/", "commit": "--help"}, "'--help' is no commit"),
        ({"first": False, "folder": ""}, "it follows earlier requests"),
    ],
)
def test_what_is_not_known_is_noted(changes: dict[str, object], note: str, tmp_path: Path) -> None:
    _, (draft,) = made(tmp_path, request(**changes))  # type: ignore[arg-type]
    assert draft.workspace == "" and any(note in one for one in draft.notes)


def test_a_commit_that_is_gone_is_said(repository: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"git: .*abcdef1"):
        keep_commit(repository[0], "abcdef1", tmp_path / "k", Redactor())


def test_a_skill_that_was_not_opened_is_a_query_to_think_about(tmp_path: Path) -> None:
    _, (draft,) = made(tmp_path, request(skills=()), skill="tables")
    assert draft.trigger is not None and not draft.trigger.should_trigger
    assert any("should it have been" in note for note in draft.notes)
    _, (other,) = made(tmp_path / "other", request(skills=()))
    assert other.trigger is None


@pytest.mark.parametrize("place", [190, 19_990, 20_000])
def test_no_secret_is_cut_in_half(place: int, tmp_path: Path) -> None:
    text = "x" * (place - 1) + " " + KEY + " and so on"
    turn = Turn("s1:1", text, "2026-01-01T00:00:00Z")
    said = request(corrections=(turn,))
    folder, _ = made(tmp_path, Request(said.session, turn, corrections=(turn,)))
    kept = str(sorted(folder.iterdir())) + (next(folder.glob("*/draft.yaml"))).read_text()
    assert KEY[:8] not in kept and KEY[:8].lower() not in kept


def test_harvesting_again_keeps_what_was_decided(tmp_path: Path) -> None:
    folder, (draft,) = made(tmp_path, request())
    decide(folder, draft.name, "rejected")
    again = harvest([request()], folder, Redactor())
    assert (again.new, again.known) == ([], [draft.name])
    assert read_draft(folder / draft.name).status == "rejected"


def test_an_accepted_draft_is_a_task_and_a_query(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, (draft,) = made(tmp_path, request(*repository))
    decide(folder, draft.name, "accepted")
    config = TasksConfig(source=str(folder / "accepted/tasks"), split=(1, 0, 0))
    (task,) = load_splits(config, 0, tmp_path / "made")["train"]
    assert task.instruction.strip() == draft.instruction and task.expectations == ("In bold",)
    assert task.folder is not None
    assert (task.folder / "environment/files/data.csv").read_text() == "a,b\n1,2\n"
    queries = TasksConfig(
        source=str(folder / "accepted/triggers/house-rules"),
        split=(1, 0, 0), options={"unjudged": "leave_out"},
    )  # fmt: skip
    (query,) = load_splits(queries, 0, tmp_path / "made")["train"]
    assert query.triggers is not None and query.triggers.opened == ("house-rules",)
    decide(folder, draft.name, "later")
    assert not list((folder / "accepted").rglob("task.toml"))
    assert not list((folder / "accepted").rglob("*.json"))


def test_a_run_refuses_drafts_by_name(tmp_path: Path) -> None:
    folder, (draft,) = made(tmp_path, request())
    for source in (folder, folder / draft.name, folder / draft.name / "draft.yaml"):
        with pytest.raises(TaskError, match=f"not reviewed: {draft.name}; review them with"):
            load_splits(TasksConfig(source=str(source)), 0, tmp_path / "made")
    decide(folder, draft.name, "later")
    with pytest.raises(TaskError, match=f"not reviewed: {draft.name}"):
        load_splits(TasksConfig(source=str(folder)), 0, tmp_path / "made")
    decide(folder, draft.name, "accepted")
    with pytest.raises(TaskError, match=r"drafts are no tasks; .*accepted/tasks"):
        load_splits(TasksConfig(source=str(folder)), 0, tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction": "  "}, "instruction: is empty"),
        ({"expectations": [], "checks": [], "trigger": None}, "nothing says what a right result"),
        ({"expectations": ["a", " "]}, "expectations: one of them is empty"),
        ({"checks": [""]}, "checks: one of them is empty"),
        ({"checks": ["a\0"]}, "checks: has a zero byte"),
        ({"instruction": "a\0"}, "instruction: has a zero byte"),
        ({"workspace": "../.."}, "workspace: must be the name of a folder"),
        ({"workspace": "gone"}, "is not there; leave it empty"),
        (
            {"trigger": {"skill": "../x", "query": "q", "should_trigger": True}},
            "no name of a skill",
        ),
        (
            {"trigger": {"skill": "x" * 300, "query": "q", "should_trigger": True}},
            "no name of a skill",
        ),
        ({"trigger": {"skill": "x", "query": "", "should_trigger": True}}, "query: is empty"),
        ({"name": "other"}, "name: must be"),
        ({"status": "done"}, "status: Input should be"),
        ({"format": 2}, "format: Input should be 1"),
        ({"instructions": "x"}, "instructions: Extra inputs"),
        ({"source": None}, "source: Input should be"),
    ],
)
def test_what_an_editor_made_wrong_is_named(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder, (draft,) = made(tmp_path, request())
    file = folder / draft.name / "draft.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))
    with pytest.raises(TaskError, match=message) as told:
        decide(folder, draft.name, "accepted")
    assert str(file) in str(told.value) and not (folder / "accepted/tasks").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "drafts"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(TaskError, match="is no folder of drafts"):
        harvest([request()], folder, Redactor())
    with pytest.raises(TaskError, match="no drafts are here"):
        read_drafts(folder)
    (folder / "drafts.json").write_text('{"format": 9}')
    with pytest.raises(FormatError, match="format 9"):
        read_drafts(folder)


def test_a_draft_that_was_edited_is_written_as_it_was_read(tmp_path: Path) -> None:
    folder, (draft,) = made(tmp_path, request())
    odd = draft.model_copy(
        update={"instruction": "a: b\n- c\n\n  'd' # e", "checks": ("grep 'x: y' f",)}
    )
    write_draft(odd, folder)
    assert read_draft(folder / draft.name) == odd
