"""The files of a commit, as git lists and prints them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.tasks.drafts.redaction import Redactor
from skillopt.tasks.drafts.workspace import (
    MAX_BYTES,
    MAX_FILES,
    Kept,
    WorkspaceError,
    keep_commit,
    without_secrets,
)

SECRET = "hidden-in-here"


class Plain(Redactor):
    """Replaces what is known alone: the detectors take their time."""

    def text(self, text: str) -> str:
        self.count += text.count(SECRET)
        return text.replace(SECRET, "[REDACTED]")


def plain() -> Redactor:
    return Plain(frozenset(), "")


class Git:
    """Prints a commit's files: by path their mode and content, or size alone."""

    def __init__(self, files: dict[str, tuple[str, bytes | int]]) -> None:
        self.files = files
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.missing = ""
        self.end = SimpleNamespace(returncode=0, stdout=b"", stderr=b"")

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.calls.append((command, options))
        if self.end.returncode:
            return self.end
        return SimpleNamespace(returncode=0, stdout=self._said(command, options), stderr=b"")

    def _said(self, command: list[str], options: dict[str, Any]) -> bytes:
        if "ls-tree" in command:
            return b"".join(
                f"{mode} blob {name[:4]:x>8} {self._size(content):>7}\t{name}\0".encode()
                for name, (mode, content) in self.files.items()
            )
        contents = {f"{name[:4]:x>8}": content for name, (_, content) in self.files.items()}
        said = b""
        for id in options["input"].decode().split():
            content = contents[id]
            assert isinstance(content, bytes)
            if id.endswith(self.missing) and self.missing:
                said += f"{id} missing\n".encode()
            else:
                said += f"{id} blob {len(content)}\n".encode() + content + b"\n"
        return said

    @staticmethod
    def _size(content: bytes | int) -> str:
        return str(content if isinstance(content, int) else len(content))


def on_git(monkeypatch: pytest.MonkeyPatch, **files: Any) -> Git:
    git = Git(files)
    monkeypatch.setattr(subprocess, "run", git)
    return git


FILE, PROGRAM, LINK, MODULE = "100644", "100755", "120000", "160000"


def test_plain_files_are_written_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_git(
        monkeypatch,
        **{
            "a": (FILE, b"one\ntwo\n"), "sub/run": (PROGRAM, f"{SECRET} x {SECRET}".encode()),
            "b\xe4": (FILE, b"\xff" + SECRET.encode()), ".env": (FILE, b"X=1"),
            "link": (LINK, b"/etc"), "modl": (MODULE, 0), "zero": (FILE, b""),
        },
    )  # fmt: skip
    redactor = plain()
    kept = keep_commit(tmp_path, "abc", tmp_path / "k", redactor)
    assert kept == Kept(4, (".env", "link", "modl"), ("sub/run",)) and redactor.count == 2
    found = {
        str(file.relative_to(tmp_path / "k")): (file.read_bytes(), file.stat().st_mode & 0o777)
        for file in (tmp_path / "k").rglob("*") if file.is_file()
    }  # fmt: skip
    assert found == {
        "a": (b"one\ntwo\n", 0o644), "sub/run": (b"[REDACTED] x [REDACTED]", 0o755),
        "b\xe4": (b"\xff" + SECRET.encode(), 0o644), "zero": (b"", 0o644),
    }  # fmt: skip


def test_git_is_asked_for_objects_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = on_git(monkeypatch, a=(FILE, b"x"))
    monkeypatch.setenv("PATH", "/a/path")
    keep_commit(tmp_path, "abc", tmp_path / "k", plain())
    (listing, options), (printing, more) = git.calls
    base = ["git", "-C", str(tmp_path), "-c", "core.fsmonitor=false"]
    assert listing == [*base, "ls-tree", "-r", "-l", "-z", "abc^{commit}", "--", "."]
    assert printing == [*base, "cat-file", "--batch"] and more["input"] == b"xxxxxxxa\n"
    assert options["input"] == b"" and options["capture_output"] and not options["check"]
    assert options["timeout"] == 60
    assert {name: options["env"][name] for name in ("GIT_ALLOW_PROTOCOL", "GIT_NO_LAZY_FETCH")} == {
        "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1",
    }  # fmt: skip
    assert options["env"]["PATH"] == "/a/path"


@pytest.mark.parametrize("name", ["../x", ".git/config", "a/../x", "a/.git/x", "/etc/x"])
def test_no_path_leads_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_git(monkeypatch, **{name: (FILE, b"x"), "good": (FILE, b"y")})
    assert keep_commit(tmp_path, "abc", tmp_path / "k", plain()) == Kept(1, (), ())
    assert [file.name for file in (tmp_path / "k").rglob("*")] == ["good"]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([MAX_BYTES], ""),
        ([MAX_BYTES - 1, 2], "has 2 files with 21 MB; at most 5000 files and 21 MB are kept"),
        ([0] * MAX_FILES, ""),
        ([0] * (MAX_FILES + 1), "at 0123456789ab has 5001 files with 0 MB"),
    ],
)
def test_a_commit_may_have_so_many_bytes_and_files(
    sizes: list[int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_git(monkeypatch, **{str(n): (LINK, size) for n, size in enumerate(sizes)})
    assert MAX_BYTES == 20 * 1024 * 1024 and MAX_FILES == 5000
    if not said:
        assert keep_commit(tmp_path, "0123456789abcd", tmp_path / "k", plain()).files == 0
        return
    with pytest.raises(WorkspaceError, match=said):
        keep_commit(tmp_path, "0123456789abcd", tmp_path / "k", plain())
    assert not (tmp_path / "k").exists()


def test_what_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = on_git(monkeypatch, good=(FILE, b"y"), gone=(FILE, b"x"))
    for folder, commit, said in (
        (tmp_path / "none", "abc", "none is not on this machine"),
        (tmp_path, "-x", "'-x' is no commit"),
    ):
        with pytest.raises(WorkspaceError, match=said):
            keep_commit(folder, commit, tmp_path / "k", plain())
    assert git.calls == []
    git.missing = "gone"
    with pytest.raises(WorkspaceError, match="git: gone is not in the repository"):
        keep_commit(tmp_path, "abc", tmp_path / "k", plain())


@pytest.mark.parametrize(
    ("error", "said"),
    [(b"first\nfatal: odd\xff\n", "git: fatal: odd\ufffd$"), (b"", "git: failed$")],
)
def test_what_git_says_is_told(
    error: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_git(monkeypatch).end = SimpleNamespace(returncode=128, stdout=b"", stderr=error)
    with pytest.raises(WorkspaceError, match=said):
        keep_commit(tmp_path, "abc", tmp_path / "k", plain())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(), "git is not installed"),
        (subprocess.TimeoutExpired("git", 60), "git took more than 60 seconds"),
    ],
)
def test_a_git_that_does_not_run_is_told(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **options: Any) -> Any:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(WorkspaceError, match=said):
        keep_commit(tmp_path, "abc", tmp_path / "k", plain())


@pytest.mark.parametrize(
    ("data", "made", "changed"),
    [
        (b"a\r\nb", b"a\r\nb", False),
        (f"\u00fc {SECRET}".encode(), "\u00fc [REDACTED]".encode(), True),
        (b"\xff" + SECRET.encode(), b"\xff" + SECRET.encode(), False),
        (b"\0" + SECRET.encode(), b"\0" + SECRET.encode(), False),
        (b"", b"", False),
    ],
)
def test_text_is_kept_without_secrets(data: bytes, made: bytes, changed: bool) -> None:
    redactor = plain()
    redactor.count = 3
    assert without_secrets(data, redactor) == (made, changed)
    assert redactor.count == 3 + changed
