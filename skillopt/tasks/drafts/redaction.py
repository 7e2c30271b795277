"""Secrets in what people and agents wrote are replaced before anything of it is kept.

The detectors are those of detect-secrets, which knows the keys of about 25 services, private keys,
passwords in addresses and assignments. Added are whole blocks of private keys, keys that are newer
than it, and the values of this process's own environment variables that are named like secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MARK = "[REDACTED: {}]"
LONGEST_LINE = 20_000
"""Characters of a line that the detectors are given at once; longer ones come in pieces."""
_OVERLAP = 500
_OWN: Mapping[str, re.Pattern[str]] = {
    "private key": re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----.*?"
        r"(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    "model service key": re.compile(r"\bsk-(?:ant-|proj-|or-|svcacct-)?[\w-]{20,}"),
    "JSON web token": re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    "AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "token": re.compile(
        r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"
        r"|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{20,}|AIza[\w-]{35}"
        r"|ya29\.[\w-]{20,}|dop_v1_[0-9a-f]{40,})"
    ),
    "authorization": re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]{16,}|(?<=\bbasic )[\w+/]{16,}=*"),
    "password": re.compile(
        r"(?i)(?<![\w-])\w*(?:password|passwd|passphrase|secret|api_?key|access_?key|auth_?token"
        r"|private_?key)[\"']?\s*(?:=|:|\bis\b(?=\s+\S*[\d!#$%&*+?@^]))\s*[\"']?"
        r"(?P<value>[^\s\"'`,;<>{}()\[\]$\ue000]{6,})(?![\w.]*[\[(])"
    ),
    "password in an address": re.compile(r"(?<=://)[^\s/:@]+:(?P<value>[^\s/@]+)(?=@)"),
}
"""Detectors of this project, by kind; the group ``value``, or the whole, is the secret."""
_LOOSE = ("Public IP (ipv4)", "Secret Keyword")
"""Detectors that are not used: an address is no secret, and for assignments there is one above that
knows prose."""
_PRIVATE_USE, _MARKED = re.compile("[\ue000\ue001]"), re.compile("\ue000(\\d+)\ue001")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SECRET_FILES = re.compile(
    r"(?i)(^|/)(\.env(\..*)?|\.netrc|\.npmrc|\.pypirc|\.pgpass|id_(rsa|dsa|ecdsa|ed25519)"
    r"|credentials(\.json)?|.*\.(pem|key|p12|pfx|jks|keystore|kdbx))$"
)
"""Names of files that are secrets as a whole."""
_EXAMPLES = re.compile(r"(?i)(^|/)\.env\.(example|sample|template|dist)$")


@dataclass
class Redactor:
    """Replaces secrets by marks with their kind, and this user's home by ``~``.

    Args:
        known: secrets that are known by their value.
        home: the user's home folder.

    Attributes:
        count: how many secrets it has replaced.
    """

    known: frozenset[str] = field(default_factory=lambda: frozenset(known_secrets(os.environ)))
    home: str = field(default_factory=lambda: str(Path.home()))
    count: int = 0

    def text(self, text: str) -> str:
        """A text without its secrets."""
        marks: list[str] = []

        def mark(kind: str) -> str:
            marks.append(MARK.format(kind))
            return f"\ue000{len(marks) - 1}\ue001"  # No detector takes it for a secret.

        text = _PRIVATE_USE.sub("", text)
        for secret in sorted(self.known, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, mark("environment variable"))
        for kind, pattern in _OWN.items():
            text = pattern.sub(lambda found, kind=kind: _cut_out(found, mark, kind), text)  # type: ignore[misc]
        for kind, secret in dict.fromkeys(_detected(text)):
            if secret in text:
                text = text.replace(secret, mark(kind))
        if self.home not in ("", "/"):
            text = re.sub(rf"(?<![\w/]){re.escape(self.home)}(?![\w-])", "~", text)
        self.count += len(marks)
        return _MARKED.sub(lambda found: marks[int(found[1])], text)


def _cut_out(found: re.Match[str], mark: Callable[[str], str], kind: str) -> str:
    """A match of one of the project's own detectors, with a mark in place of the secret."""
    name = "value" if "value" in found.re.groupindex else 0
    start, end = (place - found.start() for place in found.span(name))
    return found[0][:start] + mark(kind) + found[0][end:]


def is_secret_file(path: str) -> bool:
    """Whether a file is left out by its name."""
    return bool(SECRET_FILES.search(path)) and not _EXAMPLES.search(path)


def known_secrets(environment: Mapping[str, str]) -> list[str]:
    """The values of environment variables whose name says that they are secret."""
    return [
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= 8 and not value.startswith(("/", "http"))
    ]


def _detected(text: str) -> Iterator[tuple[str, str]]:
    """The secrets in a text by detect-secrets, with their kinds."""
    from detect_secrets.settings import default_settings, get_plugins

    with default_settings():
        plugins = [one for one in get_plugins() if one.secret_type not in _LOOSE]
        for line in text.splitlines():
            for start in range(0, max(1, len(line)), LONGEST_LINE - _OVERLAP):
                part = line[start : start + LONGEST_LINE]
                for plugin in plugins:
                    for found in plugin.analyze_line(filename="a text", line=part, line_number=0):
                        if _is_secret(value := found.secret_value or ""):
                            yield found.type.lower(), value


def _is_secret(value: str) -> bool:
    """Whether a find can be replaced everywhere without harm to the text: commits and digests are
    as random as keys, and what is short may be a word."""
    return (
        len(value) >= 6
        and "\ue000" not in value
        and not re.fullmatch(r"[0-9a-f]{7,64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value)
    )
