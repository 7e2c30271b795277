"""What the scripts of a task need that not every sandbox has: root's rights, and hosts outside.

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
_LOCAL = ("localhost", "example.com", "example.org", "www.w3.org", "schemas.")
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
