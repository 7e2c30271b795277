"""What is said of a deployment beforehand, and what is shared or recorded of a skill."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.core.skill import Layout, Skill
from skillopt.deploy import source as sources
from skillopt.deploy.cautions import (
    PROJECT_DOC_BYTES,
    SHOWN,
    Script,
    cautions,
    changed_scripts,
    is_first,
    project_limit,
)
from skillopt.deploy.packages import write_archive, write_plugin
from skillopt.deploy.places import DeployError, Place, place_of
from skillopt.deploy.source import source_of, unconfirmed
from skillopt.run.journal import LOG
from tests.helpers.homes import link, put


def skill(files: dict[str, bytes] | None = None, body: str = "# Geo", **layout: Any) -> Skill:
    return Skill("geo", "Use it.", body, {}, files or {}, Layout(**layout))


@pytest.fixture
def place(home: Path) -> Place:
    return place_of("claude-code", "user")


@pytest.mark.parametrize(
    ("name", "data", "runs"),
    [
        *((f"a/x{suffix}", b"", True) for suffix in (".sh", ".py", ".ps1", ".js", ".jar", ".SO")),
        ("x.txt", b"", False), ("x.md", b"", False), ("sh", b"", False), ("x.sh.txt", b"", False),
        *(("x", magic + b"rest", True) for magic in (
            b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\0asm")),
        ("x", b" #!", False), ("x", b"\x7fEL", False),
    ],
)  # fmt: skip
def test_what_can_be_run_is_told_by_its_name_or_first_bytes(
    place: Place, name: str, data: bytes, runs: bool
) -> None:
    ready = skill({name: data}, modes={name: 0o644})
    assert changed_scripts(ready, place) == ([Script(name, b"", data, False)] if runs else [])


@pytest.mark.parametrize(
    ("there", "there_mode", "mode", "found"),
    [
        (None, 0, 0o755, (b"", True)),
        (b"echo", 0o755, 0o755, None),
        (b"echo", 0o644, 0o755, (b"echo", True)),
        (b"echo", 0o645, 0o755, None),
        (b"old", 0o755, 0o755, (b"old", False)),
        (b"old", 0o644, 0o644, (b"old", False)),
        (b"echo", 0o644, 0o644, None),
        (b"echo", 0o755, 0o644, None),
    ],
)
def test_a_script_is_shown_if_it_is_new_or_other_or_executable_now(
    place: Place, there: bytes | None, there_mode: int, mode: int, found: tuple[bytes, bool] | None
) -> None:
    if there is not None:
        put(place.target("geo") / "x.sh", there, there_mode)
    scripts = changed_scripts(skill({"x.sh": b"echo"}, modes={"x.sh": mode}), place)
    assert scripts == ([Script("x.sh", found[0], b"echo", found[1])] if found else [])


def test_scripts_are_in_the_order_of_their_names_and_none_are_instructions(place: Place) -> None:
    ready = skill({"b.sh": b"", "a.sh": b"", "c": b"x"}, modes={"c": 0o601})
    found = changed_scripts(ready, place)
    assert [(one.name, one.executable) for one in found] == [
        ("a.sh", False), ("b.sh", False), ("c", True),
    ]  # fmt: skip
    assert changed_scripts(ready, place_of("claude-code", "user", "instructions")) == []


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("source", [{}, {"run": "r"}])
def test_what_its_user_wrote_comes_for_the_first_time_if_nothing_is_there(
    place: Place, there: bool, source: dict[str, str]
) -> None:
    if there:
        put(place.target("geo") / "x")
    assert is_first(skill(), place, source) is (not there and not source)


def said(ready: Skill, place: Place, before: str = "before", after: str = "after") -> str:
    return "\n".join(cautions(ready, place, before, after))


def test_nothing_is_said_of_a_plain_deployment(home: Path, place: Place) -> None:
    assert said(skill({"notes.md": b""}), place) == ""
    put(place.target("geo") / "notes.md", b"same")
    put(place.target("geo") / ".git" / "config")
    link(place.target("geo") / "inside", "notes.md")
    ready = skill({"notes.md": b"same"}, links={"inside": "notes.md"})
    assert said(ready, place) == ""
    assert said(skill(), place_of("codex", "user", "instructions")) == ""


def test_files_that_are_changed_or_removed_are_named(place: Place) -> None:
    folder = place.target("geo")
    put(folder / "SKILL.md")
    for number in range(SHOWN + 1):
        put(folder / f"changed{number}", b"old")
        put(folder / f"gone{number}", b"old")
    put(folder / "same", b"same")
    names = {f"changed{number}": b"new" for number in range(SHOWN + 1)}
    lines = said(skill({**names, "same": b"same", "fresh": b""}), place).split("\n")
    for line, word, name in zip(lines, ("changed", "removed"), ("changed", "gone"), strict=True):
        listed = ", ".join(f"{name}{number}" for number in range(SHOWN))
        assert line == f"other files of the folder that are {word}: {listed} and 1 more"
    (folder / f"gone{SHOWN}").unlink()
    link(folder / "dead", "none")
    assert ": dead, gone0, " in said(skill({**names, "same": b"same"}), place)
    assert said(skill(names), place).endswith(f"gone{SHOWN - 2} and 2 more")


def test_links_out_of_the_folder_are_named_with_what_they_lead_to(home: Path, place: Place) -> None:
    folder = place.target("geo")
    put(home / "theirs", b"x")
    put(folder / "real", b"x")
    link(folder / "out", str(home / "theirs"))
    link(folder / "in", "real")
    link(folder / ".git" / "out", str(home / "theirs"))
    found = said(skill({"real": b"x", "out": b"x", "in": b"x"}), place)
    led = f"{folder}/out is a link to {home}/theirs"
    assert found == f"{led}: it is replaced, and what it leads to is not changed"


def test_a_link_at_the_target_stays(home: Path, place: Place) -> None:
    put(home / "repo" / "geo" / "SKILL.md")
    link(place.target("geo"), str(home / "repo" / "geo"))
    target = place.target("geo")
    assert said(skill(), place) == (
        f"{target} is a link: {home}/repo/geo is changed, and the link stays"
    )


@pytest.mark.parametrize(
    ("agent", "size", "most"),
    [
        ("codex", 10_000, 0), ("codex", 10_001, 10_000),
        ("opencode", 51_200, 0), ("opencode", 51_201, 51_200),
        ("claude-code", 999_999, 0),
    ],
)  # fmt: skip
def test_a_skill_that_an_agent_shows_in_pieces_is_said_to_be(
    home: Path, agent: str, size: int, most: int
) -> None:
    found = said(skill(), place_of(agent, "user"), after="é" + "x" * (size - 2))
    wanted = f"{agent} shows about {most:,} bytes at once, and the skill has {size:,}: "
    assert found.startswith(wanted) if most else found == ""


@pytest.mark.parametrize(
    ("body", "extra", "changed", "word"),
    [
        ("Now: !`date`", {}, True, "commands"), ("```!\ndate\n```", {}, True, "commands"),
        ("a\n```!date```", {}, True, "commands"), ("x ```!\n", {}, True, ""),
        ("!` `", {}, True, "commands"), ("!``", {}, True, ""), ("!`a\nb`", {}, True, ""),
        ("`date`!", {}, True, ""), ("plain", {"hooks": {}}, True, "hooks"),
        ("Now: !`date`", {"hooks": {}}, False, ""),
    ],
)  # fmt: skip
def test_what_an_agent_may_run_is_named_if_it_changes(
    place: Place, body: str, extra: dict[str, Any], changed: bool, word: str
) -> None:
    ready = Skill("geo", "Use it.", body, extra)
    found = said(ready, place, "same", "other" if changed else "same")
    assert found == (f"SKILL.md contains {word} that an agent may run with your rights: read them"
                     if word else "")  # fmt: skip


def test_as_instructions_other_files_stay_behind(home: Path) -> None:
    ready = skill({"a": b"", "b": b""})
    found = said(ready, place_of("claude-code", "project", "instructions"))
    assert found == "as instructions, 2 other files of the skill are not deployed"
    put(home / ".codex/AGENTS.override.md")
    override = said(skill(), place_of("codex", "user", "instructions"))
    assert override == (
        f"{home}/.codex/AGENTS.override.md: codex reads this file in place of AGENTS.md; "
        "move it away"
    )
    put(home / ".claude/AGENTS.override.md")
    assert said(skill(), place_of("claude-code", "user", "instructions")) == ""


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        (None, PROJECT_DOC_BYTES), ("", PROJECT_DOC_BYTES), ("not toml [", PROJECT_DOC_BYTES),
        ("project_doc_max_bytes = 7", 7), ('project_doc_max_bytes = "7"', PROJECT_DOC_BYTES),
    ],
)  # fmt: skip
def test_the_users_own_limit_counts(home: Path, setting: str | None, limit: int) -> None:
    if setting is not None:
        put(home / ".codex/config.toml", setting.encode())
    assert project_limit() == limit


BLOCK = "<!-- skillopt:geo begin -->\nnew\n<!-- skillopt:geo end -->"


@pytest.mark.parametrize(
    ("agent", "scope", "above", "before", "behind", "found"),
    [
        # The limit is 1000 bytes.
        ("codex", "project", 0, 1000 - len(BLOCK), 0, ""),
        ("codex", "project", 0, 1001 - len(BLOCK), 0, "refused"),
        ("codex", "project", 0, 1000 - len(BLOCK), 1, "the end of the file is not read"),
        ("codex", "project", 300, 700 - len(BLOCK), 0, ""),
        ("codex", "project", 300, 701 - len(BLOCK), 0, "refused"),
        ("codex", "project", 300, 700 - len(BLOCK), 1, "there would be 1,001: the end"),
        ("codex", "user", 0, 2000, 0, ""),
        ("claude-code", "project", 0, 2000, 0, ""),
    ],
)
def test_codex_must_read_the_whole_block_of_a_project(
    home: Path, agent: str, scope: Any, above: int, before: int, behind: int, found: str
) -> None:
    put(home / ".codex/config.toml", b"project_doc_max_bytes = 1000")
    put(home / "project" / ".git" / "config")
    put(home / "AGENTS.md", b"x" * 5000)  # Above the repository.
    if above:
        put(home / "project" / "AGENTS.md", b"x" * above)
    place = place_of(agent, scope, "instructions", home / "project" / "a" / "b")
    put(place.path, b"what is there now")
    after = "é" + "x" * (before - 2) + BLOCK + "y" * behind
    if found == "refused":
        with pytest.raises(DeployError, match="with the skill behind that limit"):
            said(skill(), place, "", after)
    else:
        assert found in said(skill(), place, "", after)
        assert bool(found) == bool(said(skill(), place, "", after))


def test_without_a_repository_nothing_above_is_read(home: Path) -> None:
    put(home / ".codex/config.toml", b"project_doc_max_bytes = 1000")
    put(home / "AGENTS.md", b"x" * 5000)
    place = place_of("codex", "project", "instructions")
    assert said(skill(), place, "", "x" * 900) == ""


def test_an_archive_has_modes_and_links_and_the_same_bytes_each_time(home: Path) -> None:
    ready = skill({"b/run.sh": b"#!/bin/sh\n", "a": b"x"}, links={"link": "a"})
    files = [home / "one.skill", home / "new" / "two.skill"]
    for file in files:
        write_archive(ready, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as archive:
        entries = archive.infolist()
        assert archive.read("geo/link") == b"a" and archive.read("geo/a") == b"x"
    assert [(one.filename, one.external_attr >> 16) for one in entries] == [
        ("geo/SKILL.md", 0o644), ("geo/a", 0o644), ("geo/b/run.sh", 0o755),
        ("geo/link", stat.S_IFLNK | 0o777),
    ]  # fmt: skip
    assert {one.date_time for one in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {one.compress_type for one in entries} == {zipfile.ZIP_DEFLATED}


def test_a_plugin_is_written_anew_with_what_is_its_owners(home: Path) -> None:
    folder = home / "new" / "deep" / "plugin"
    write_plugin(skill({"old": b""}), folder, "1.0")
    put(folder / ".git" / "config", b"theirs", 0o600)
    put(folder / ".hg", b"a file")
    link(folder / ".git" / "head", "config")
    write_plugin(Skill("My Geo", "Use it.", "# B", {}, {}, Layout(folder="geo")), folder, "2.0")
    manifest = json.loads((folder / ".claude-plugin" / "plugin.json").read_text())
    assert manifest == {"name": "my-geo", "description": "Use it.", "version": "2.0"}
    assert sorted(path.name for path in (folder / "skills" / "geo").iterdir()) == ["SKILL.md"]
    assert (folder / ".git" / "config").stat().st_mode & 0o777 == 0o600
    assert (folder / ".hg").read_bytes() == b"a file"
    assert (folder / ".git" / "head").readlink() == Path("config")
    assert [path.name for path in folder.parent.iterdir()] == ["plugin"]


@pytest.mark.parametrize("other", ["x", "skills/other/SKILL.md", ".claude-plugin/more.json"])
def test_a_folder_with_other_things_is_no_plugin(home: Path, other: str) -> None:
    put(home / "plugin" / other)
    at = "/".join(other.split("/")[:2])
    with pytest.raises(DeployError, match=rf"plugin/{at}: would be removed"):
        write_plugin(skill(), home / "plugin", "1.0")
    assert (home / "plugin" / other).is_file()


SUMMARY = {
    "name": "r", "harness": "codex", "target": "m", "initial_score": 0.25, "best_score": 0.5,
    "initial_skill": "a", "best_skill": "b", "done": True, "state": "done",
}  # fmt: skip
SCORE = {"value": 0.5, "low": 0.25, "high": 0.75}


@pytest.mark.parametrize(
    ("test", "claimed", "found"),
    [
        ({}, None, (None, None, None)),
        ({"best": {"score": SCORE, "hard": {"value": 0.0}, "gain": {"value": 0.1, "low": 0.0,
                                                                    "high": 0.2}}},
         {"words": "confirmed: +10", "verdict": "confirmed"},
         ("50 % [25, 75]", "+10 [+0, +20] points", "confirmed: +10")),
        ({"best": {"hard": SCORE, "gain": None}}, None, ("50 % [25, 75]", None, None)),
    ],
)  # fmt: skip
def test_a_deployment_records_the_run_that_its_skill_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: Any, claimed: Any, found: Any
) -> None:
    state = SimpleNamespace(summary={**SUMMARY, "test": test})
    monkeypatch.setattr(sources, "read_state", lambda root: (state, None))
    monkeypatch.setattr(sources, "claim_of_run", lambda _: claimed)
    put(tmp_path / "run" / LOG)
    best = tmp_path / "run" / "best_skill" / "geo"
    best.mkdir(parents=True)
    for path in (tmp_path / "run", best):
        told = source_of(path, skill())
        assert told["digest"] == skill().digest and told["run"] == "r"
        assert (told["harness"], told["target"]) == ("codex", "m")
        assert told["selection"] == "0.250 -> 0.500"
        assert (told["test"], told["gain"], told["verdict"]) == found
        assert bool(unconfirmed(path)) == (claimed is None)
    for path in (tmp_path, tmp_path / "run" / "best_skill", tmp_path / "run" / "skills" / "geo"):
        assert source_of(path, skill()) == {"digest": skill().digest} and unconfirmed(path) == ""
