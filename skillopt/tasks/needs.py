"""What the scripts of a task need that not every sandbox has: root's rights, hosts outside, and
files elsewhere than in the working directory.

It is read from their text: what package managers and clients are called with. A script that hides
what it needs is found out when it fails, see :mod:`skillopt.tasks.judging`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.types import Task, TaskNeeds

_ROOT = re.compile(
    r"""(?:^|[;&|(\s])(?:sudo\s+)?(
        (?:apt-get|apt|aptitude|apk|yum|dnf|microdnf|zypper|pacman)\s+(?:-\S+\s+)*
            (?:install|add|update|upgrade|-S\w*|remove)\b
        |(?<!uv\ )(?:python3?\s+-m\s+)?pip3?\s+install\b(?!.*--(?:user|target|prefix)\b)
        |npm\s+(?:install|i)\s+(?:-g|--global)\b
        |dpkg\s+(?:-i|--install|--configure)\b
        |(?:useradd|adduser|groupadd|usermod|chpasswd|update-ca-certificates|ldconfig)\b
        |service\s+\S+\s+(?:re)?start\b
        |systemctl\s+(?:re)?start\b
    )""",
    re.VERBOSE | re.MULTILINE,
)
_URL = re.compile(r"\bhttps?://([A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,})")
_FETCHES = {
    "deb.debian.org": re.compile(r"\b(?:apt-get|apt|aptitude)\s+(?:-\S+\s+)*(?:install|update)\b"),
    "pypi.org": re.compile(
        r"\b(?:pip3?|uv\s+pip|uv\s+tool|pipx)\s+install\b|\buvx\b|\buv\s+(?:run|add|sync)\b"
    ),
    "registry.npmjs.org": re.compile(r"\b(?:npm\s+(?:install|ci|i)|npx|yarn\s+add|pnpm\s+add)\b"),
    "index.crates.io": re.compile(r"\bcargo\s+(?:install|build|fetch|test)\b"),
    "proxy.golang.org": re.compile(r"\bgo\s+(?:install|get|mod\s+download)\b"),
    "github.com": re.compile(r"\bgit\s+clone\b"),
}  # fmt: skip
"""By host, what is called to fetch from it."""
_READ_BYTES = 1024 * 1024
_LOCAL = ("localhost", "example.com", "example.org", "www.w3.org", "schemas.")
_PLACE = re.compile(
    rb"(?<![\w.:/}$*~-])/(?:etc|var|srv|root|home|opt|data|mnt|media|output|outputs|workspace|work"
    rb"|app|results|src|code|repo|build)(?:/[\w.@+-]+)*"
)
"""A path as tests name what they look at; not those of programs, of the tests and of their logs."""
_NAMED = re.compile(rb"(?<![\w.:/}$*~-])/(?:usr|tmp|s?bin|lib\d*|run)(?:/[\w.@+-]+)*")
"""A path that tests look at if the instruction names it too, else one of programs and scratch."""
_SHELLS = re.compile(rb"^/(usr/)?bin(/(env|(ba|da|z)?sh|python[\d.]*|node|perl|ruby))?$|^/usr$")
_COMMENT = re.compile(rb"^[ \t]*(#|//).*$", re.MULTILINE)
_JOINED = re.compile(rb"""(["'])/\1\)?\s*[/,]\s*["'](?=\w)""")
"""The beginning of ``Path("/") / "etc"`` and ``join("/", "etc")``."""
_OF_TOOLS = re.compile(
    rb"^/(root|home/[^/]+)/\.|^/etc/(apt|pip|ssl|os-release)\b|^/var/(lib|cache)/(apt|dpkg)"
)
_SHOWN = 80
_SERVICE = re.compile(
    r"\bservice\s+([\w@.-]+)\s+(?:re)?start\b|\bsystemctl\s+(?:re)?start\s+([\w@.-]+)"
)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1(.*?)\n(?:.*\n)*?[ \t]*\2[ \t]*(?:\n|$)")
_SHELL_COMMENT = re.compile(
    r"""^((?:[^"'#\n]|"[^"\n]*"|'[^'\n]*'|(?<=[^\s;])\#)*?)(?:^|(?<=[\s;]))\#.*$""", re.MULTILINE
)
_VALUES = re.compile(r"\(\([^)]*\)\)|\b\w+=\([^)]*\)")
"""Arithmetic and arrays, which call nothing."""
_KEYWORD = re.compile(r"\bfunction\s+([\w-]+)(?:\s*\(\s*\))?")
_FUNCTION = re.compile(r"(?:^|[;&|({])\s*([\w-]+)\s*\(\s*\)", re.MULTILINE)
_PROGRAM = re.compile(r"[A-Za-z][\w.+-]*")
_ASSIGNMENT = re.compile(r"\w+\+?=")
_BEFORE_COMMANDS = {
    "if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "sudo", "exec", "nohup",
    "command", "builtin", "env",
}  # fmt: skip
_NOT_COMMANDS = {
    "for", "case", "select", "in", "esac", "fi", "done", "}", "[[", "]]",
}  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """What scripts need.

    Args:
        root: the first command that needs root's rights; empty if there is none.
        hosts: outside, sorted.
        services: that they start by a service manager, sorted.
    """

    root: str = ""
    hosts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


def needs_of(folder: Path) -> Needs:
    """What the shell scripts in a folder need, ``tests/`` or ``solution/`` of a task."""
    return needs_in("\n".join(_commands(path) for path in _scripts(folder)))


def programs_of(folder: Path) -> tuple[str, ...]:
    """The names, sorted, of what the shell scripts in a folder call by name: programs, and what
    the shell has itself. What is only run by a variable or within quotes is not seen."""
    return tuple(sorted({name for path in _scripts(folder) for name in programs_in(_read(path))}))


def programs_in(text: str) -> frozenset[str]:
    """What a shell script calls by name, without its own functions."""
    plain = _HERE_DOCUMENT.sub(lambda match: f"{match[3]}\n", text.replace("\\\n", " "))
    plain = _VALUES.sub(" ", _SHELL_COMMENT.sub(r"\1", plain))
    plain = _KEYWORD.sub(r"\1() ", plain)
    own = set(_FUNCTION.findall(plain))
    try:
        return frozenset(_called(_words(plain))) - own
    except ValueError:  # Quotes over several lines that this reading takes for something else.
        return frozenset(_called([w for line in plain.splitlines() for w in _line(line)])) - own


def _words(text: str) -> list[str]:
    """The words and operators of a shell script; raises ValueError for an open quote."""
    words = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
    words.whitespace, words.commenters, words.whitespace_split = " \t\r", "", True
    return list(words)


def _line(line: str) -> list[str]:
    """The words of one line; none if they cannot be read."""
    try:
        return [*_words(line), "\n"]
    except ValueError:
        return []


def _called(words: Sequence[str]) -> Iterator[str]:
    """The words in the place of a command."""
    begins, cases, pattern = True, 0, False
    for word in words:
        if word and set(word) <= set(";&|()\n"):
            begins, pattern = True, ")" not in word if pattern else bool(cases and ";;" in word)
        elif word == "esac":
            cases, pattern, begins = max(0, cases - 1), False, False
        elif pattern:
            continue
        elif word == "in" and not begins and cases:
            pattern = True
        elif begins and word not in _BEFORE_COMMANDS and not _ASSIGNMENT.match(word):
            begins, cases = False, cases + (word == "case")
            if _PROGRAM.fullmatch(word) and word not in _NOT_COMMANDS:
                yield word


def phrases(needs: TaskNeeds) -> Iterator[str]:
    """What a task needs, in words."""
    if needs.root:
        yield f"the agent is root of its container ({needs.root})"
    if needs.verifier_root:
        yield f"the verifier is root of its container ({needs.verifier_root})"
    if needs.reach:
        yield needs.reach
    for what, hosts in (("tests", needs.hosts), ("solution", needs.solution_hosts)):
        if hosts:
            yield f"its {what} may want {', '.join(hosts)}"
    if needs.services:
        yield f"services are started in its container: {', '.join(needs.services)}"
    if needs.own_skills:
        yield (
            "it brings skills of its own, which are left out of the working directory, so that "
            "a run without a skill is without any"
        )


def count_needs(tasks: Sequence[Task]) -> dict[str, int]:
    """How many tasks need ``root``, ``hosts`` outside and the agent's whole ``container``, and how
    many have ``own_skills``, which are left out."""
    return {
        "root": sum(task.root or task.verifier_root for task in tasks),
        "hosts": sum(bool(task.needs.hosts) for task in tasks),
        "container": sum(task.handover for task in tasks),
        "own_skills": sum(task.needs.own_skills for task in tasks),
    }


def places_of(task: Path, workdir: str) -> tuple[str, ...]:
    """The paths outside of the working directory that tests look at.

    Args:
        task: its folder. Paths below ``/usr`` or ``/tmp``, where programs and scratch files lie,
            count only if its instruction names them or a folder around them.
        workdir: the working directory.

    Returns:
        As far as the text of the tests tells, sorted.
    """
    named = _found(_NAMED, [task / "instruction.md"])
    tests = [path for path in (task / "tests").rglob("*") if not path.is_symlink()]
    found = _found(_PLACE, tests)
    found |= {p for p in _found(_NAMED, tests) if any(_is_in(p, place) for place in named)}
    inside = workdir.encode()
    outside = (p for p in found if not _is_in(p, inside) and not _OF_TOOLS.match(p))
    return tuple(sorted(p.decode() for p in outside))


def _found(pattern: re.Pattern[bytes], files: list[Path]) -> set[bytes]:
    """The paths in the text of files, without their comments."""
    found: set[bytes] = set()
    for path in files:
        if not path.is_file():
            continue
        with path.open("rb") as file:
            content = file.read(_READ_BYTES)
        if b"\0" not in content:
            code = content if path.suffix == ".md" else _COMMENT.sub(b"", content)
            found |= {m[0].rstrip(b".") for m in pattern.finditer(_JOINED.sub(b'"/', code))}
    return {path for path in found if not _SHELLS.match(path)}


def _is_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def needs_in(text: str) -> Needs:
    """What commands need."""
    root = _ROOT.search(text)
    hosts = {host.lower().rstrip(".") for host in _URL.findall(text)}
    hosts |= {host for host, pattern in _FETCHES.items() if pattern.search(text)}
    outside = sorted(host for host in hosts if not host.startswith(_LOCAL))
    services = sorted({name for pair in _SERVICE.findall(text) for name in pair if name})
    command = " ".join(root[1].split())[:_SHOWN] if root else ""
    return Needs(command, tuple(outside), tuple(services))


def _scripts(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.sh") if p.is_file() and not p.is_symlink())


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_READ_BYTES).decode("utf-8", "replace")


def _commands(path: Path) -> str:
    """A script without its comments, and with continued lines as one."""
    text = _read(path).replace("\\\n", " ")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
