"""What the scripts of a task need that not every sandbox has: root's rights, hosts outside, and
files elsewhere than in the working directory.

It is read from their text: what package managers and clients are called with. A script that hides
what it needs is found out when it fails, see :mod:`skillopt.tasks.judging`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Needs:
    """What scripts need.

    Args:
        root: the first command that needs root's rights; empty if there is none.
        hosts: outside, sorted.
    """

    root: str = ""
    hosts: tuple[str, ...] = ()


def needs_of(folder: Path) -> Needs:
    """What the shell scripts in a folder need, ``tests/`` or ``solution/`` of a task."""
    if not folder.is_dir():
        return Needs()
    scripts = sorted(p for p in folder.rglob("*.sh") if p.is_file() and not p.is_symlink())
    return needs_in("\n".join(_commands(path) for path in scripts))


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
    return Needs(" ".join(root[1].split())[:_SHOWN] if root else "", tuple(outside))


def _commands(path: Path) -> str:
    """A script without its comments, and with continued lines as one."""
    text = path.read_bytes().decode("utf-8", "replace").replace("\\\n", " ")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
