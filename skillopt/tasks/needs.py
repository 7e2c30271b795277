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
    rb"(?<![\w.:/}$*-])/(?:etc|var|srv|root|home|opt|data|mnt|media|output|outputs|workspace|work"
    rb"|app|results|src|code|repo|build)(?:/[\w.@+-]+)*"
)
"""A path as tests name what they look at; not those of programs, of the tests and of their logs."""
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


def places_of(folder: Path, workdir: str) -> tuple[str, ...]:
    """The paths outside of ``workdir`` that the files in a folder of tests name, sorted."""
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                content = file.read(_READ_BYTES)
            if b"\0" not in content:
                found |= {match[0] for match in _PLACE.finditer(content)}
    inside = workdir.encode()
    outside = (p for p in found if p != inside and not p.startswith(inside + b"/"))
    return tuple(sorted(p.decode() for p in outside if not _OF_TOOLS.match(p)))


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
