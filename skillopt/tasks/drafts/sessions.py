"""What people said to agents and what then happened, read from the agents' own session logs.

How each agent writes its log is in codex_log.py and claude_log.py. Whatever a log does not say in
the expected form is passed over: the logs belong to other programs and change with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harnesses.json_values import loads

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer lines of a log are passed over: they hold pictures or whole files."""

_CONTEXT = (
    "system-reminder|ide_opened_file|ide_selection|ide_diagnostics|environment_context"
    "|user_instructions|turn_aborted|subagent_notification|task-notification|skill"
    "|local-command-caveat|local-command-stdout|local-command-stderr|bash-input|bash-stdout"
    "|bash-stderr|user_shell_command|permissions|context"
)
_ADDED = re.compile(rf"<({_CONTEXT})\b[^>]*>.*?</\1>", re.DOTALL)
_IDE_REQUEST = re.compile(r"\A# Context from my IDE.*?^## My request for Codex:\s*", re.S | re.M)
_SKILL_FILE = re.compile(r"([\w.-]+)/SKILL\.md\b")


@dataclass(frozen=True)
class Turn:
    """Something that a person said, and what the agent did until they spoke again.

    Args:
        id: the same in each session that has this turn, also if a session was forked.
        text: what the person said, without what the agent's program added.
        at: time in the form of the log (ISO 8601).
        answer: the agent's last message.
        files: paths that the agent changed with its own tools, in order.
        skills: names of skills that it opened.
        interrupted: whether the person stopped the agent in this turn.
        while_working: whether it was said before the agent had finished its turn.
        again: whether it replaces a turn that was taken back.
    """

    id: str
    text: str
    at: str = ""
    answer: str = ""
    files: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    interrupted: bool = False
    while_working: bool = False
    again: bool = False


@dataclass(frozen=True)
class Session:
    """One session of a person, or of a sub-agent, with an agent.

    Args:
        agent: name of the harness.
        id: of the session.
        file: its log.
        version: of the agent's program.
        folder: the working directory.
        commit: commit of the repository there when the session began; empty if not known.
        began: time in the form of the log.
        turns: in order.
        parent: id of the session whose agent started it; empty for a person's.
        base: id of the session that it was forked from.
        base_end: ids of turns from there on are not part of it; None if it has a copy of the
            turns before the fork.
    """

    agent: str
    id: str
    file: Path
    version: str = ""
    folder: str = ""
    commit: str = ""
    began: str = ""
    turns: tuple[Turn, ...] = ()
    parent: str = ""
    base: str = ""
    base_end: int | None = None


def records(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a log, one a line; lines that are too long or no object are left out."""
    with file.open("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = lines.readline(MAX_LINE_BYTES)
                continue
            try:
                value = loads(line)
            except ValueError:
                continue  # The last line may be cut off.
            if isinstance(value, dict):
                yield value


def text_of(value: Any, *keys: str) -> str:
    """A text in nested objects; empty if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; empty for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def said(text: str) -> str:
    """What a person wrote, without what the agent's program or an editor put around it."""
    text = _IDE_REQUEST.sub("", text)
    return _ADDED.sub("", text).strip()


def skills_in(text: str) -> list[str]:
    """The skills whose ``SKILL.md`` a command or a path names."""
    return [name for name in _SKILL_FILE.findall(text) if name not in (".", "..")]


class Turns:
    """Collects the turns of a log in order."""

    def __init__(self) -> None:
        self.found: list[Turn] = []
        self._working = False

    def add(self, id: str, text: str, at: str, *, again: bool = False) -> None:
        """A person spoke."""
        waited = self._working and not (self.found and self.found[-1].interrupted)
        self.found.append(Turn(id, text, at, while_working=waited, again=again))
        self._working = True

    def finished(self) -> None:
        """The agent has finished its turn."""
        self._working = False

    def answered(self, text: str) -> None:
        """The agent said something."""
        if text.strip():
            self._change(answer=text.strip())

    def changed(self, paths: Iterable[str]) -> None:
        """The agent changed files."""
        if self.found:
            known = self.found[-1].files
            self._change(files=tuple(dict.fromkeys([*known, *filter(None, paths)])))

    def opened(self, names: Iterable[str]) -> None:
        """The agent opened skills."""
        if self.found:
            known = self.found[-1].skills
            self._change(skills=tuple(dict.fromkeys([*known, *filter(None, names)])))

    def interrupted(self) -> None:
        """The person stopped the agent."""
        self._change(interrupted=True)
        self._working = False

    def _change(self, **values: Any) -> None:
        if self.found:
            self.found[-1] = replace(self.found[-1], **values)


Reader = Callable[[Path], Session | None]
"""Reads a log; None if it is no session's."""


def logs(folder: Path, pattern: str) -> list[Path]:
    """The logs below a folder, sorted. Links are left out, since an agent may have made them."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.glob(pattern) if file.is_file() and not file.is_symlink())


def whole_sessions(found: Iterable[Session]) -> list[Session]:
    """Sessions of people with all that belongs to them: the turns before a fork, and what their
    sub-agents changed. Those without a turn are left out."""
    by_id = {session.id: session for session in found}
    people = {id: session for id, session in by_id.items() if not session.parent}
    for session in by_id.values():
        root = _root(session, by_id)
        if session.parent and root in people:
            people[root] = _with_sub_agent(people[root], session)
    whole = [_with_base(session, people, ()) for session in people.values()]
    return [session for session in whole if session.turns]


def _root(session: Session, by_id: Mapping[str, Session]) -> str:
    """The id of the person's session above a sub-agent's."""
    id, seen = session.id, set[str]()
    while id in by_id and by_id[id].parent and id not in seen:
        seen.add(id)
        id = by_id[id].parent
    return id


def _with_sub_agent(session: Session, part: Session) -> Session:
    """A session whose turn in which a sub-agent began has what the sub-agent changed and opened."""
    at = max((n for n, turn in enumerate(session.turns) if turn.at <= part.began), default=None)
    if at is None:
        return session
    turn = session.turns[at]
    files = dict.fromkeys([*turn.files, *(file for one in part.turns for file in one.files)])
    skills = dict.fromkeys([*turn.skills, *(name for one in part.turns for name in one.skills)])
    turns = [*session.turns]
    turns[at] = replace(turn, files=tuple(files), skills=tuple(skills))
    return replace(session, turns=tuple(turns))


def _with_base(session: Session, known: Mapping[str, Session], below: Sequence[str]) -> Session:
    base = known.get(session.base)
    if base is None or base.id in below or base.id == session.id:
        return session
    before = _with_base(base, known, [*below, session.id]).turns
    if session.base_end is not None:
        shared = [turn for turn in before if _ordinal(turn.id) < session.base_end]
        return replace(session, turns=(*shared, *session.turns))
    same = 0
    for one, other in zip(before, session.turns, strict=False):
        if one.text != other.text:
            break
        same += 1
    return replace(session, turns=(*before[:same], *session.turns[same:]))


def _ordinal(id: str) -> int:
    """The place in its log of a turn of Codex, whose ids end with it."""
    return int(id.rpartition(":")[2])
