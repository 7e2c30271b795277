"""Deploying where people keep things: either it is done whole, or it is refused and nothing is
changed; a rollback restores bytes, links and modes."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from skillopt.core.skill import Skill, read_skill, write_skill
from skillopt.deploy.actions import deploy, undo
from skillopt.deploy.ledger import Ledger
from skillopt.deploy.places import place_of, tree_digest
from tests.helpers.command_line import skillopt
from tests.helpers.homes import (
    AS_INSTRUCTIONS,
    ASKED,
    AT,
    MD,
    OLD,
    SKILL,
    TEXT,
    chain_of_links,
    dotfiles,
    hard_links,
    link,
    linked_folder,
    odd_content,
    old,
    pipe_inside,
    put,
    repository_itself,
    socket_there,
    state,
)
from tests.helpers.ordinary_user import UID


@dataclass(frozen=True)
class Home:
    """How a home is laid out, what is asked for, and what must come of it."""

    name: str
    lay_out: Callable[[Path], object]
    to: list[str] = field(default_factory=lambda: ASKED)
    refused: str = ""
    """A part of the message; empty if it is done."""
    changed: str = AT
    """The path that is changed."""
    user: bool = False
    """Whether an ordinary user is needed, as root may write everywhere."""


HOMES = [
    Home("nothing", lambda h: None),
    Home("an older skill", lambda h: old(h / AT)),
    Home("odd content", odd_content),
    Home("linked folder", linked_folder, changed="repo/geo"),
    Home("linked absolutely", chain_of_links, changed="repo/geo"),
    Home("the repository itself", repository_itself, changed="repo/geo"),
    Home("linked skills", lambda h: ((h / "s").mkdir(), link(h / ".claude/skills", "../s"))),
    Home("linked .claude", lambda h: ((h / "d").mkdir(), link(h / ".claude", "d"))),
    Home("another link there", lambda h: link(h / ".claude/skills/other", "nowhere")),
    Home("dead link", lambda h: link(h / AT, "../../gone"), refused="geo: is a link to ../../gone"),
    Home("dead skills", lambda h: link(h / ".claude/skills", "x"), refused="skills: is a link to"),
    Home("loop", lambda h: link(h / AT, "geo"), refused="leads to itself"),
    Home("loop above", lambda h: link(h / ".claude", ".claude"), refused="leads to itself"),
    Home("a file", lambda h: put(h / AT), refused="geo: is a file, and a folder is needed"),
    Home("skills: a file", lambda h: put(h / ".claude/skills"), refused="skills: is a file, and"),
    Home(".claude: a file", lambda h: put(h / ".claude"), refused="claude: is a file, and"),
    Home("pipe inside", pipe_inside, refused="pipe: is a pipe, which cannot be kept"),
    Home(
        "link to a folder of others",
        lambda h: (put(h / "photos/a.jpg"), link(h / AT, "../../photos")),
        refused="which is not a skill's folder",
    ),
    Home("read-only", lambda h: old(h / AT).chmod(0o555), refused="geo: is read-only; chmod u+w"),
    Home(
        "read-only skills",
        lambda h: old(h / AT).parent.chmod(0o555),
        refused=".claude/skills: Permission denied",
        user=True,
    ),
    Home("read-only home", lambda h: h.chmod(0o555), refused="Permission denied", user=True),
    Home(
        "unreadable content",
        lambda h: put(old(h / AT) / "secret", mode=0),
        refused="secret: cannot be read",
        user=True,
    ),
    Home(
        "folder that cannot be entered",
        lambda h: put(h / ".claude/skills/x").parent.chmod(0),
        refused="skills/geo: cannot be looked at: Permission denied",
        user=True,
    ),
    Home("closed folders inside", odd_content, user=True),
    Home("ordinary user, linked", linked_folder, changed="repo/geo", user=True),
    Home("no file", lambda h: None, AS_INSTRUCTIONS, changed=MD),
    Home("plain file", lambda h: put(h / MD, mode=0o600), AS_INSTRUCTIONS, changed=MD),
    Home("empty", lambda h: put(h / MD, b""), AS_INSTRUCTIONS, changed=MD),
    Home("CRLF", lambda h: put(h / MD, b"a\r\n\r\nb\r\n"), AS_INSTRUCTIONS, changed=MD),
    Home("CRLF, no end", lambda h: put(h / MD, b"a\r\nb"), AS_INSTRUCTIONS, changed=MD),
    Home("mixed", lambda h: put(h / MD, b"a\r\nb\nc\rd"), AS_INSTRUCTIONS, changed=MD),
    Home("BOM", lambda h: put(h / MD, b"\xef\xbb\xbfa\n"), AS_INSTRUCTIONS, changed=MD),
    Home("BOM alone", lambda h: put(h / MD, b"\xef\xbb\xbf"), AS_INSTRUCTIONS, changed=MD),
    Home("blank end", lambda h: put(h / MD, b"a\n\n\n \n"), AS_INSTRUCTIONS, changed=MD),
    Home("dotfiles", dotfiles, AS_INSTRUCTIONS, changed="dotfiles/CLAUDE.md"),
    Home("dotfiles, user", dotfiles, AS_INSTRUCTIONS, changed="dotfiles/CLAUDE.md", user=True),
    Home("dead file", lambda h: link(h / MD, "x"), AS_INSTRUCTIONS, "CLAUDE.md: is a link to x"),
    Home("a folder", lambda h: (h / MD).mkdir(parents=True), AS_INSTRUCTIONS, "is a folder, and"),
    Home("pipe", lambda h: ((h / ".claude").mkdir(), os.mkfifo(h / MD)), AS_INSTRUCTIONS, "a pipe"),
    Home("socket", socket_there, AS_INSTRUCTIONS, "is a socket, and a file is needed"),
    Home("hard links", hard_links, AS_INSTRUCTIONS, "has 2 hard links"),
    Home("file read-only", lambda h: put(h / MD, mode=0o444), AS_INSTRUCTIONS, "is read-only"),
    Home("UTF-16", lambda h: put(h / MD, "ä".encode("utf-16")), AS_INSTRUCTIONS, "not UTF-8"),
    Home(
        "half a block",
        lambda h: put(h / MD, b"a\n<!-- skillopt:geo begin -->\n"),
        AS_INSTRUCTIONS,
        "CLAUDE.md:2: 1 marks 'skillopt:geo begin' and 0 marks",
    ),
    Home("bare word", lambda h: None, ["--to", "claude-cod"], "did you mean 'claude-code'?"),
    Home("bare word, unlike", lambda h: None, ["--to", "banana"], "write ./banana"),
    Home("empty word", lambda h: None, ["--to", ""], "neither an agent"),
    Home("new folder", lambda h: None, ["--to", "./new"], changed="project/new/geo"),
    Home("deep new folder", lambda h: None, ["--to", "a/b/../c"], changed="project/a/c/geo"),
    Home("tilde", lambda h: None, ["--to", "~/all"], changed="all/geo"),
    Home(
        "existing word",
        lambda h: (h / "project/mine").mkdir(),
        ["--to", "mine"],
        changed="project/mine/geo",
    ),
    Home("word of a file", lambda h: put(h / "project/f"), ["--to", "f"], "nor an existing folder"),
    Home("path of a file", lambda h: put(h / "project/f"), ["--to", "./f"], "f: is a file"),
]


def own(home: Path, uid: int) -> None:
    """Give everything to a user, with the modes that it has."""
    for path in [home, home.parent / "state", *home.rglob("*")]:
        os.lchown(path, uid, uid)


def run(case: Home, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    if not case.user or os.geteuid() != 0:
        return skillopt(*argv)
    imported()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        with os.fdopen(write, "wb") as file:
            pickle.dump(skillopt(*argv), file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        done: subprocess.CompletedProcess[str] = pickle.load(file)
    os.waitpid(child, 0)
    return done


@cache
def imported() -> None:
    """Import all that the commands need, as another user may not be able to read it."""
    kept = dict(os.environ)
    with TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        write_skill(SKILL, Path(folder) / "geo")
        to = ["--to", f"{folder}/skills", "--yes"]
        assert skillopt("deploy", Path(folder) / "geo", *to, "--no-proof").returncode == 0
        assert skillopt("rollback", *to).returncode == 0
    os.environ.clear()
    os.environ.update(kept)


@pytest.mark.parametrize("case", HOMES, ids=lambda case: case.name)
def test_it_is_done_whole_and_undone_or_refused(case: Home, home: Path) -> None:
    case.lay_out(home)
    if case.user and os.geteuid() == 0:
        own(home, UID)
    before = state(home)
    done = run(case, "deploy", home.parent / "geo", *case.to, "--yes", "--no-proof")
    assert "Traceback" not in done.stderr, done.stderr
    if case.refused:
        assert done.returncode == 2 and case.refused in done.stderr, done.stdout + done.stderr
        assert state(home) == before
        return
    assert done.returncode == 0, done.stderr
    after, target = state(home), home / case.changed
    links = {name: what for name, what in before.items() if "0o12" in str(what[0])}  # type: ignore[index]
    outside = {n: w for n, w in links.items() if not (home / n).is_relative_to(target)}
    assert outside.items() <= after.items(), "a link was replaced"
    if "instructions" in case.to:
        text = target.read_bytes().decode()
        assert text.count("skillopt:geo begin") == 1 and "- new rule" in text
    else:
        found = read_skill(target)
        assert (found.body, found.files) == (SKILL.body, SKILL.files)
        kept = {n: w for n, w in before.items() if "/.git" in n}
        assert kept.items() <= after.items(), "the repository was changed"
    assert not [name for name in after if name.endswith((".tmp", ".old", ".gone"))]
    again = run(case, "deploy", home.parent / "geo", *case.to, "--yes", "--no-proof")
    assert again.returncode == 0 and "nothing was changed" in again.stdout
    assert state(home) == after
    back = run(case, "rollback", *case.to, "--yes")
    assert back.returncode == 0, back.stderr
    assert state(home) == before


@pytest.mark.parametrize("path", ["", "relative", "{}/does/not/exist"])
def test_a_home_that_is_none_is_refused(
    home: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", path.format(home))
    done = skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof")
    assert done.returncode == 2 and "set HOME to your home directory" in done.stderr
    assert not (home / "does").exists() and not Path("relative").exists()


def test_a_home_whose_name_is_not_utf8(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Path(os.fsdecode(os.fsencode(home.parent) + b"/caf\xe9\nx"))
    odd.mkdir()
    monkeypatch.setenv("HOME", str(odd))
    monkeypatch.setenv("XDG_STATE_HOME", str(odd / "state"))
    for action in (["deploy", home.parent / "geo", "--no-proof"], ["rollback"]):
        done = skillopt(*action, *ASKED, "--yes")
        assert done.returncode == 0, done.stderr
        assert (odd / AT).exists() == (action[0] == "deploy")
        assert skillopt("deploy", "--list").returncode == 0


def test_a_log_that_cannot_be_kept_is_named_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(put(home / "state")))
    before = state(home)
    done = skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof")
    assert done.returncode == 2 and "or set XDG_STATE_HOME to another one" in done.stderr
    assert state(home) == before


SAVED: dict[str, Callable[[bytes], bytes]] = {
    "as CRLF": lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "as CR": lambda data: data.replace(b"\n", b"\r"),
    "without the last newline": lambda data: data.rstrip(b"\n"),
    "with spaces cut off": lambda data: re.sub(rb" +\n", b"\n", data),
    "with a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "with a line below": lambda data: data + b"More.\n",
    "with a text right behind": lambda data: data.rstrip(b"\n") + b"More.\n",
}


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("text", [b"", b"# Mine\n", b"# Mine"], ids=["empty", "newline", "none"])
def test_what_an_editor_saves_is_still_the_block(home: Path, saved: str, text: bytes) -> None:
    save, file = SAVED[saved], put(home / MD, text)
    place = place_of("claude-code", "user", "instructions")
    with Ledger() as ledger:
        entries = [deploy(SKILL, place, ledger, {})]
        file.write_bytes(save(file.read_bytes()))
        third = replace(SKILL, body=f"{SKILL.body}\n- a third rule  \n- a fourth")
        entries.append(deploy(third, place, ledger, {}))
        changed = file.read_bytes()
        file.write_bytes(save(changed))
        for left in (1, 0):
            undo(entries[left], ledger)
            assert file.read_bytes().count(b"skillopt:geo") == 2 * left
    assert changed.count(b"skillopt:geo begin") == changed.count(b"skillopt:geo end") == 1
    assert b"- a third rule" in changed
    assert (b"\r\n" in changed) == (saved == "as CRLF")
    if saved == "as CRLF":
        assert b"\n" not in changed.replace(b"\r\n", b"")
    if "behind" not in saved and "below" not in saved:
        marked = saved == "with a byte order mark"
        assert file.read_bytes().lstrip(b"\xef\xbb\xbf" if marked else b"") == (
            save(text) if saved.startswith("as") else text
        )
    else:
        assert file.read_bytes().endswith(b"More.\n") and file.read_bytes().startswith(text)


def test_a_block_that_its_owner_has_changed_is_not_overwritten(home: Path) -> None:
    file = put(home / MD)
    deploy = ["deploy", home.parent / "geo", *AS_INSTRUCTIONS, "--yes", "--no-proof"]
    assert skillopt(*deploy).returncode == 0
    put(file, file.read_bytes().replace(b"new rule", b"my rule"))
    before = state(home)
    for words in (deploy, ["rollback", *AS_INSTRUCTIONS, "--yes"]):
        refused = skillopt(*words)
        assert refused.returncode == 2 and "has been changed since geo" in refused.stderr
    assert state(home) == before


def test_a_block_that_its_owner_has_removed_is_no_obstacle(home: Path) -> None:
    file = put(home / MD)
    assert skillopt("deploy", home.parent / "geo", *AS_INSTRUCTIONS, "--yes", "--no-proof")
    put(file, TEXT + b"More.\n")
    undone = skillopt("rollback", *AS_INSTRUCTIONS, "--yes")
    assert undone.returncode == 0 and file.read_bytes() == TEXT + b"More.\n"


def test_two_blocks_go_in_any_order_without_a_trace(home: Path) -> None:
    skills = SKILL, Skill("other", "Use it.", "# Other")
    place = place_of("claude-code", "user", "instructions")
    for text in (b"# Mine\n", b"# Mine", b"a\r\nb\r\n"):
        for order in ((0, 1), (1, 0)):
            file = put(home / MD, text)
            with Ledger() as ledger:
                entries = [deploy(skill, place, ledger, {}) for skill in skills]
                for number in order:
                    undo(entries[number], ledger)
            assert file.read_bytes() == text, (text, order)


def test_a_text_that_contains_a_mark_is_refused(home: Path) -> None:
    bad = Skill("bad", "Use it.", "# B\n\n<!-- skillopt:bad end -->\nrm -rf")
    write_skill(bad, home.parent / "bad")
    done = skillopt("deploy", home.parent / "bad", *AS_INSTRUCTIONS, "--yes", "--no-proof")
    assert done.returncode == 2 and "its text contains '<!-- skillopt:bad end -->'" in done.stderr


def test_a_link_that_leads_elsewhere_since_is_left_alone(home: Path) -> None:
    linked_folder(home)
    assert skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof").returncode == 0
    shutil.copytree(home / "repo/geo", home / "repo/copy/geo")
    (home / AT).unlink()
    link(home / AT, "../../repo/copy/geo")
    before = state(home)
    done = skillopt("rollback", *ASKED, "--yes")
    assert done.returncode == 2 and "is not the link" in done.stderr
    assert state(home) == before


def test_what_tools_leave_in_a_deployed_skill_is_no_change(home: Path) -> None:
    before = state(home)
    assert skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof").returncode == 0
    put(home / AT / "scripts/__pycache__/x.pyc")
    put(home / AT / ".DS_Store")
    (home / AT / "scripts/__pycache__/x.pyc").unlink()
    shutil.rmtree(home / AT / "scripts")
    assert skillopt("rollback", *ASKED, "--yes").returncode == 0
    assert state(home) == before
    assert skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof").returncode == 0
    put(home / AT / ".git/config")
    kept = state(home)
    refused = skillopt("rollback", *ASKED, "--yes")
    assert refused.returncode == 2 and "would be lost; move it away" in refused.stderr
    assert state(home) == kept


def test_a_deployed_skill_that_was_removed_can_be_undeployed_and_deployed_again(
    home: Path,
) -> None:
    old(home / AT)
    before = tree_digest(home / AT)
    deploy = ["deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof"]
    assert skillopt(*deploy).returncode == 0
    shutil.rmtree(home / AT)
    refused = skillopt(*deploy)
    assert refused.returncode == 2 and "is gone since geo was deployed" in refused.stderr
    assert skillopt("undeploy", "geo", *ASKED, "--yes").returncode == 0
    assert tree_digest(home / AT) == before
    assert skillopt(*deploy).returncode == 0


def test_a_failure_half_way_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import skillopt.deploy.actions as actions

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", str(home))

    before = state(home)
    with monkeypatch.context() as patched:
        patched.setattr(actions, "replace_folder", full)
        done = skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof")
    assert done.returncode == 3 and "the disk is full" in done.stderr
    assert state(home) == before
    assert not [*(home.parent / "state").rglob("backups/*")]


def test_a_full_disk_leaves_nothing(home: Path) -> None:
    folder = home / ".claude"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=4", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        before = state(home)
        done = skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof")
        assert done.returncode == 3 and "the disk is full" in done.stderr
        assert state(home) == before
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_other_files_and_links_that_are_replaced_are_named(home: Path) -> None:
    folder = old(home / AT)
    put(folder / "notes.md", b"# Mine\n")
    link(folder / "far.md", str(put(home / "dotfiles/far.md")))
    done = skillopt("deploy", home.parent / "geo", *ASKED, "--yes", "--no-proof")
    assert done.returncode == 0, done.stderr
    assert "other files of the folder that are changed: notes.md\n" in done.stderr
    assert "that are removed: far.md, scripts/a.sh\n" in done.stderr
    assert "far.md: it is replaced, and what it leads to is not changed" in done.stderr


def test_what_an_earlier_version_deployed_can_be_undone(home: Path) -> None:
    file = put(home / MD)
    place = place_of("claude-code", "user", "instructions")
    with Ledger() as ledger:
        entry = deploy(SKILL, place, ledger, {})
        block = entry.source["block"] + "\n"
        earlier = replace(entry, source={"made": entry.source["made"], "block": block})
        put(file, file.read_bytes() + b"More.\n")
        undo(earlier, ledger)
    assert file.read_bytes() == TEXT + b"\nMore.\n"
    folder = old(home / AT)
    put(folder / "__pycache__/x.pyc")
    with Ledger() as ledger:
        entry = deploy(SKILL, place_of("claude-code", "user"), ledger, {})
        put(folder / "__pycache__/x.pyc")
        undo(replace(entry, after=tree_digest(folder)), ledger)
    assert read_skill(folder) == OLD
