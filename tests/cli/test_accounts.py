"""``skillopt login``, ``logout``, and what ``doctor`` tells of accounts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest
import yaml
from click.testing import CliRunner, Result

from harnesses.accounts.chatgpt import ChatGptAccount
from skillopt.cli import doctor, main
from skillopt.config.loading import load_config
from skillopt.config.upstreams import HttpConfig, UpstreamsConfig
from skillopt.core.resources import resource
from tests.helpers.documents import ROOT
from tests.services.plans import Tokens, agent, browse, chatgpt, signing_in, simulated
from tests.services.service import serving
from tests.services.wire import Answer, Asked

CONFIG = """\
name: x
tasks: {source: quickstart}
skill: {init: quickstart}
harness: {name: direct}
target: {upstream: plan, name: gpt-6-sol}
optimizer: {upstream: plan, name: gpt-6-sol}
upstreams:
  plan: {kind: openai, login: chatgpt, base_url: "%s"}
  claude: {kind: anthropic, login: claude-plan}
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN", raising=False)
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.fail.Keyring)
    return tmp_path


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    with signing_in(monkeypatch) as tokens:
        yield tokens


def run(*argv: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, argv, input=typed)


def login(monkeypatch: pytest.MonkeyPatch) -> Result:
    def opened(url: str) -> bool:
        threading.Thread(target=browse, args=(url,)).start()
        return True

    monkeypatch.setattr("webbrowser.open", opened)
    return run("login", "chatgpt")


def test_sign_in_and_out(vendor: Tokens, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = login(monkeypatch)
    assert done.exit_code == 0, done.output
    assert "signed in as someone@example.org; kept in" in done.output
    assert "Model calls will use your ChatGPT plan" in done.output and "marker" not in done.output
    gone = run("logout", "chatgpt")
    assert gone.exit_code == 0 and "signed out" in gone.output and len(vendor.revoked) == 1
    assert "nobody is signed in" in run("logout", "chatgpt").output


def test_the_address_can_be_pasted(vendor: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    begin = ChatGptAccount.begin

    def beginning(account: ChatGptAccount) -> object:
        request = begin(account)
        given.append(browse(request.url))
        return request

    monkeypatch.setattr(ChatGptAccount, "begin", beginning)
    monkeypatch.setattr("click.prompt", lambda text: given[0])
    done = run("login", "chatgpt", "--paste")
    assert done.exit_code == 0 and "/authorize?" in done.output, done.output


def test_what_is_not_pasted_whole_is_refused(vendor: Tokens) -> None:
    done = run("login", "chatgpt", "--paste", typed="http://127.0.0.1:1455/auth/callback\n")
    assert done.exit_code == 2 and "its state differs" in done.output


def test_nobody_comes_back(vendor: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    monkeypatch.setattr("skillopt.cli.login_command.WAIT_S", 0.05)
    done = run("login", "chatgpt")
    assert done.exit_code == 2 and "open the address yourself" in done.output
    assert "with --paste" in done.output


def told() -> list[str]:
    return [f"{check.name} {check.ok}: {check.detail}" for check in doctor.accounts()]


def test_doctor_tells_of_accounts(
    vendor: Tokens, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told() == [
        "ChatGPT plan True: not signed in ('skillopt login chatgpt' signs in)",
        "Claude plan True: CLAUDE_CODE_OAUTH_TOKEN is not set",
    ]
    login(monkeypatch)
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-secret")
    chatgpt, claude = told()
    assert "True: signed in as someone@example.org, kept in" in chatgpt and "valid until" in chatgpt
    assert claude == "Claude plan True: CLAUDE_CODE_OAUTH_TOKEN is set"
    file = home / "config" / "skillopt" / "chatgpt.json"
    kept = file.read_text()
    file.write_text(kept.replace('"expires_at": "20', '"expires_at": "19'))
    assert "expired at 19" in told()[0] and "renewed with the next call" in told()[0]
    file.write_text(
        kept.replace('"credentials"', '"ended": "the sign-in has ended", "credentials"')
    )
    assert told()[0].startswith("ChatGPT plan False") and told()[0].endswith("sign-in has ended")
    file.write_text("{")
    assert "False" in told()[0] and "damaged" in told()[0]


@pytest.mark.slow
def test_doctor_asks_a_model_on_a_plan_and_shows_its_windows(
    vendor: Tokens, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(monkeypatch)

    def scenario(asked: Asked) -> Answer:
        found = simulated(asked)
        headers = {"x-codex-primary-used-percent": "42", "x-codex-primary-window-minutes": "300"}
        return Answer(found.status, found.body, found.content_type, headers)

    with serving(chatgpt(scenario, vendor)) as service:
        (home / "c.yaml").write_text(CONFIG % service.url)
        done = run("doctor", "--model", "gpt-6-sol", "--config", str(home / "c.yaml"))
    assert done.exit_code == 0, done.output
    assert "price: included in a plan" in done.output
    assert "plan: five hours 42% used" in done.output
    assert "marker" not in done.output


def test_the_documents_blocks_are_those_that_come_with_the_project() -> None:
    packaged = load_config(resource("configs") / "upstreams.yaml", UpstreamsConfig).upstreams
    text = (ROOT / "docs" / "accounts.md").read_text("utf-8")
    blocks = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    chatgpt, claude = (HttpConfig(**next(iter(b["upstreams"].values()))) for b in blocks)
    assert (chatgpt, claude.login) == (packaged["chatgpt"], "claude-plan")


def test_doctor_asks_nothing_on_a_claude_plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-abcdefghijklmnop")
    with serving(agent) as service:
        (home / "c.yaml").write_text(CONFIG % service.url)
        done = run("doctor", "--model", "claude:m", "--config", str(home / "c.yaml"))
        assert not service.asked
    assert done.exit_code == 2 and "a Claude plan is for Claude Code itself" in done.output


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ("claude", "claude setup-token"),
        ("claude-plan", "login: claude-plan"),
        ("Anthropic", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("openai", "'openai' is not 'chatgpt'"),
    ],
)
def test_who_cannot_sign_in_here_is_told_where(account: str, said: str) -> None:
    done = CliRunner().invoke(main, ["login", account])
    assert done.exit_code == 2 and said in done.output
