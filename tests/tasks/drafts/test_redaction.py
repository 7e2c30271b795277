"""Secrets are taken out, and ordinary text stays as it is."""

from __future__ import annotations

import time

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
    text = redactor().text("abc def = 3; " * 40_000 + " AKIA" + "IOSFODNN7EXAMPLQ")
    assert text.endswith("[REDACTED: AWS key]") and time.monotonic() - began < 20
