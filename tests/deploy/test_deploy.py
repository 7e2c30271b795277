"""Deploying into real homes: what comes, what is left alone, and what comes back byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.errors import FormatError
from skillopt.core.front_matter import parse
from skillopt.core.skill import Layout, Skill, read_skill, write_skill
from skillopt.deploy import actions
from skillopt.deploy.actions import deploy, list_standing, undo, with_provenance
from skillopt.deploy.blocks import block_of
from skillopt.deploy.contents import digest
from skillopt.deploy.ledger import Deployment, Ledger
from skillopt.deploy.places import DeployError, Place, place_of, seen_by, tree_digest
from tests.helpers.command_line import skillopt
from tests.helpers.small import trained

SKILL = Skill("mine", "Use it for chores.", "# Mine\n\n- one", {}, {"references/x.md": b"# X\n"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "project")
    return home


def agents_part(home: Path) -> str:
    """The digest of everything but the ledger."""
    parts = [p for p in sorted(home.iterdir()) if p.name != ".local"]
    return str([(path.name, tree_digest(path)) for path in parts])


PLACES = [
    ("codex", "user", "skill", ".codex/skills/mine"),
    ("codex", "project", "skill", "project/.agents/skills/mine"),
    ("claude-code", "user", "skill", ".claude/skills/mine"),
    ("claude-code", "project", "skill", "project/.claude/skills/mine"),
    ("opencode", "user", "skill", ".config/opencode/skills/mine"),
    ("opencode", "project", "skill", "project/.opencode/skills/mine"),
    ("opencode", "user", "instructions", ".config/opencode/AGENTS.md"),
    ("opencode", "project", "instructions", "project/AGENTS.md"),
    ("codex", "user", "instructions", ".codex/AGENTS.md"),
    ("codex", "project", "instructions", "project/AGENTS.md"),
    ("claude-code", "user", "instructions", ".claude/CLAUDE.md"),
    ("claude-code", "project", "instructions", "project/CLAUDE.md"),
]


@pytest.mark.parametrize(("to", "scope", "form", "path"), PLACES)
def test_a_skill_goes_to_the_agents_own_place_and_away_without_a_trace(
    home: Path, to: str, scope: Any, form: Any, path: str
) -> None:
    before = agents_part(home)
    place = place_of(to, scope, form)
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {"run": "r"})
        assert Path(entry.target) == home / path
        if form == "skill":
            assert read_skill(home / path) == SKILL
        else:
            assert "# Mine\n\n- one\n<!-- skillopt:mine end -->" in (home / path).read_text()
        assert [s.state for s in list_standing(ledger)] == ["unchanged"]
        undo(entry, ledger)
        assert list_standing(ledger) == []
    assert agents_part(home) == before


def test_what_stood_there_before_comes_back_with_its_modes_and_links(home: Path) -> None:
    theirs = home / ".claude" / "skills" / "mine"
    write_skill(Skill("mine", "Theirs.", "# Theirs", {}, {"scripts/a.sh": b"#!/bin/sh\n"}), theirs)
    (theirs / "notes.bin").write_bytes(b"\xff\x00")
    (theirs / "notes.bin").chmod(0o640)
    (theirs / "link").symlink_to("notes.bin")
    before = agents_part(home)
    place = place_of("claude-code", "user")
    with Ledger() as ledger:
        entries = [deploy(SKILL, place, ledger, {})]
        newer = Skill("mine", "Use it.", "# Newer")
        entries.append(deploy(newer, place, ledger, {}))
        assert read_skill(theirs) == newer
        undo(entries[1], ledger)
        assert read_skill(theirs) == SKILL
        undo(entries[0], ledger)
    assert agents_part(home) == before


def test_edits_made_since_are_never_overwritten(home: Path) -> None:
    place = place_of("codex", "user")
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {})
        file = home / ".codex" / "skills" / "mine" / "SKILL.md"
        file.write_text(file.read_text() + "\nMy own line.\n")
        before = agents_part(home)
        for change in (lambda: undo(entry, ledger), lambda: deploy(SKILL, place, ledger, {})):
            with pytest.raises(DeployError, match="has been changed since mine was deployed"):
                change()
        assert agents_part(home) == before
        assert [s.state for s in list_standing(ledger)] == ["changed"]


def test_a_file_of_instructions_keeps_what_its_owner_writes_around_the_block(home: Path) -> None:
    file = home / "project" / "AGENTS.md"
    file.write_text("# Ours\n\nNo end of line")
    place = place_of("codex", "project", "instructions")
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {})
        assert file.read_text().startswith("# Ours\n\nNo end of line\n\n<!-- skillopt:mine begin")
        file.write_text("Added above.\n" + file.read_text() + "Added below.\n")
        undo(entry, ledger)
        assert file.read_text() == "Added above.\n# Ours\n\nNo end of line\n\nAdded below.\n"
        again = deploy(SKILL, place, ledger, {})
        file.write_text(file.read_text().replace("- one", "- mine"))
        with pytest.raises(DeployError, match="has been changed"):
            undo(again, ledger)


def test_a_block_is_replaced_where_it_stands(home: Path) -> None:
    file = home / "project" / "CLAUDE.md"
    place = place_of("claude-code", "project", "instructions")
    with Ledger() as ledger:
        deploy(SKILL, place, ledger, {})
        file.write_text(file.read_text() + "After.\n")
        deploy(Skill("mine", "Use it.", "# Newer"), place, ledger, {})
    text = file.read_text()
    assert text.count("skillopt:mine begin") == 1 and "# Newer" in text and "- one" not in text
    assert text.endswith("After.\n")


@pytest.mark.parametrize("first", [0, 1])
def test_two_skills_in_one_file_are_undone_in_any_order(home: Path, first: int) -> None:
    before = agents_part(home)
    place = place_of("codex", "user", "instructions")
    with Ledger() as ledger:
        skills = [Skill("one", "First.", "# One"), Skill("two", "Second.", "# Two")]
        entries = [deploy(skill, place, ledger, {}) for skill in skills]
        undo(entries[first], ledger)
        (standing,) = list_standing(ledger)
        assert standing.entry.name == skills[1 - first].name and standing.state != "missing"
        text = (home / ".codex" / "AGENTS.md").read_text()
        assert skills[first].body not in text and skills[1 - first].body in text
        undo(entries[1 - first], ledger)
        assert list_standing(ledger) == []
    assert agents_part(home) == before


def test_what_stands_beside_a_block_is_no_reason_to_refuse_it_anew(home: Path) -> None:
    place = place_of("codex", "user", "instructions")
    file = home / ".codex" / "AGENTS.md"
    with Ledger() as ledger:
        for name in ("one", "two"):
            deploy(Skill(name, f"{name}.", f"# {name}"), place, ledger, {})
        file.write_text(f"Above.\n{file.read_text()}")
        deploy(Skill("one", "one.", "# Newer"), place, ledger, {})
        file.write_text(file.read_text().replace("# two", "# Edited"))
        with pytest.raises(DeployError, match="has been changed since two was deployed"):
            deploy(Skill("two", "two.", "# Newer"), place, ledger, {})
    text = file.read_text()
    assert text.startswith("Above.\n") and "# Newer" in text and "# one" not in text


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("", " \t\r\n"), ("\ufeff", "\n\n")])
def test_a_file_that_a_deployment_made_goes_with_blanks_that_were_added(
    home: Path, mark: str, end: str
) -> None:
    before = agents_part(home)
    file = home / "project" / "AGENTS.md"
    with Ledger() as ledger:
        entry = deploy(SKILL, place_of("codex", "project", "instructions"), ledger, {})
        file.write_bytes(f"{mark}{file.read_text()}{end}".encode())
        undo(entry, ledger)
    assert not file.exists() and agents_part(home) == before


def test_a_file_that_its_owner_made_is_kept_though_it_is_empty(home: Path) -> None:
    place = place_of("codex", "project", "instructions")
    file = home / "project" / "AGENTS.md"
    with Ledger() as ledger:
        undo(deploy(SKILL, place, ledger, {}), ledger)  # There was none before this one.
        assert not file.exists()
        file.write_text("")
        entry = deploy(SKILL, place, ledger, {})
        file.write_text(file.read_text() + "\n")
        undo(entry, ledger)
    assert file.read_text() == "\n"


KILLED = """
import os, pathlib, signal, sys, tempfile
import skillopt.deploy.actions as actions, skillopt.deploy.ledger as ledgers
import skillopt.core.files as files
from skillopt.deploy.places import place_of
from skillopt.core.skill import Skill
left = 0
for module, name in [
    (ledgers.Ledger, "write"), (actions, "_copy"), (actions, "replace_folder"),
    (actions, "_remove"), (files, "sync_folder"), (files, "_exchange"), (actions, "write_skill"),
]:
    def counted(*args, _call=getattr(module, name), **more):
        global left
        for _ in range(2):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if _ == 0:
                result = _call(*args, **more)
        return result
    setattr(module, name, counted)
def act(action):
    place = place_of("claude-code", "user")
    with ledgers.Ledger() as ledger:
        if action == "deploy":
            actions.deploy(Skill("mine", "New.", "# New"), place, ledger, {})
        else:
            actions.undo(ledger.standing(place.target("mine"))[-1], ledger)
home = os.environ["HOME"]
with tempfile.TemporaryDirectory() as os.environ["HOME"]:
    act("deploy")  # Now all is imported that children need.
os.environ["HOME"] = home
for line in sys.stdin:
    left, action = int(line.split()[0]), line.split()[1]
    child = os.fork()
    if not child:
        act(action)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Reads lines of a step and an action, and has a child do it that dies at that step."""


@pytest.fixture
def kill(home: Path) -> Iterator[Callable[[int, str], int]]:
    """Gives the exit code of a process that does something and is killed at a step of it."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None and parent.stdout is not None

        def killed(step: int, action: str) -> int:
            print(step, action, file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        yield killed


@pytest.mark.slow
@pytest.mark.parametrize("action", ["deploy", pytest.param("undo", marks=pytest.mark.slow)])
def test_killed_at_any_step_the_old_or_the_new_is_there(
    home: Path, kill: Callable[[int, str], int], action: str
) -> None:
    target = home / ".claude" / "skills" / "mine"
    place = place_of("claude-code", "user")
    states = set()
    for step in range(1, 60):
        with Ledger() as ledger:
            for entry in reversed(ledger.standing(target)):
                undo(entry, ledger)
            deploy(SKILL, place, ledger, {})
            if action == "undo":
                deploy(Skill("mine", "New.", "# New"), place, ledger, {})
        code = kill(step, action)
        assert code in (0, -signal.SIGKILL)
        found = read_skill(target)
        assert found in (SKILL, Skill("mine", "New.", "# New"))
        states.add(found.body)
        with Ledger() as ledger:
            (standing,) = [s for s in list_standing(ledger) if s.entry.target == str(target)]
            assert standing.state == "unchanged"
        if code == 0:
            break
    else:
        raise AssertionError("never ended by itself")
    assert states == {"# New", SKILL.body}


@pytest.mark.slow
def test_the_commands(home: Path, tmp_path: Path) -> None:
    result = trained(tmp_path)
    before = agents_part(home)
    to = ["--to", "codex", "--scope", "project"]
    shown = skillopt("deploy", result.folder, *to, "--no-proof", "--yes")
    assert shown.returncode == 0, shown.stderr
    assert "+- " in shown.stdout and "deployed house-rules to" in shown.stdout
    installed = read_skill(home / "project" / ".agents" / "skills" / "house-rules")
    metadata: Any = installed.extra["metadata"]
    assert metadata["skillopt-run"] == "quickstart-local"
    assert metadata["skillopt-selection"] == "0.500 -> 1.000"
    assert "[" in metadata["skillopt-test"] and len(metadata["skillopt-digest"]) == 64
    (row,) = json.loads(skillopt("deploy", "--list", "--json").stdout)
    assert row["state"] == "unchanged" and row["source"]["run"] == "quickstart-local"
    assert "quickstart-local" in skillopt("deploy", "--list").stdout
    assert skillopt("rollback", *to, "--yes").returncode == 0
    assert agents_part(home) == before
    for _ in range(2):
        assert skillopt("deploy", result.folder, *to, "--no-proof", "--yes").returncode == 0
    undone = skillopt("undeploy", "house-rules", *to, "--yes")
    assert undone.returncode == 0 and "undeployed house-rules from" in undone.stdout
    assert agents_part(home) == before
    nothing = skillopt("undeploy", "house-rules", *to, "--yes")
    assert nothing.returncode == 2 and "is not deployed there" in nothing.stderr
    refused = skillopt("deploy", result.folder, *to, "--no-proof")
    assert refused.returncode == 1 and agents_part(home) == before
    assert skillopt("deploy").returncode == 2
    assert skillopt("deploy", "none", *to, "--yes").returncode == 2


def test_packages(home: Path, tmp_path: Path) -> None:
    write_skill(SKILL, tmp_path / "mine")
    plugin, archive = tmp_path / "plugin", tmp_path / "mine.skill"
    options = ["--plugin", plugin, "--archive", archive, "--version", "2.0.0"]
    for _ in range(2):
        done = skillopt("package", tmp_path / "mine", *options)
        assert done.returncode == 0, done.stderr
    manifest = json.loads((plugin / ".claude-plugin" / "plugin.json").read_text())
    assert manifest == {"name": "mine", "description": SKILL.description, "version": "2.0.0"}
    assert read_skill(plugin / "skills" / "mine").body == SKILL.body
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "out")
    assert read_skill(tmp_path / "out" / "mine") == read_skill(plugin / "skills" / "mine")
    assert skillopt("package", tmp_path / "mine").returncode == 2


@pytest.mark.engine
@pytest.mark.parametrize(("to", "scope", "form", "path"), [PLACES[i] for i in (0, 3, 5, 6, 9, 10)])
def test_the_real_agent_finds_what_was_deployed(
    home: Path, to: str, scope: str, form: str, path: str
) -> None:
    write_skill(SKILL, home / "trained" / "mine")
    options = ["--to", to, "--scope", scope, "--as", form, "--yes"]
    done = skillopt("deploy", home / "trained" / "mine", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"to {home / path}\n" in done.stdout
    found = "offers mine and opened it: Use it for chores." if form == "skill" else "reads the"
    assert f"\nproved: {to} {found}" in done.stdout


@pytest.mark.engine
def test_a_skill_that_the_agent_cannot_find_is_no_success(home: Path) -> None:
    from skillopt.deploy.proof import prove

    place = place_of("codex", "user")
    write_skill(Skill("other", "Another.", "# Other"), place.target("other"))
    write_skill(SKILL, place.target("mine"))
    (place.target("mine") / "SKILL.md").write_text("---\nname: mine\n---\nno description")
    proof = prove(place, SKILL)
    assert proof.ok is False
    assert proof.detail == "codex does not offer mine; it offers: ['other']"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("agent", "theirs", "message"),
    [
        ("codex", ".codex/skills", "offers 2 skills named mine: "),
        (
            "claude-code",
            ".claude/skills",
            "but what it opened is not what was deployed; there are: ",
        ),
    ],
)
def test_a_skill_of_the_users_that_hides_it_is_named(
    home: Path, agent: str, theirs: str, message: str
) -> None:
    other = home / theirs / "mine"
    write_skill(Skill("mine", SKILL.description, "# Older\n\n- another rule"), other)
    write_skill(SKILL, home / "trained" / "mine")
    to = ["--to", agent, "--scope", "project", "--yes"]
    done = skillopt("deploy", home / "trained" / "mine", *to)
    assert done.returncode == 1
    assert f"FAILED: {agent} offers" in done.stdout and message in done.stdout
    assert str(other) in done.stdout


def test_what_an_agent_sees_counts_once_in_a_home_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [len(seen_by(agent)) for agent in ("claude-code", "codex", "opencode")]
    assert seen == [4, 6, 8]
    monkeypatch.chdir(home)
    assert [name for name in seen_by("claude-code") if name.endswith("skills")] == [
        "home/.claude/skills"
    ]
    assert "project/.agents/skills" not in seen_by("codex")


def test_a_folder_of_ones_own_is_not_proved(home: Path) -> None:
    write_skill(SKILL, home / "trained" / "mine")
    done = skillopt("deploy", home / "trained" / "mine", "--to", home / "skills", "--yes")
    assert done.returncode == 0 and "not proved: " in done.stdout
    assert read_skill(home / "skills" / "mine").body == SKILL.body
    with pytest.raises(DeployError, match="instructions need an agent"):
        place_of("somewhere", "user", "instructions")


def test_provenance_keeps_what_the_front_matter_had() -> None:
    skill = Skill("mine", "Use it.", "# B", {"metadata": {"author": "me"}, "license": "MIT"})
    ready = with_provenance(skill, {"run": "r", "test": None})
    assert ready.extra == {"metadata": {"author": "me", "skillopt-run": "r"}, "license": "MIT"}
    assert isinstance(place_of("codex", "user"), Place) and os.environ["HOME"]
    told = {"metadata": {"skillopt-run": "r", "skillopt-steps": "3"}}
    for known in ({}, {"metadata": None}, {"metadata": {}}):
        bare = Skill("mine", "Use it.", "# B", known)
        assert with_provenance(bare, {"run": "r", "steps": 3}).extra == told
    for odd in (Skill("mine", "d", "# B", {"metadata": "text"}), plain("# B\n")):
        assert with_provenance(odd, {"run": "r"}) is odd


@pytest.mark.parametrize(
    ("known", "source", "metadata"),
    [
        # What an earlier deployment told is replaced, and what this one does not know stays.
        ({"skillopt-run": "old"}, {"run": "new"}, {"skillopt-run": "new"}),
        ({"skillopt-run": "old"}, {"run": None}, {"skillopt-run": "old"}),
        ({"skillopt-test": "1", "a": "b"}, {"run": "r"}, {"skillopt-test": "1", "a": "b",
                                                          "skillopt-run": "r"}),
        ({"run": "mine"}, {"run": "r"}, {"run": "mine", "skillopt-run": "r"}),
        # Only what is not known is left out.
        ({}, {"gain": 0, "test": 0.0, "verdict": "", "run": False},
         {"skillopt-gain": "0", "skillopt-test": "0.0", "skillopt-verdict": "",
          "skillopt-run": "False"}),
        ({}, {"gain": None}, {}),
    ],
)  # fmt: skip
def test_the_last_deployment_is_the_one_that_is_recorded(
    known: dict[str, str], source: dict[str, Any], metadata: dict[str, str]
) -> None:
    skill = Skill("mine", "Use it.", "# B", {"metadata": known})
    ready = with_provenance(skill, source)
    assert ready.extra["metadata"] == metadata
    assert read_text(ready) == metadata


def read_text(skill: Skill) -> Any:
    """The metadata that a reader of its text finds."""
    return dict(parse(skill.text).values["metadata"])


def plain(text: str) -> Skill:
    """A skill without front matter, which has no place for values."""
    return Skill("mine", "B", text.strip(), layout=Layout(text))


def test_a_change_is_logged_before_it_is_made_and_after(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("codex", "user")
    seen: list[list[bool]] = []
    with Ledger() as ledger:
        put = actions._put

        def noted(*given: Any) -> None:
            seen.append([one.done for one in ledger.entries()])
            put(*given)

        monkeypatch.setattr(actions, "_put", noted)
        before = time.time()
        done = deploy(SKILL, place, ledger, {})
        assert seen == [[False]] and [one.done for one in ledger.entries()] == [True]
        back = undo(done, ledger)
        assert before <= done.at <= back.at <= time.time() and back.id != done.id
        assert (back.action, back.source["undoes"], back.after) == ("undo", done.id, "")
        assert back.before == done.after and done.before == ""


def test_an_undo_is_logged_before_it_is_made_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("codex", "user")
    with Ledger() as ledger:
        deploy(SKILL, place, ledger, {})
        newer = deploy(Skill("mine", "Use it.", "# Newer"), place, ledger, {})
        put, seen = actions._put, list[bool]()

        def noted(*given: Any) -> None:
            seen.append(ledger.entries()[-1].done)
            put(*given)

        monkeypatch.setattr(actions, "_put", noted)
        back = undo(newer, ledger)
        assert seen == [False] and ledger.entries()[-1].done
        assert (back.before, back.after) == (newer.after, newer.before)


def test_a_backup_has_all_but_what_is_its_owners_with_modes_and_owners(home: Path) -> None:
    place = place_of("codex", "user")
    folder = place.target("mine")
    write_skill(Skill("mine", "Old.", "# Old", {}, {"deep/.git/x": b"", "tool": b"x"}), folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("theirs")
    (home / "elsewhere").mkdir()
    (folder / ".hg").symlink_to(home / "elsewhere")
    if os.geteuid() == 0:
        os.chown(folder / "tool", 1000, 1000)
    (folder / "tool").chmod(0o4755)
    before = (folder / "tool").stat()
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {})
        kept = ledger.backup(entry.id)
        assert sorted(path.name for path in kept.iterdir()) == ["SKILL.md", "deep", "tool"]
        assert (kept / "deep" / ".git" / "x").is_file()
        assert (folder / ".git" / "config").read_text() == "theirs"
        assert (folder / ".hg").readlink() == home / "elsewhere"
        undo(entry, ledger)
    after = (folder / "tool").stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid,
    )  # fmt: skip
    assert (folder / ".git" / "config").read_text() == "theirs"


def test_a_block_that_was_changed_is_of_the_last_deployment(home: Path) -> None:
    place = place_of("codex", "project", "instructions")
    with Ledger() as ledger:
        deploy(SKILL, place, ledger, {})
        newer = deploy(Skill("mine", "Use it.", "# Newer"), place, ledger, {})
        text = place.path.read_text()
        place.path.write_text(text.replace("# Newer", "# Theirs"))
        with pytest.raises(DeployError, match=f"its line {newer.id} from the log"):
            deploy(SKILL, place, ledger, {})


@pytest.mark.parametrize(
    ("versions", "shown", "refused"),
    [
        # What the last deployment wrote may be replaced, whatever stands around it.
        (["one"], "one", False),
        (["one", "two"], "two", False),
        (["one", "two", "three"], "three", False),
        (["one", "two", "one"], "one", False),
        # An earlier block that its owner has put back is their change.
        (["one", "two"], "one", True),
        (["one", "two", "three"], "two", True),
        (["one", "two", "one"], "two", True),
        (["one"], "two", True),
        # One that its owner has removed is no obstacle.
        (["one", "two"], None, False),
    ],
)
def test_only_the_block_of_the_last_deployment_is_replaced(
    home: Path, versions: list[str], shown: str | None, refused: bool
) -> None:
    place = place_of("codex", "project", "instructions")
    blocks = {word: Skill("mine", "Use it.", f"# {word}") for word in ("one", "two", "three")}
    with Ledger() as ledger:
        entries = [deploy(blocks[word], place, ledger, {}) for word in versions]
        block = block_of(blocks[shown]) if shown else ""
        place.path.write_text(f"Before.\n\n{block}\n\nAfter.\n")
        if refused:
            with pytest.raises(DeployError, match="has been changed since"):
                deploy(Skill("mine", "Use it.", "# Four"), place, ledger, {})
            with pytest.raises(DeployError, match="has been changed since"):
                undo(entries[-1], ledger)
            assert block in place.path.read_text()
        else:
            deploy(Skill("mine", "Use it.", "# Four"), place, ledger, {})
            text = place.path.read_text()
            assert "# Four" in text and text.startswith("Before.") and "After.\n" in text
            assert text.count("skillopt:mine begin") == 1


@pytest.mark.parametrize(
    ("was", "now", "undone"),
    [
        ("folder", "folder", True),
        ("link", "link", True),
        # What the target is by now is not what it was: neither way is anything removed.
        ("folder", "link", False),
        ("link", "folder", False),
        ("link", "other link", False),
        ("link", "nothing", False),
        ("folder", "nothing", True),
    ],
)
def test_an_undo_needs_the_link_or_the_folder_that_was_deployed_to(
    home: Path, was: str, now: str, undone: bool
) -> None:
    place, real, other = place_of("codex", "user"), home / "real", home / "other"
    target = place.target("mine")
    old = Skill("mine", "Use it.", "# Old")
    for folder in (real, other):
        write_skill(replace(old, layout=Layout(folder=folder.name)), folder)
    target.parent.mkdir(parents=True)
    if was == "link":
        target.symlink_to(real)
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {})
        before = tree_digest(real)
        if target.is_symlink():
            target.unlink() if now != was else None
        elif now != was:
            target.rename(home / "moved")
        if now == "folder" and was != now:
            write_skill(SKILL, target)
        elif now != was and now != "nothing":
            target.symlink_to(other if now == "other link" else real)
        there = tree_digest(target)
        if undone:
            undo(entry, ledger)
            assert ledger.standing(target) == []
        else:
            with pytest.raises(DeployError, match="is not the link, or no link, that it was"):
                undo(entry, ledger)
            assert tree_digest(target) == there and tree_digest(real) == before
            assert ledger.standing(target) == [entry]


def test_folders_that_were_made_stay_if_something_else_is_in_them(home: Path) -> None:
    with Ledger() as ledger:
        entry = deploy(SKILL, place_of("codex", "user"), ledger, {})
        assert entry.source["made"] == [str(home / ".codex" / "skills"), str(home / ".codex")]
        (home / ".codex" / "config.toml").touch()
        undo(entry, ledger)
    assert [path.name for path in (home / ".codex").iterdir()] == ["config.toml"]


def test_a_failure_before_the_change_leaves_no_backup(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("codex", "user")
    with Ledger() as ledger:
        deploy(SKILL, place, ledger, {})

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(actions, "_put", full)
        newer = Skill("mine", "Use it.", "# Newer")
        with pytest.raises(OSError, match="No space left"):
            deploy(newer, place, ledger, {})
        assert list((ledger.root / "backups").iterdir()) == []
        assert read_skill(place.target("mine")) == SKILL
        assert [one.state for one in list_standing(ledger)] == ["unchanged"]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"format": 2}'])
def test_a_log_of_deployments_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.log.write_text(f"{line}\n")
        with pytest.raises(FormatError, match=r"deployments\.jsonl:1: not an entry of this"):
            ledger.entries()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o755])
def test_a_file_of_instructions_keeps_its_mode(mode: int, home: Path) -> None:
    """Notes that only their owner may read stay so, deployed and undone."""
    file = home / "project" / "AGENTS.md"
    file.write_text("# Ours\n")
    file.chmod(mode)
    with Ledger() as ledger:
        entry = deploy(SKILL, place_of("codex", "project", "instructions"), ledger, {})
        assert file.stat().st_mode & 0o777 == mode
        file.write_text(file.read_text() + "Added below.\n")
        undo(entry, ledger)
    assert file.stat().st_mode & 0o777 == mode
    assert file.read_text() == "# Ours\n\nAdded below.\n"


def test_a_new_file_of_instructions_may_be_read_by_all_and_written_by_its_owner(home: Path) -> None:
    with Ledger() as ledger:
        deploy(SKILL, place_of("codex", "project", "instructions"), ledger, {})
    assert (home / "project" / "AGENTS.md").stat().st_mode & 0o777 == 0o644


def entry(id: str, action: Any = "deploy", **values: Any) -> Deployment:
    """A line of the log; an undo says what it undid."""
    given: dict[str, Any] = {
        "id": id, "action": action, "name": "mine", "agent": "codex", "scope": "user",
        "form": "skill", "target": "/t", "before": "", "after": "x", "done": True, "at": 1.0,
        "source": {},
    }  # fmt: skip
    return Deployment(**given | values)


def undone(id: str, undoes: str, **values: Any) -> Deployment:
    return entry(id, "undo", source={"undoes": undoes}, **values)


@pytest.mark.parametrize(
    ("lines", "chain", "standing"),
    [
        ([], [], []),
        ([entry("a")], ["a"], ["a"]),
        ([entry("a", done=False)], [], []),
        ([entry("a", target="/other")], [], []),
        # The last line of an id is what counts.
        ([entry("a", done=False), entry("a")], ["a"], ["a"]),
        ([entry("a"), entry("b")], ["a", "b"], ["a", "b"]),
        ([entry("a"), undone("u", "a")], [], []),
        ([entry("a"), entry("b"), undone("u", "a")], ["a", "b", "u"], ["b"]),
        ([entry("a"), entry("b"), undone("u", "b")], ["a", "b", "u"], ["a"]),
        ([entry("a"), undone("u", "a", done=False)], ["a"], ["a"]),
        # After everything was undone the chain begins anew, a second time too.
        ([entry("a"), undone("u", "a"), entry("b")], ["b"], ["b"]),
        (
            [entry("a"), undone("u", "a"), entry("b"), undone("v", "b"), entry("c")],
            ["c"],
            ["c"],
        ),
        ([entry("a"), entry("b"), undone("u", "a"), undone("v", "b")], [], []),
    ],
)
def test_what_stands_at_a_target(
    lines: list[Deployment], chain: list[str], standing: list[str], tmp_path: Path
) -> None:
    with Ledger(tmp_path) as ledger:
        for line in lines:
            ledger.write(line)
        assert [one.id for one in ledger.chain(Path("/t"))] == chain
        assert [one.id for one in ledger.standing(Path("/t"))] == standing
        assert [one.id for one in ledger.entries()] == list(dict.fromkeys(o.id for o in lines))


@pytest.mark.parametrize(
    ("there", "before", "after", "done"),
    [
        ("new", "old", "new", True),
        ("old", "old", "new", False),
        ("else", "old", "new", False),
        # What changes nothing cannot be seen to have been made.
        ("old", "old", "old", False),
    ],
)
def test_what_a_killed_process_had_done_is_found_out(
    there: str, before: str, after: str, done: bool, tmp_path: Path
) -> None:
    target = tmp_path / "AGENTS.md"
    digests = {}
    for content in ("old", "new", "else"):
        target.write_text(content)
        digests[content] = tree_digest(target)
    target.write_text(there)
    half = tmp_path / ".skillopt-a.tmp"
    if before == after:
        half.write_text("half made")
    else:
        half.mkdir()
        (half / "x").write_text("half made")
    begun = entry("a", target=str(target), before=digests[before], after=digests[after], done=False)
    with Ledger(tmp_path / "log") as ledger:
        ledger.write(begun)
    with Ledger(tmp_path / "log") as ledger:
        assert [one.done for one in ledger.entries()] == [done]
    assert not half.exists() and target.read_text() == there


@pytest.mark.parametrize(
    ("logged", "left"),
    [
        # (target, whether it was finished, what is there); then the entries that stay unfinished.
        ([("a", False, "new")], []),
        ([("a", False, "old")], [0]),
        ([("a", False, "new"), ("b", False, "new")], []),
        ([("a", False, "old"), ("b", False, "new")], [0]),
        # Those of other targets, before and after, finished or not, are looked at too.
        ([("a", True, "new"), ("b", False, "new")], []),
        ([("a", False, "new"), ("b", True, "new")], []),
        ([("a", True, "new"), ("b", True, "new"), ("c", False, "new")], []),
        ([("gone", False, None), ("b", False, "new")], [0]),
        # Of one target the last counts: one before it is no news.
        ([("a", False, "new"), ("a", True, "new")], [0]),
        ([("a", True, "new"), ("a", False, "new")], []),
    ],
)
def test_what_was_done_is_found_out_for_each_target(
    logged: list[tuple[str, bool, str | None]], left: list[int], tmp_path: Path
) -> None:
    digests = {}
    for content in ("old", "new"):
        (tmp_path / "x").write_text(content)
        digests[content] = tree_digest(tmp_path / "x")
    with Ledger(tmp_path / "log") as ledger:
        for number, (name, finished, there) in enumerate(logged):
            if there is not None:
                (tmp_path / name).write_text(there)
            ledger.write(
                entry(f"id{number}", target=str(tmp_path / name), before=digests["old"],
                      after=digests["new"], done=finished)
            )  # fmt: skip
            (tmp_path / f".skillopt-id{number}.tmp").touch()
    with Ledger(tmp_path / "log") as ledger:
        found = [n for n, one in enumerate(ledger.entries()) if not one.done]
    assert found == left
    last = {name: number for number, (name, _, _) in enumerate(logged)}
    kept = [n for n, (name, finished, _) in enumerate(logged) if finished or last[name] != n]
    assert sorted(p.name for p in tmp_path.glob(".skillopt-*")) == [
        f".skillopt-id{n}.tmp" for n in kept
    ]


@pytest.mark.parametrize(
    ("undoes", "left"),
    [
        ([], ["a", "b", "c"]),
        (["c"], ["a", "b"]),
        # Each undo counts, not the last alone, in whatever order.
        (["c", "b"], ["a"]),
        (["b", "c"], ["a"]),
        (["a", "c"], ["b"]),
        (["a", "b"], ["c"]),
        (["c", "b", "a"], []),
    ],
)
def test_what_stands_is_what_no_undo_has_undone(
    undoes: list[str], left: list[str], tmp_path: Path
) -> None:
    with Ledger(tmp_path) as ledger:
        for name in "abc":
            ledger.write(entry(name))
        for name in undoes:
            ledger.write(undone(f"undo {name}", name))
        assert [one.id for one in ledger.standing(Path("/t"))] == left
        ledger.write(entry("d"))
        assert [one.id for one in ledger.standing(Path("/t"))] == [*left, "d"]


def test_an_undo_beside_what_the_owner_wrote_is_logged_with_what_is_there(home: Path) -> None:
    place = place_of("codex", "project", "instructions")
    place.path.write_text("Mine.\n")
    with Ledger() as ledger:
        done = deploy(SKILL, place, ledger, {})
        place.path.write_text(place.path.read_text() + "\nMore.\n")
        found = undo(done, ledger)
        assert found.after == digest(place.path) != done.before
        assert "More." in place.path.read_text() and ledger.standing(place.path) == []
