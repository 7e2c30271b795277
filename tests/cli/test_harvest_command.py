"""``skillopt harvest`` and ``skillopt review``."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from skillopt.tasks.drafts.drafts import read_drafts
from tests.helpers.command_line import SKILLOPT, skillopt
from tests.helpers.session_logs import LOGS

CODEX, CLAUDE = LOGS / "codex-0.171.0-interactive", LOGS / "claude-code-2.1.332-resumed"


def test_the_sessions_of_both_agents_become_drafts(tmp_path: Path) -> None:
    out = tmp_path / "d"
    done = skillopt("harvest", CODEX, CLAUDE, "-o", out)
    assert done.returncode == 0 and "2 sessions with 3 requests" in done.stdout, done.stderr
    assert f"3 new drafts in {out}; 4 secrets were taken out" in done.stdout
    drafts = read_drafts(out)
    assert {draft.source.agent for draft in drafts} == {"codex", "claude-code"}
    kept = "".join(file.read_text() for file in out.rglob("draft.yaml"))
    assert "hunter2" not in kept and "IOSFODNN" not in kept and "[REDACTED: AWS key]" in kept
    again = json.loads(skillopt("harvest", CODEX, CLAUDE, "-o", out, "--json").stdout)
    assert again["new"] == [] and len(again["known"]) == 3


def test_by_default_those_of_this_user_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(CODEX / "codex"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    (tmp_path / ".claude").symlink_to(CLAUDE / "claude")
    done = json.loads(skillopt("harvest", "-o", tmp_path / "d", "--json").stdout)
    assert (done["sessions"], done["requests"]) == (2, 3)
    one = json.loads(skillopt("harvest", "-o", tmp_path / "e", "--agent", "codex", "--json").stdout)
    assert (one["sessions"], one["requests"]) == (1, 2)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--corrected"], 2), (["--limit", "1"], 1), (["--project", "/app"], 3),
        (["--project", "/elsewhere"], 0), (["--after", "2026-11-27T06:51+00:00"], 2),
        (["--after", "2031-01-01"], 0),
    ],
)  # fmt: skip
def test_options_choose_requests(options: list[str], count: int, tmp_path: Path) -> None:
    done = skillopt("harvest", CODEX, CLAUDE, "--dry-run", "--json", *options)
    told = json.loads(done.stdout)
    assert len(told["chosen"]) == count and "hunter2" not in done.stdout
    plain = skillopt("harvest", CODEX, CLAUDE, "--dry-run", *options)
    assert plain.stdout.endswith("2 sessions with 3 requests\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["/no/such"], "/no/such: no such file or folder"),
        ([str(LOGS / "codex-0.171.0-part"), "--agent", "claude-code"], "no session of claude-code"),
        (["--agent", "opencode"], "'opencode' is not one of"),
        (["--limit", "0"], "0 is not in the range"),
        (["--after", "soon"], "--after soon: neither a date"),
        (["--skill", "A Skill"], "--skill A Skill: no name of a skill"),
        (["--config", "x.yaml"], "--config and --yes are for --model"),
        (["--yes"], "--config and --yes are for --model"),
        (["--model", "sim:sim-1"], "--model sends texts to a service; add --yes"),
        (["--model", "nowhere:x", "--yes"], "use UPSTREAM:NAME, with one of"),
        (["--model", "x", "--config", "/no.yaml", "--yes"], "/no.yaml"),
        (["-o", "/proc/version"], "is no folder of drafts"),
    ],
)
def test_each_wrong_input_of_harvest_is_named(
    options: list[str], message: str, tmp_path: Path
) -> None:
    places = [] if options[0].startswith("/") else [str(CODEX)]
    out = [] if "-o" in options else ["-o", str(tmp_path / "d")]
    done = skillopt("harvest", *places, *options, *out)
    assert done.returncode == 2 and message in done.stderr, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("draft.yaml"))


@pytest.fixture
def drafts(tmp_path: Path) -> Path:
    out = tmp_path / "drafts"
    assert skillopt("harvest", CODEX, CLAUDE, "-o", out).returncode == 0
    return out


def test_decisions_without_a_terminal(drafts: Path) -> None:
    names = [draft.name for draft in read_drafts(drafts)]
    done = skillopt(
        "review", drafts, "--accept", names[0], "--reject", names[1], "--later", names[2]
    )
    assert done.returncode == 0, done.stderr
    assert "1 accepted, 1 rejected, 1 left for later" in done.stdout
    assert (drafts / "accepted/tasks" / names[0] / "instruction.md").is_file()
    told = json.loads(skillopt("review", drafts, "--json").stdout)
    assert [draft["status"] for draft in told["drafts"]] == ["accepted", "rejected", "later"]
    listed = skillopt("review", drafts, "--list").stdout
    assert f"later    {names[2]}: " in listed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is no terminal: use --list"),
        (["--accept", "nothing"], "nothing: no such draft"),
        (["--accept", "../drafts"], "no such draft"),
        (["--accept", "NAME", "--reject", "NAME"], "is named twice"),
    ],
)
def test_each_wrong_input_of_review_is_named(
    options: list[str], message: str, drafts: Path
) -> None:
    name = read_drafts(drafts)[0].name
    done = skillopt("review", drafts, *[name if one == "NAME" else one for one in options])
    assert done.returncode == 2 and message in done.stderr
    assert {draft.status for draft in read_drafts(drafts)} == {"draft"}


def test_review_of_a_folder_without_drafts(tmp_path: Path) -> None:
    done = skillopt("review", tmp_path, "--list")
    assert done.returncode == 2 and "no drafts are here" in done.stderr


def on_a_terminal(folder: Path, keys: list[str], editor: str, code: int = 0) -> str:
    """What a terminal shows; each key is typed when the question is there again."""
    main, child = pty.openpty()
    process = subprocess.Popen(
        [*SKILLOPT, "review", str(folder)],
        stdin=child, stdout=child, stderr=child, env={**os.environ, "EDITOR": editor},
    )  # fmt: skip
    os.close(child)
    shown, asked, end = "", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([main], [], [], 0.1)[0]:
            try:
                data = os.read(main, 65536)
            except OSError:
                break  # The other end is closed.
            shown += data.decode("utf-8", "replace")
        if keys and shown.count("[q]uit") > asked:
            asked = shown.count("[q]uit")
            os.write(main, f"{keys.pop(0)}\n".encode())
    assert process.wait(10) == code, shown
    os.close(main)
    return shown


@pytest.mark.slow
def test_one_by_one_in_a_terminal(drafts: Path, tmp_path: Path) -> None:
    editor = tmp_path / "edit"
    editor.write_text("#!/bin/sh\nsed -i 's/^instruction:.*/instruction: Better/' \"$1\"\n")
    editor.chmod(0o755)
    broken = tmp_path / "break"
    broken.write_text("#!/bin/sh\necho 'odd: 1' >> \"$1\"\n")
    broken.chmod(0o755)
    shown = on_a_terminal(drafts, ["e", "a", "l", "q"], str(editor))
    assert "1 of 3" in shown and "Better" in shown and "1 accepted" in shown
    first, second, third = read_drafts(drafts)
    assert (first.status, first.instruction) == ("accepted", "Better")
    assert (second.status, third.status) == ("later", "draft")
    # What is left for later comes last, and what does not fit is asked about again.
    shown = on_a_terminal(drafts, ["e", "a", "q"], str(broken), code=2)
    assert "1 of 2" in shown and "odd: Extra inputs" in shown


def test_a_model_writes_better_drafts_and_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from harnesses.protocols.base import Conversation, Reply
    from skillopt.evaluation import draft_writer
    from tests.helpers.scripted_model import ScriptedAgentModel

    asked: list[str] = []

    class Writer(ScriptedAgentModel):
        def _reply(self, shown: Conversation, turn: int) -> Reply:
            asked.append(shown.messages[-1].text)
            if len(asked) == 1:
                return Reply("no JSON")
            if len(asked) > 3:
                return Reply("never JSON")
            many = [f"statement {n}" for n in range(20)]
            told = {"instruction": "x" * 9000, "expectations": many, "query": "a query"}
            return Reply(json.dumps(told))

    @contextmanager
    def opened(_: object):  # type: ignore[no-untyped-def]
        yield Writer([])

    monkeypatch.setattr(draft_writer, "open_upstream", opened)
    out = tmp_path / "d"
    done = skillopt("harvest", CODEX, CLAUDE, "-o", out, "--model", "sim:sim-1", "--yes")
    assert done.returncode == 0, done.stderr
    assert "3 requests with their corrections, without secrets, about" in done.stderr
    assert "sim-1 wrote 2 drafts" in done.stdout and "not written by the model" in done.stdout
    assert not any("hunter2" in text for text in asked)
    written = [one for one in read_drafts(out) if one.instruction.startswith("xxx")]
    assert len(written) == 2
    assert {len(one.instruction) for one in written} == {4000}
    assert {len(one.expectations) for one in written} == {8}
    assert all("the person's own words" in one.notes[-1] for one in written)
    assert {draft.status for draft in read_drafts(out)} == {"draft"}
