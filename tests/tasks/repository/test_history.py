"""What is made of git's words: commits, changes, counts, and its failures. No git is run."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from skillopt.tasks.repository.history import Change, Commit, History, HistoryError
from skillopt.tasks.tables import TaskError

Says = Callable[..., list[tuple[str, ...]]]
PROJECT = History(Path("/project"))
COMMIT = Commit("c", "p", "Subject\n\nBody")


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """Lets git answer by its first argument, and tells what it was asked."""

    def answer(**answers: bytes | Exception) -> list[tuple[str, ...]]:
        asked = list[tuple[str, ...]]()

        def git(self: History, *argv: str, **env: str) -> bytes:
            asked.append(argv)
            found = answers.get(argv[0].replace("-", "_"), b"id\n")
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(History, "_git", git)
        return asked

    return answer


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("Add it\n\nIt is new.\n", "Add it\n\nIt is new."),
        ("Add it\n\n\n\n\nIt is new.\n", "Add it\n\nIt is new."),
        ("Add it\n\nSigned-off-by: A <a>\nCo-authored-by: B\n", "Add it"),
        ("Add it\n\nreviewed-BY: A\n\nMore.\n", "Add it\n\nMore."),
        ("Add it\n\n(cherry picked from commit abc)\n", "Add it"),
        ("Add it\n\ncherry picked from x: abc\ngit-svn-id: x\nCc: y\nChange-Id: z", "Add it"),
        ("Add it\n\nThe CC: stays", "Add it\n\nThe CC: stays"),
        ("  Add \xff", "Add \xff"),
    ],
)
def test_messages_have_no_trailers(message: str, text: str, says: Says) -> None:
    said = "\0".join(["a", "b", message, "c", "d", "Other\n", ""]).encode()
    asked = says(log=said)
    assert list(PROJECT.commits("HEAD", 7)) == [Commit("a", "b", text), Commit("c", "d", "Other")]
    (resolved, log) = asked
    assert resolved == ("rev-parse", "--verify", "-q", "HEAD^{commit}")
    assert "--max-count=7" in log and log[-2:] == ("id", "--")
    assert {"--min-parents=1", "--max-parents=1", "--no-show-signature", "-z"} <= {*log}


def test_a_history_without_commits_has_none(says: Says) -> None:
    says(log=b"")
    assert list(PROJECT.commits("HEAD", 7)) == []
    assert COMMIT.subject == "Subject" and Commit("c", "p", "").subject == ""


def test_what_a_commit_changes(says: Says) -> None:
    asked = says(diff_tree=b"M\0a.py\0D\0gone.py\0A\0b \xff\0T\0link\0")
    assert PROJECT.changes(COMMIT) == [
        Change("a.py", False), Change("gone.py", True), Change("b \udcff", False),
        Change("link", False),
    ]  # fmt: skip
    assert asked[0][-2:] == ("p", "c") and {"-r", "-z", "--no-renames"} <= {*asked[0]}
    says(diff_tree=b"")
    assert PROJECT.changes(COMMIT) == []


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (b"3\t4\ta.py\n0\t5\tb.py\n", 12),
        (b"-\t-\tpicture.png\n1\t0\ta\n", 1),
        (b"7\t0\ta\t9\n", 7),
        (b"no numbers\n", 0),
        (b"", 0),
    ],
)
def test_how_many_lines_a_commit_changes(said: bytes, lines: int, says: Says) -> None:
    asked = says(diff_tree=said)
    assert PROJECT.lines(COMMIT) == lines
    assert asked == [("diff-tree", "-r", "--numstat", "p", "c")]


def test_names_at_the_root(says: Says) -> None:
    says(ls_tree=b"a b\0\xff\0")
    assert PROJECT.names("HEAD") == ["a b", "\udcff"]
    says(ls_tree=b"")
    assert PROJECT.names("HEAD") == []


def test_how_git_failed() -> None:
    error = HistoryError(Path("/project"), "fatal: no", 3)
    assert (str(error), error.said) == ("/project: fatal: no", "fatal: no")
    assert str(HistoryError(Path("/project"), "", 3)) == "/project: git ended with 3"


def test_references_that_name_no_commit(says: Says) -> None:
    says(rev_parse=HistoryError(Path("/project"), "", 1))
    with pytest.raises(TaskError, match=r"^/project: has no commit nope; name one with --ref$"):
        PROJECT.names("nope")
    says(rev_parse=HistoryError(Path("/project"), "not a repository", 1))
    with pytest.raises(HistoryError, match=r"^/project: not a repository$"):
        PROJECT.names("nope")
    asked = says()
    with pytest.raises(TaskError, match=r"^--ref -x: is no reference of git$"):
        PROJECT.names("-x")
    assert not asked


@pytest.mark.parametrize("prefix", [b"\n", b""])
def test_the_root_of_a_repository(prefix: bytes, says: Says) -> None:
    says(rev_parse=prefix)
    PROJECT.check_root()


def test_a_folder_in_a_repository_is_not_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"--show-prefix": b"a/b/\n", "--show-toplevel": b"/the top\n"}
    monkeypatch.setattr(History, "_git", lambda self, _, what: said[what])
    with pytest.raises(TaskError) as error:
        PROJECT.check_root()
    assert str(error.value) == (
        "/project: is inside of the repository /the top: name that one; --test says how the tests "
        "of a part of it are run, such as --test 'make -C a/b/ test'"
    )


@pytest.mark.parametrize(
    ("free", "full"), [(0, True), (1024 * 1024 - 1, True), (1024 * 1024, False)]
)
def test_a_disk_that_is_full_is_told_from_another_failure(
    free: int, full: bool, says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = says(checkout_index=HistoryError(Path("x"), "unable to write", 1))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(OSError if full else HistoryError) as error:
        PROJECT.write("HEAD", tmp_path / "new" / "target")
    if full:
        assert isinstance(error.value, OSError) and error.value.errno == errno.ENOSPC
        assert error.value.filename == str(tmp_path / "new" / "target")
    assert [argv[0] for argv in asked] == [
        "rev-parse", "rev-parse", "rev-parse", "init", "read-tree", "checkout-index",
    ]  # fmt: skip


def test_links_that_lead_out_of_what_was_written_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"

    def git(self: History, *argv: str, **env: str) -> bytes:
        if argv[0] == "checkout-index":
            assert env["GIT_WORK_TREE"] == str(target) and env["GIT_OBJECT_DIRECTORY"] == "/objects"
            (target / "deep").mkdir()
            (target / "file").touch()
            for name, to in (("in", "file"), ("deep/up", "../file"), ("out", "/etc/passwd"),
                             ("deep/far", "../../x"), ("self", ".")):  # fmt: skip
                (target / name).symlink_to(to)
        return b"/objects\n" if "objects" in argv else b"sha1\n"

    monkeypatch.setattr(History, "_git", git)
    PROJECT.write("HEAD", target)
    left = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_symlink()}
    assert left == {"in", "deep/up", "self"}
