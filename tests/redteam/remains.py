"""Leaving files that the host must look at: nothing of this may raise there, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harnesses.agents.cli_agent import CUT_TRANSCRIPTS, TRANSCRIPT_BYTES
from harnesses.base import Status
from tests.redteam.attempt import Attempt, Case


def _lost(attempt: Attempt) -> None:
    attempt.lost()


def _kept(name: str) -> Callable[[Attempt], None]:
    """A file of the agent's was readable in the end."""

    def check(attempt: Attempt) -> None:
        attempt.lost()
        assert (attempt.folder / "workspace" / name).read_text() == "kept\n"

    return check


def _no_sockets(attempt: Attempt) -> None:
    """Archives have no sockets, so that those that are copied are not even named."""
    (_lost if attempt.copied else _gone("s", "d/t"))(attempt)


def _gone(*names: str) -> Callable[[Attempt], None]:
    """What was removed is named in the rollout's message."""

    def check(attempt: Attempt) -> None:
        attempt.lost()
        assert all(name in attempt.result.message for name in names), attempt.result.message
        attempt.result.message.encode("utf-8")

    return check


def _stopped(attempt: Attempt) -> None:
    assert attempt.result.status is Status.AGENT_ERROR
    assert "disk limit" in attempt.result.message
    attempt.untouched()


def _transcripts(attempt: Attempt) -> None:
    attempt.lost()
    files = list((attempt.folder / "transcript").iterdir())
    assert files and all(file.is_file() and not file.is_symlink() for file in files)
    assert sum(file.stat().st_size for file in files) < TRANSCRIPT_BYTES + 4096
    assert not any(b"root:" in file.read_bytes() for file in files)


def _cut(attempt: Attempt) -> None:
    _transcripts(attempt)
    note: Path = attempt.folder / "transcript" / CUT_TRANSCRIPTS
    assert " of 9000000 bytes were kept" in note.read_text()


def _plain(attempt: Attempt) -> None:
    attempt.lost()
    kept = attempt.folder / "workspace" / "run"
    assert kept.stat().st_mode & 0o6000 == 0


SESSIONS = "cd ~/.codex/sessions/*/*/*; f=$(ls rollout-*.jsonl | head -1)"
LONG = "a" * 250

REMAINS = [
    Case("transcript that leads to itself", "host", "not followed",
         (f"{SESSIONS}; ln -s rollout-x.jsonl rollout-x.jsonl; ls -la",), _transcripts, "codex"),
    Case("transcript that cannot be read", "host", "its rights are given back",
         (f"{SESSIONS}; chmod 000 $f; chmod 000 .",), _transcripts, "codex"),
    Case("transcript that is a link", "host", "not followed",
         (f"{SESSIONS}; ln -s /etc/passwd rollout-y.jsonl; mkfifo rollout-p.jsonl; "
          "mkdir rollout-d.jsonl",), _transcripts, "codex"),
    Case("transcript of any size", "host", "kept to its bound, which is said",
         (f"{SESSIONS}; for i in 1 2 3 4; do head -c 9000000 /dev/zero > rollout-$i.jsonl; done",),
         _cut, "codex"),
    Case("home that cannot be removed", "host", "its rights are given back",
         ("mkdir -p ~/a/b/c; touch ~/a/b/c/d; chmod -R 500 ~/a; chmod 000 ~/a/b; chmod 555 ~",),
         _lost, "codex"),
    Case("read-only trees", "host", "judged, kept and removed as others",
         ("mkdir -p go/pkg/mod/x; echo kept > go/pkg/mod/x/f; ln -s /tests go/pkg/mod/x/l; "
          "chmod -R 555 go",), _kept("go/pkg/mod/x/f")),
    Case("unreadable file", "host", "its rights are given back",
         ("echo kept > s; chmod 000 s",), _kept("s")),
    Case("unreadable file of an agent that was stopped", "host", "stopped all the same",
         ("echo x > s; chmod 000 s; mkdir d; chmod 000 d; for i in $(seq 40); do "
          "head -c 9000000 /dev/zero > f$i; sleep 0.1; done",), _stopped),
    Case("folders in folders that cannot be read", "host", "opened from the top",
         ("mkdir -p a/b/c/d; echo kept > a/b/c/d/f; chmod 000 a/b/c/d a/b/c a/b a",),
         _kept("a/b/c/d/f")),
    Case("links in circles", "host", "removed, and named",
         ("ln -s x x; ln -s b a; ln -s a b; mkdir d; ln -s ../d/l d/l; ls -la",),
         _gone("a", "x", "d/l")),
    Case("links to names that no file can have", "host", "removed",
         (f"ln -s {LONG * 2} l; ln -s /app/{LONG * 3}/x m; ls",), _gone("l", "m")),
    Case("names that are no text, of what is removed", "host", "shown with their bytes",
         (r"mkfifo $'p\xff\xfe'; ln -s / $'l\n\x1b[31m\xff'; mkdir $'d\xfe'; mkfifo $'d\xfe/q'",),
         _gone("\\xff", "d\\xfe/q")),
    Case("sockets", "host", "removed, and named if they were there",
         ("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"; "
          "mkdir d; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('d/t')\"; "
          "chmod 000 d",), _no_sockets),
    Case("set-user-id files", "host", "lose that bit, which would give away this user's rights",
         ("cp /bin/true run; chmod 6755 run; mkdir d; chmod 7777 d",), _plain),
    Case("long paths", "host", "kept if they can be, named if not",
         (f"d={LONG}; mkdir -p $d/$d/$d/$d/$d/$d/$d/$d/$d/$d/$d/$d/$d/$d/$d; cd $d; cd $d; "
          "echo kept > f",), _kept(f"{LONG}/{LONG}/f")),
    Case("files in place of folders", "host", "compared as what they are",
         ("rm given.txt; mkdir given.txt; echo kept > given.txt/f",), _kept("given.txt/f")),
]  # fmt: skip
"""Each outcome is the same for root and for an ordinary user."""
