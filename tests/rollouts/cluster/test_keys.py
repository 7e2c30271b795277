"""Nodes read their own keys; a missing one is named, and values never are."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN
from sandboxes.base import SandboxError
from skillopt.config.upstreams import UpstreamConfig
from skillopt.rollouts.cluster.keys import check_keys, needed_keys
from tests.helpers.small import small_config

SECRET = "sk-value-of-the-key"
OPENAI = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"}


def test_keys_of_target_and_judge_are_needed(tmp_path: Path) -> None:
    http = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"}
    config = small_config(
        tmp_path,
        **{
            "upstreams.a": {**http, "key_env": "KEY_A"},
            "upstreams.b": {**http, "key_env": "KEY_B"},
            "upstreams.c": {**http, "key_env": "KEY_C"},
            "target": {"upstream": "a", "name": "m"},
            "optimizer": {"upstream": "b", "name": "m"},
            "judge": {"upstream": "c", "name": "m"},
        },
    )
    assert list(needed_keys(config)) == ["KEY_A", "KEY_C"]
    assert list(needed_keys(small_config(tmp_path))) == []


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(SandboxError, match="no API key in SOME_KEY: it is not set there"):
        check_keys(["SOME_KEY"])
    monkeypatch.setenv("SOME_KEY", SECRET)
    check_keys(["SOME_KEY"])


def test_keys_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOME_KEY", "NEXT_KEY", "OTHER"):
        monkeypatch.setenv(name, "")
    file = tmp_path / "keys"
    file.write_text(
        f'# keys\nexport SOME_KEY="{SECRET}"\nNEXT_KEY = b\nOTHER=x\nnonsense {SECRET}\n'
    )
    check_keys(["SOME_KEY", "NEXT_KEY"], str(file))
    assert [os.environ[n] for n in ("SOME_KEY", "NEXT_KEY", "OTHER")] == [SECRET, "b", ""]
    with pytest.raises(SandboxError, match="NO_KEY") as failed:
        check_keys(["NO_KEY"], str(file))
    assert SECRET not in str(failed.value)
    with pytest.raises(SandboxError, match=r"keys_file: .*/gone: No such file"):
        check_keys(["SOME_KEY"], str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY_A=a", "a"),
        ("  export  KEY_A = a b  ", "a b"),
        ("KEY_A='a b'", "a b"),
        ('KEY_A="a"', "a"),
        ("KEY_A='a\"", "'a\""),
        ("KEY_A='", "'"),
        ("KEY_A=aba", "aba"),
        ("KEY_A=''", ""),
        ("#KEY_A=a", ""),
        ("KEY_A", ""),
        ("KEY_AB=a", ""),
    ],
)
def test_a_line_of_a_file_of_keys_is_read_as_shells_do(
    line: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "")
    (tmp_path / "keys").write_text(f"{line}\n")
    if value:
        check_keys(["KEY_A"], str(tmp_path / "keys"))
        assert os.environ["KEY_A"] == value
    else:
        with pytest.raises(SandboxError, match=r"KEY_A: .*keys has no line for it"):
            check_keys(["KEY_A"], str(tmp_path / "keys"))


def test_a_key_of_blanks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_A", "  ")
    with pytest.raises(SandboxError, match="it is not set there"):
        check_keys(["KEY_A"])


@pytest.mark.parametrize(
    ("services", "judge", "needed"),
    [
        ({"a": {**OPENAI, "key_env": "KEY_A"}}, "", ["KEY_A"]),
        ({"a": {**OPENAI, "key_env": "KEY_A"}}, "a", ["KEY_A"]),
        ({"a": OPENAI}, "", []),
        ({"a": OPENAI, "b": {**OPENAI, "key_env": "KEY_B"}}, "b", ["KEY_B"]),
        ({"a": {"kind": "sim"}, "b": {**OPENAI, "key_env": "KEY_B"}}, "b", ["KEY_B"]),
        ({"a": {"kind": "anthropic", "login": "claude-plan"}}, "", [CLAUDE_TOKEN]),
        (
            {"a": {"kind": "anthropic", "login": "claude-plan", "key_env": "MINE"}},
            "",
            ["MINE"],
        ),
        ({"a": {"kind": "openai", "login": "chatgpt"}}, "", []),
        ({"a": {"kind": "mine:Service"}}, "a", []),
    ],
)
def test_a_key_is_needed_for_each_service_that_has_one(
    services: dict[str, Any], judge: str, needed: list[str]
) -> None:
    both = TypeAdapter(dict[str, UpstreamConfig]).validate_python(services)
    config: Any = SimpleNamespace(
        upstreams=both,
        target=SimpleNamespace(upstream="a"),
        judge=SimpleNamespace(upstream=judge) if judge else None,
    )
    assert list(needed_keys(config)) == needed


def test_what_is_not_asked_for_is_not_read_and_the_last_line_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEY_A", "KEY_B"):
        monkeypatch.setenv(name, "of the environment")
    file = tmp_path / "keys"
    file.write_text("KEY_A=first\nKEY_A='second'\nKEY_B=other\n")
    check_keys(["KEY_A"], str(file))
    assert (os.environ["KEY_A"], os.environ["KEY_B"]) == ("second", "of the environment")
    file.write_text("KEY_C=third\n")
    check_keys(["KEY_A"], str(file))
    assert os.environ["KEY_A"] == "second", "what is there already is used"


def test_a_file_that_is_no_text_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"KEY_A=\xff\xfe")
    with pytest.raises(SandboxError) as failed:
        check_keys(["KEY_A"], str(tmp_path / "keys"))
    message = str(failed.value)
    assert message.endswith("keys: UnicodeDecodeError on this node") and "KEY_A" not in message
    assert failed.value.__cause__ is None and failed.value.__suppress_context__
