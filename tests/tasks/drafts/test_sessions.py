"""Sessions of the real programs, as ``logs/`` has them: of both agents in two versions each.

They were made with a scripted model; what they say of prompts, tools and tokens was taken out.
``tests/integration/test_sessions.py`` makes new ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.tasks.drafts.claude_log import PATTERN as CLAUDE
from skillopt.tasks.drafts.claude_log import read_claude
from skillopt.tasks.drafts.codex_log import PATTERN as CODEX
from skillopt.tasks.drafts.codex_log import read_codex
from skillopt.tasks.drafts.requests import Request, requests_in, statement
from skillopt.tasks.drafts.sessions import MAX_LINE_BYTES, Session, logs, said, whole_sessions
from tests.helpers.session_logs import LOGS

VERSIONS = ("codex-0.169.0", "codex-0.171.0", "claude-code-2.1.197", "claude-code-2.1.332")
REPORT = "Write a report of data.csv into report.md"
BOLD = "No, the total must be the last line, and in bold."
STOP = "Stop, do not check everything. Only check the total line."


def read(kind: str, root: Path = LOGS) -> list[Session]:
    codex = kind.startswith("codex")
    found = logs(root / kind / ("codex" if codex else "claude"), CODEX if codex else CLAUDE)
    reader = read_codex if codex else read_claude
    return whole_sessions(one for one in map(reader, found) if one)


def requests(kind: str) -> list[Request]:
    return requests_in(read(kind))[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_is_one_request_with_its_correction(version: str) -> None:
    (request,) = requests(f"{version}-resumed")
    assert request.turn.text.startswith(REPORT) and request.first
    assert [turn.text for turn in request.corrections] == [BOLD]
    assert request.accepted == "yes"
    assert request.files == ("/app/report.md",) and request.skills == ("house-rules",)
    session = request.session
    assert f"{session.agent}-{session.version}" == version and session.folder == "/app"
    # This version of Claude Code keeps the commit to itself.
    assert bool(session.commit) is (version != "claude-code-2.1.197")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fork_shares_its_beginning(version: str) -> None:
    one, other = sorted(read(f"{version}-fork"), key=lambda session: len(session.turns))
    assert one.turns[0].id == other.turns[0].id and one.id != other.id
    (request,) = requests(f"{version}-fork")
    assert [turn.text for turn in request.corrections] == [BOLD]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interrupted_turn_is_followed_by_a_correction(version: str) -> None:
    (session,) = read(f"{version}-interactive")
    assert [turn.interrupted for turn in session.turns] == [False, True, False, False]
    report, slow = requests(f"{version}-interactive")
    assert report.accepted == "yes" and not report.corrections
    assert slow.turn.text.startswith("Now the SLOW check") and not slow.first
    assert [turn.text for turn in slow.corrections] == [STOP] and slow.accepted == "yes"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["part", "summary"])
def test_what_programs_write_for_themselves_is_no_request(version: str, case: str) -> None:
    """Prompts of sub-agents, summaries, and reminders that a task in the background has ended."""
    (request,) = requests(f"{version}-{case}")
    assert request.turn.text == "Do THE WHOLE." and not request.corrections
    assert request.turn.answer == ("whole done" if case == "part" else "all done")


def log(folder: Path, name: str, *lines: object) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def codex(kind: str, **payload: object) -> dict[str, object]:
    return {"type": kind, "timestamp": "2026-01-01T00:00:00Z", "payload": payload}


def test_earlier_codex_wrote_messages_as_events_and_forks_as_copies(tmp_path: Path) -> None:
    meta = codex("session_meta", id="one", cwd="/w", cli_version="0.40.0")
    first = codex("event_msg", type="user_message", message="Make a table of it")
    patch = codex("event_msg", type="patch_apply_begin", changes={"/w/t.md": {}})
    done = codex("event_msg", type="agent_message", message="done")
    wrong = codex("event_msg", type="user_message", message="That is wrong, two columns")
    one = log(tmp_path, "a.jsonl", meta, first, patch, done)
    fork = codex("session_meta", id="two", cwd="/w", forked_from_id="one")
    two = log(tmp_path, "b.jsonl", fork, meta, first, patch, done, wrong)
    found = whole_sessions(session for file in (one, two) if (session := read_codex(file)))
    (request,), short = requests_in(found)
    assert (request.turn.id, request.files, short) == ("one:1", ("/w/t.md",), 0)
    assert [turn.text for turn in request.corrections] == ["That is wrong, two columns"]


def test_a_session_before_there_were_events_is_read_from_what_the_model_saw(tmp_path: Path) -> None:
    def shown(text: str) -> dict[str, object]:
        content = [{"type": "input_text", "text": text}]
        return codex("response_item", type="message", role="user", content=content)

    meta = codex("session_meta", id="one", cwd="/w")
    context = shown("<environment_context>\n<cwd>/w</cwd>\n</environment_context>")
    rules = shown("# AGENTS.md instructions for /w\n\nBe brief.")
    file = log(tmp_path, "a.jsonl", meta, rules, context, shown("Count the open orders"))
    session = read_codex(file)
    assert session is not None
    assert [turn.text for turn in session.turns] == ["Count the open orders"]


def claude(kind: str, content: object, n: int, **more: object) -> dict[str, object]:
    message = {"role": kind, "content": content}
    return {
        "type": kind,
        "uuid": f"u{n}",
        "parentUuid": f"u{n - 1}",
        "sessionId": "s",
        "cwd": "/w",
        "timestamp": f"2026-01-01T00:00:{n:02}Z",
        "message": message,
        **more,
    }


def test_what_claude_code_keeps_beside_a_persons_words(tmp_path: Path) -> None:
    refusal = (
        "The user doesn't want to proceed with this tool use. To tell you how to proceed, the user "
        "said:\nuse the other file"
    )
    command = (
        "<command-message>tables</command-message>\n<command-name>/tables</command-name>\n"
        "<command-args>make the price table</command-args>"
    )
    own = "<command-name>/model</command-name>\n<command-args>some model name</command-args>"
    tool = {"type": "tool_use", "name": "Edit", "input": {"file_path": "/w/a.csv"}}
    refused = {"type": "tool_result", "is_error": True, "content": refusal}
    lines = [
        claude("user", own, 1),
        claude("user", command, 2),
        claude("assistant", [tool], 3),
        claude("user", [refused], 4),
        claude("user", "[Request interrupted by user]", 5),
        claude("user", "<local-command-stdout>x</local-command-stdout>", 6),
        claude("user", "a task ended", 7, origin={"kind": "task-notification"}),
        claude("user", "a summary of it all", 8, isCompactSummary=True),
        claude("user", "make a table of prices", 9, parentUuid="u8"),
        claude("user", "<system-reminder>x</system-reminder>write the mail", 10, parentUuid="u8"),
    ]
    session = read_claude(log(tmp_path, "s.jsonl", *lines, lines[1]))
    assert session is not None
    turns = [(turn.text, turn.interrupted, turn.again) for turn in session.turns]
    assert turns == [
        ("make the price table", True, False),
        ("use the other file", True, False),
        ("make a table of prices", False, False),
        ("write the mail", False, True),
    ]
    assert session.turns[0].skills == ("tables",) and session.turns[0].files == ("/w/a.csv",)


def test_what_a_sub_agent_changed_counts_for_the_turn_that_started_it(tmp_path: Path) -> None:
    tool = {"type": "tool_use", "name": "Write", "input": {"file_path": "/w/b.md"}}
    main = log(tmp_path, "s.jsonl", claude("user", "first do the page", 1),
               claude("user", "now do the mail", 9))  # fmt: skip
    part = log(tmp_path, "s/subagents/agent-a.jsonl",
               claude("user", "Do a part", 3, isSidechain=True, agentId="a"),
               claude("assistant", [tool], 4, isSidechain=True, agentId="a"))  # fmt: skip
    (session,) = whole_sessions(one for one in map(read_claude, (main, part)) if one)
    assert [turn.files for turn in session.turns] == [("/w/b.md",), ()]


def test_a_damaged_log_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    file = log(tmp_path, "s.jsonl", [1], claude("user", "do the page now", 1), {"type": "user"})
    long = json.dumps(claude("user", "x" * MAX_LINE_BYTES, 2)).encode()
    after = json.dumps(claude("user", "then do the mail", 3)).encode()
    file.write_bytes(file.read_bytes() + b"\xff{\n" + long + b"\n" + after + b'\n{"type": "us')
    session = read_claude(file)
    assert session is not None
    assert [turn.text for turn in session.turns] == ["do the page now", "then do the mail"]
    for reader in (read_claude, read_codex):
        assert (
            reader(log(tmp_path, "other.jsonl", {"display": "x"}, {"type": "session_meta"})) is None
        )


def test_links_are_not_followed(tmp_path: Path) -> None:
    log(tmp_path / "elsewhere", "s.jsonl", claude("user", "do the page now", 1))
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects/s.jsonl").symlink_to(tmp_path / "elsewhere/s.jsonl")
    assert logs(tmp_path, CLAUDE) == [] and logs(tmp_path / "none", CLAUDE) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("No, use commas", "correction"),
        ("nope that is the wrong file", "correction"),
        ("You forgot the header", "correction"),
        ("It still fails with the same error", "correction"),
        ("I said the first column", "correction"),
        ("make a chart of monthly sales, please!", "correction"),  # The same request again.
        ("Actually use bars", "correction"),
        ("Perfect, thanks", "accepted"),
        ("LGTM", "accepted"),
        ("continue", "nothing"),
        ("Now add a legend and a title to it", "request"),
        ("Note the deadline in the readme", "request"),
        ("Nobody reads the second page, drop it", "request"),
    ],
)
def test_how_a_persons_words_are_told_apart(tmp_path: Path, text: str, kind: str) -> None:
    said_first = claude("user", "Make a chart of monthly sales", 1)
    reply = claude("assistant", [{"type": "text", "text": "done"}], 2)
    reply["message"] = {**reply["message"], "stop_reason": "end_turn"}  # type: ignore[dict-item]
    session = read_claude(log(tmp_path, "s.jsonl", said_first, reply, claude("user", text, 3)))
    assert session is not None
    found, _ = requests_in([session])
    first = found[0]
    told = (len(found), len(first.corrections), first.accepted)
    assert (
        told
        == {
            "correction": (1, 1, "unknown"),
            "accepted": (1, 0, "yes"),
            "nothing": (1, 0, "unknown"),
            "request": (2, 0, "yes"),
        }[kind]
    )


def test_a_correction_becomes_a_statement() -> None:
    assert statement(BOLD) == "The total must be the last line, and in bold."
    assert statement("no") == "no" and statement("Only two digits") == "Only two digits"


def test_what_editors_add_is_no_persons_word() -> None:
    ide = "# Context from my IDE setup:\n\n## Active file: a.py\n\n## My request for Codex:\nFix it"
    assert said(ide) == "Fix it"
    assert said("<ide_selection>x\ny</ide_selection>\nFix it <b>now</b>") == "Fix it <b>now</b>"
