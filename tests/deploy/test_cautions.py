"""What is said before a deployment: scripts, gains, limits of agents, links."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from skillopt.cli import main
from skillopt.core.skill import Layout, Skill, read_skill, write_skill
from skillopt.deploy.actions import Standing, list_standing
from skillopt.deploy.cautions import PROJECT_DOC_BYTES, changed_scripts
from skillopt.deploy.drift import watch_deployed
from skillopt.deploy.ledger import Ledger
from skillopt.deploy.places import place_of
from skillopt.deploy.proof import prove
from skillopt.deploy.source import _unconfirmed, unconfirmed
from skillopt.run.state import State
from tests.helpers.command_line import skillopt
from tests.helpers.homes import AT, MD, dotfiles, link, linked_folder, old, put, state
from tests.helpers.small import trained

TO = ["--to", "claude-code"]
SCRIPT = b"#!/bin/sh\necho new\n"


def with_files(files: dict[str, bytes], modes: dict[str, int] | None = None) -> Skill:
    return Skill("geo", "Use it.", "# Geo\n\n- rule", {}, files, Layout(modes=modes or {}))


RUNS = {
    "a changed script": ({"scripts/a.sh": SCRIPT}, {}, {"scripts/a.sh": b"#!/bin/sh\n"}),
    "text that becomes executable": ({"notes": b"x"}, {"notes": 0o755}, {"notes": b"x"}),
}


@pytest.mark.parametrize("case", RUNS)
def test_scripts_are_shown_apart_and_asked_for(home: Path, case: str) -> None:
    files, modes, there = RUNS[case]
    (name,) = files
    write_skill(with_files(there, {"notes": 0o644} if there else {}), put(home / AT / "x").parent)
    before = state(home)
    write_skill(with_files(files, modes), home.parent / "geo")
    deploy = ["deploy", str(home.parent / "geo"), *TO, "--no-proof"]
    refused = skillopt(*deploy, "--yes")
    assert refused.returncode == 2 and f"your rights: {name}. Read them" in refused.stderr
    assert f"script {name} (" in refused.stdout
    no = CliRunner().invoke(main, deploy, input="y\nn\n")
    assert no.exit_code == 1 and "nothing was changed" in no.stdout
    assert state(home) == before
    yes = CliRunner().invoke(main, deploy, input="y\ny\n")
    assert yes.exit_code == 0, yes.output
    assert read_skill(home / AT).files == files
    again = skillopt(*deploy, "--yes")
    assert again.returncode == 0 and "script " not in again.stdout
    assert skillopt("rollback", *TO, "--yes").returncode == 0
    assert state(home) == before
    assert skillopt(*deploy, "--yes", "--with-scripts").returncode == 0


@pytest.mark.slow
def test_with_yes_only_a_folder_of_ones_own_brings_scripts(home: Path, tmp_path: Path) -> None:
    write_skill(with_files({"run.sh": SCRIPT}), home.parent / "geo")
    own = skillopt("deploy", home.parent / "geo", *TO, "--yes", "--no-proof")
    assert own.returncode == 0 and "script run.sh (executable now" in own.stdout
    run = trained(tmp_path).folder
    (best,) = [path for path in (run / "best_skill").iterdir() if path.is_dir()]
    put(best / "run.sh", SCRIPT)
    before = state(home)
    for path in (run, best):
        refused = skillopt("deploy", path, *TO, "--yes", "--no-proof")
        assert refused.returncode == 2 and "your rights: run.sh. Read them" in refused.stderr
    assert state(home) == before


def test_files_that_cannot_be_run_and_scripts_as_they_are_need_no_question(home: Path) -> None:
    old(home / AT)
    known = read_skill(home / AT).files
    skill = with_files({**known, "notes.md": b"# N", "data.csv": b"a,b\n"})
    place = place_of("claude-code", "user")
    assert changed_scripts(skill, place) == []
    assert (
        changed_scripts(with_files({"x.sh": b""}), place_of("codex", "user", "instructions")) == []
    )
    write_skill(skill, home.parent / "geo")
    deploy = ["deploy", home.parent / "geo", *TO, "--no-proof", "--yes"]
    assert skillopt(*deploy).returncode == 0


def test_hooks_and_commands_of_the_text_are_named(home: Path) -> None:
    hooks: Any = {"PreToolUse": [{"hooks": [{"type": "command", "command": "x"}]}]}
    skill = Skill("geo", "Use it.", "# G\n\nNow: !`date`", {"hooks": hooks})
    write_skill(skill, home.parent / "geo")
    done = skillopt("deploy", home.parent / "geo", *TO, "--no-proof", "--yes")
    assert "SKILL.md contains hooks that an agent may run" in done.stderr
    assert "SKILL.md contains commands that an agent may run" in done.stderr


@pytest.mark.slow
def test_a_run_without_a_confirmed_gain_says_so_before_asking(home: Path, tmp_path: Path) -> None:
    run = trained(tmp_path).folder
    done = CliRunner().invoke(main, ["deploy", str(run), *TO, "--no-proof"], input="n\n")
    said = unconfirmed(run)
    assert said and said in done.stderr
    assert done.stderr.index(said) < done.stderr.index("deploy to ")
    (best,) = [path for path in (run / "best_skill").iterdir() if path.is_dir()]
    assert unconfirmed(best) == said
    assert unconfirmed(home.parent / "geo") == ""


def says(verdict: str) -> dict[str, Any]:
    return {"verdict": verdict, "words": f"{verdict}: +10 points on 20 test tasks"}


@pytest.mark.parametrize(
    ("changes", "claimed", "said"),
    [
        ({}, says("confirmed"), ""),
        ({}, says("not confirmed"), "run r: not confirmed: +10"),
        ({}, says("contradicted"), "run r: contradicted: +10"),
        ({}, None, "run r has no scores of held-out tasks"),
        ({"done": False}, None, "run r (running, not finished) has no scores"),
        ({"best_skill": "a"}, says("confirmed"), "run r kept no edit"),
    ],
)
def test_only_a_gain_on_held_out_tasks_is_a_confirmed_one(
    changes: dict[str, Any], claimed: dict[str, Any] | None, said: str
) -> None:
    known = State().summary | {"done": True}
    made = {**known, "name": "r", "initial_skill": "a", "best_skill": "b", "state": "running"}
    assert made.keys() == known.keys()
    found = _unconfirmed({**made, **changes}, claimed)
    assert found.startswith(said) and bool(found) == bool(said)


def test_a_link_is_named_before_asking(home: Path) -> None:
    linked_folder(home)
    done = CliRunner().invoke(
        main, ["deploy", str(home.parent / "geo"), *TO, "--no-proof"], input="n\n"
    )
    said = f"is a link: {home / 'repo/geo'} is changed, and the link stays"
    assert done.stderr.index(said) < done.stderr.index("deploy to ")


CODEX = ["--to", "codex", "--scope", "project", "--as", "instructions", "--yes", "--no-proof"]


@pytest.mark.parametrize(
    ("above", "own", "setting", "word"),
    [
        (0, 1000, "", ""),
        (0, PROJECT_DOC_BYTES, "", "refused"),
        (PROJECT_DOC_BYTES - 1050, 1000, "", "refused"),
        (0, PROJECT_DOC_BYTES, "project_doc_max_bytes = 90000", ""),
        (0, 1000, "project_doc_max_bytes = 900", "refused"),
        (0, 1000, "not toml [", ""),
    ],
)
def test_the_limit_of_codex_is_named_beforehand(
    home: Path, above: int, own: int, setting: str, word: str
) -> None:
    (home / "project/.git").mkdir()
    folder = home / "project"
    if above:
        put(home / "project/AGENTS.md", b"x" * above)
        folder = home / "project/below"
        folder.mkdir()
        os.chdir(folder)
    put(folder / "AGENTS.md", b"x" * (own - 1) + b"\n")
    put(home / ".codex/config.toml", setting.encode())
    before = state(home)
    done = skillopt("deploy", home.parent / "geo", *CODEX)
    if word:
        assert done.returncode == 2 and "with the skill behind that limit: shorten" in done.stderr
        assert state(home) == before
    else:
        assert done.returncode == 0, done.stderr
    other = skillopt("deploy", home.parent / "geo", "--to", "claude-code", *CODEX[2:])
    assert other.returncode == 0, other.stderr


def test_a_block_before_the_limit_is_replaced_with_a_note(home: Path) -> None:
    assert skillopt("deploy", home.parent / "geo", *CODEX).returncode == 0
    file = home / "project/AGENTS.md"
    put(file, file.read_bytes() + b"x" * PROJECT_DOC_BYTES)
    skill = read_skill(home.parent / "geo")
    write_skill(Skill("geo", skill.description, "# Geo\n\n- newer"), home.parent / "geo")
    done = skillopt("deploy", home.parent / "geo", *CODEX)
    assert done.returncode == 0 and "the end of the file is not read" in done.stderr


def test_a_file_that_codex_reads_in_place_of_it_is_named(home: Path) -> None:
    put(home / "project/AGENTS.override.md")
    done = skillopt("deploy", home.parent / "geo", *CODEX)
    assert "codex reads this file in place of AGENTS.md" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("layout", [linked_folder, dotfiles])
def test_a_change_behind_a_link_is_noticed(home: Path, layout: Callable[[Path], None]) -> None:
    layout(home)
    form = ["--as", "instructions"] if layout is dotfiles else []
    deploy = ["deploy", home.parent / "geo", *TO, *form, "--yes", "--no-proof"]
    assert skillopt(*deploy).returncode == 0
    file = home / ("dotfiles/CLAUDE.md" if form else "repo/geo/SKILL.md")
    seen: list[Standing] = []
    stop = threading.Event()
    thread = threading.Thread(target=watch_deployed, args=(seen.append, stop))
    thread.start()
    try:
        time.sleep(1)
        put(file, file.read_bytes().replace(b"new rule", b"my rule"))
        for _ in range(100):
            time.sleep(0.1)
            if seen:
                break
    finally:
        stop.set()
        thread.join(30)
    assert [standing.state for standing in seen] == ["changed"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda text: text, "unchanged"),
        (lambda text: b"Above.\n" + text.replace(b"\n", b"\r\n"), "unchanged"),
        (lambda text: text.replace(b"new", b"my"), "changed"),
        (lambda text: b"\xff\xfe", "changed"),
        (lambda text: b"", "changed"),
    ],
)
def test_only_the_skills_own_block_counts_in_a_list(
    home: Path, change: Callable[[bytes], bytes], found: str
) -> None:
    file = put(home / MD)
    deploy = ["deploy", home.parent / "geo", *TO, "--as", "instructions", "--yes", "--no-proof"]
    assert skillopt(*deploy).returncode == 0
    put(file, change(file.read_bytes()))
    with Ledger() as ledger:
        assert [standing.state for standing in list_standing(ledger)] == [found]
    file.unlink()
    assert "missing" in skillopt("deploy", "--list").stdout


def test_packages_replace_only_what_they_wrote(home: Path) -> None:
    skill, plugin = home.parent / "geo", home / "plugin"
    package = ["package", skill, "--plugin", plugin]
    put(plugin / "README.md")
    put(plugin / ".git/config")
    before = state(home)
    refused = skillopt(*package)
    assert refused.returncode == 2 and "README.md: would be removed" in refused.stderr
    assert state(home) == before
    (plugin / "README.md").unlink()
    for _ in range(2):
        assert skillopt(*package).returncode == 0
    assert (plugin / ".git/config").read_bytes() == b"# Mine\n\nBe polite.\n"
    link(home / "linked", "plugin")
    assert skillopt(*package[:-1], home / "linked").returncode == 0
    assert (home / "linked").is_symlink()
    assert sorted(path.name for path in home.iterdir()) == ["linked", "plugin", "project"]
    put(home / "real.skill")
    link(home / "x.skill", "real.skill")
    assert skillopt("package", skill, "--archive", home / "x.skill").returncode == 0
    assert (home / "x.skill").is_symlink() and zipfile.is_zipfile(home / "real.skill")
    for bad, message in (("dead", "is a link to gone"), ("loop", "leads to itself")):
        link(home / bad, "gone" if bad == "dead" else "loop")
        for option in ("--plugin", "--archive"):
            done = skillopt("package", skill, option, home / bad)
            assert done.returncode == 2 and message in done.stderr


def rules(number: int) -> str:
    return "# Long\n\n" + "\n".join(f"- Rule {n}: {'wörter ' * 12}" for n in range(number))


LONG = rules(400)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("agent", "body", "ok", "detail"),
    [
        ("codex", LONG[:13_000], True, "opened it"),
        ("codex", LONG, True, "opened it"),
        ("codex", "L" * 20_000 + "\n- end", True, "opened it"),
        ("claude-code", rules(1200), True, "opened it"),
        (
            "opencode",
            rules(1200),
            None,
            "cannot tell: opencode offers long and opened it, but shows",
        ),
    ],
)
def test_long_skills_are_proved_in_pieces(
    home: Path, agent: str, body: str, ok: bool | None, detail: str
) -> None:
    skill, place = Skill("long", "Use it.", body), place_of(agent, "user")
    write_skill(skill, put(place.target("long") / "x").parent)
    proof = prove(place, skill)
    assert proof.ok is ok and detail in proof.detail


@pytest.mark.engine
@pytest.mark.parametrize("agent", ["codex", "opencode"])
def test_a_long_skill_that_is_another_one_is_not_proved(home: Path, agent: str) -> None:
    skill, place = Skill("long", "Use it.", LONG * 2), place_of(agent, "user")
    other = Skill("long", "Use it.", (LONG * 2).replace("Rule", "Another rule"))
    write_skill(other, put(place.target("long") / "x").parent)
    proof = prove(place, skill)
    assert proof.ok is False and "is not what was deployed" in proof.detail


@pytest.mark.engine
@pytest.mark.parametrize("agent", ["codex", "claude-code", "opencode"])
def test_linked_skills_and_instructions_are_proved(home: Path, agent: str) -> None:
    place = place_of(agent, "user")
    target = place.target("geo")
    old(home / "repo/geo")
    link(target, os.path.relpath(home / "repo/geo", target.parent))
    done = skillopt("deploy", home.parent / "geo", "--to", agent, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"proved: {agent} offers geo and opened it" in done.stdout and target.is_symlink()
    file = place_of(agent, "user", "instructions").path
    put(home / "dotfiles/x.md", b"a\r\nb")
    link(file, os.path.relpath(home / "dotfiles/x.md", file.parent))
    done = skillopt("deploy", home.parent / "geo", "--to", agent, "--as", "instructions", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"proved: {agent} reads the instructions" in done.stdout and file.is_symlink()
