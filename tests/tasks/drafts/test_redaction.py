"""Secrets are taken out, and ordinary text stays as it is."""

from __future__ import annotations

import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.tasks.drafts.redaction import Redactor, is_secret_file, known_secrets


def redactor() -> Redactor:
    return Redactor(frozenset({"own-value-of-a-variable"}), "/home/me")


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "IOSFODNN7EXAMPLQ",
        "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
        "sk-ant-" + "api03-abcdefghijklmnopqrstuvwxyz",
        "sk-proj-" + "abcdefghijklmnopqrstuvwxyz0123456789",
        "xoxb-" + "123456789012-123456789012-abcdefghijklmnopqrstuvwx",
        "glpat-" + "abcdefghijklmnopqrst",
        "hf_" + "abcdefghijklmnopqrstuvwxyz",
        "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
        "sk_live_" + "abcdefghijklmnopqrstuvwx",
        "SK" + "1234567890abcdef1234567890abcdef",
        "eyJhbGciOiJIUzI1NiIs." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nx\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ncut off",
        "own-value-of-a-variable",
    ],
)
@pytest.mark.parametrize("around", ["{}", "use {} please", '{{"key": "{}"}}', "a\nb {}"])
def test_secrets_are_taken_out_wherever_they_stand(secret: str, around: str) -> None:
    made = redactor()
    text = made.text(around.replace("{{", "{").replace("}}", "}").replace("{}", secret))
    assert secret not in text and secret[8:30] not in text
    assert "[REDACTED: " in text and made.count >= 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("password=hunter2hunter2.", "hunter2"),
        ('DB_PASSWORD: "s3cr3t-s3cr3t"', "s3cr3t"),
        ("my password is correcthorse1 ok", "correcthorse"),
        ("postgres://user:p4ssw0rd@db/x", "p4ssw0rd"),
        ("Authorization: Bearer abcdefghijklmnop1234", "abcdefghijklmnop"),
        ("client_secret = abcdef123456", "abcdef123456"),
    ],
)
def test_passwords_in_assignments_are_taken_out(text: str, wanted: str) -> None:
    assert wanted not in redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "The password is required, and the token column is empty.",
        "commit 9f1bad988d8ca18a6c9b8cfc28e5f8533469bed6 of 10.2.3.4 and 52.12.3.4",
        "id 01a21bc0-bb69-7872-9ac6-e11fe885cbb4",
        "api_key = os.environ['KEY']; password = getpass(prompt)",
        "Write a report of data.csv: key, secret santa, and tokens per second",
        "see https://example.com/a@b and user@example.com",
        "\ue0000\ue001",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    made = redactor()
    assert made.text(text) == text.replace("\ue000", "").replace("\ue001", "")
    assert made.count == 0


def test_the_home_is_not_named() -> None:
    assert redactor().text("/home/me/x /home/meg /srv/home/me/x") == "~/x /home/meg /srv/home/me/x"


def test_values_of_variables_named_like_secrets_are_known() -> None:
    found = known_secrets(
        {"MY_TOKEN": "abcdefgh", "A_KEY": "short", "KEY_FILE": "/etc/key", "X": "y"}
    )
    assert found == ["abcdefgh"]


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (".env", True), ("a/.env.production", True), ("id_rsa", True), ("certs/server.pem", True),
        ("credentials.json", True), (".env.example", False), ("env.py", False), ("keys.md", False),
    ],
)  # fmt: skip
def test_files_that_are_secrets_by_their_names(path: str, secret: bool) -> None:
    assert is_secret_file(path) is secret


def test_long_lines_take_no_longer_than_many_short_ones() -> None:
    began = time.monotonic()
    text = redactor().text("abc def = 3; " * 10_000 + " AKIA" + "IOSFODNN7EXAMPLQ")
    assert text.endswith("[REDACTED: AWS key]") and time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("password=hunter2hunter2", "password=[REDACTED: password]"),
        ("a password: 'abcdef' b", "a password: '[REDACTED: password]' b"),
        ("password=abcde", "password=abcde"),
        ("http://u:p4ssw0rd@db/x", "http://u:[REDACTED: password in an address]@db/x"),
        ("Bearer abcdefghijklmnop", "Bearer [REDACTED: authorization]"),
        ("Bearer abcdefghijklmno", "Bearer abcdefghijklmno"),
        ("AKIAIOSFODNN7EXAMPLQ and AKIAIOSFODNN7EXAMPLR",
         "[REDACTED: AWS key] and [REDACTED: AWS key]"),
        ("long-own-value, own-value", "[REDACTED: environment variable], "
         "[REDACTED: environment variable]"),
        ("\ue000x\ue001 /home/me", "x ~"),
    ],
)  # fmt: skip
def test_a_mark_stands_for_the_secret_alone(text: str, made: str) -> None:
    redact = Redactor(frozenset({"own-value", "long-own-value"}), "/home/me", count=5)
    assert redact.text(text) == made
    assert redact.count == 5 + made.count("[REDACTED: ")


@pytest.mark.parametrize("home", ["", "/"])
def test_a_home_that_is_everything_is_not_replaced(home: str) -> None:
    assert Redactor(frozenset(), home).text("/a/b c") == "/a/b c"


class Finding:
    """A detector that takes each word with an ``@`` before it for a secret."""

    def __init__(self, kind: str = "Own Kind") -> None:
        self.secret_type = kind
        self.lines: list[str] = []

    def analyze_line(self, filename: str, line: str, line_number: int) -> Any:
        self.lines.append(line)
        words = [word for word in line.split() if word.startswith("@")]
        return [SimpleNamespace(type=self.secret_type, secret_value=word[1:]) for word in words]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Finding:
    found = Finding()
    loose = [Finding("Public IP (ipv4)"), Finding("Secret Keyword")]
    monkeypatch.setattr("detect_secrets.settings.get_plugins", lambda: [*loose, found])
    monkeypatch.setattr("detect_secrets.settings.default_settings", nullcontext)
    return found


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("abcdez", True), ("abcde", False), ("", False), ("a" * 7, False), ("0" * 64, False),
        ("0" * 6, True), ("0" * 65, True), ("0" * 7 + "g", True),
        ("01a21bc0-bb69-7872-9ac6-e11fe885cbb4", False),
        ("01a21bc0-bb69-7872-9ac6-e11fe885cbb", True),
        ("01a21bc0-bb69-7872-e11fe885cbb4", True),
    ],
)  # fmt: skip
def test_what_detectors_find_may_be_a_digest_or_a_word(
    value: str, secret: bool, detector: Finding
) -> None:
    made = redactor().text(f"see @{value} and {value}")
    mark = "[REDACTED: own kind]"
    assert made == (f"see @{mark} and {mark}" if secret else f"see @{value} and {value}")


def test_detectors_see_lines_in_pieces_that_overlap(detector: Finding) -> None:
    redactor().text("one\n\n" + "x" * 20_000 + "\n" + "y" * 39_500)
    assert [(line[:1], len(line)) for line in detector.lines] == [
        ("o", 3), ("", 0), ("x", 20_000), ("x", 500), ("y", 20_000), ("y", 20_000), ("y", 500),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("MY_KEY", "12345678", True), ("MY_KEY", "1234567", False), ("my_token", "12345678", True),
        ("A_SECRET", "12345678", True), ("PASSWD", "12345678", True),
        ("GOOGLE_CREDENTIALS", "12345678", True), ("OTHER", "12345678", False),
        ("A_KEY", "/12345678", False), ("A_KEY", "http://x.y", False), ("A_KEY", "x/http:1", True),
    ],
)  # fmt: skip
def test_which_variables_hold_secrets(name: str, value: str, known: bool) -> None:
    assert known_secrets({name: value}) == ([value] if known else [])
