"""Runs that are paid by a plan: what the vendor is sent, its limits, and where its tokens are not.

Vendors are played on loopback (:mod:`tests.services.plans`); the agents are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keyring
import keyring.backends.fail
import pytest
from click.testing import CliRunner

from harnesses.accounts.chatgpt import ChatGptAccount
from harnesses.accounts.vault import AccountError
from harnesses.base import ModelSpec, Status
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.plan_upstreams import ChatGptPlan, ClaudePlan, PlanError
from harnesses.gateway.upstreams import Call
from sandboxes.base import SandboxError
from skillopt import evaluate, train
from skillopt.cli import main
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.types import Rollout
from skillopt.optimizer.replies import Ranking
from skillopt.rollouts.questions import Questions
from skillopt.rollouts.rollout import _without_secrets
from skillopt.rollouts.upstreams import open_upstream
from skillopt.run.events import Event
from skillopt.run.records import Noted, PlanUsed
from skillopt.run.spending import LimitReachedError, Meter
from skillopt.sim.model import SimUpstream
from skillopt.training.optimizer_model import GatewayModel
from tests.helpers.cells import ALL_CELLS
from tests.helpers.lab import place
from tests.helpers.small import small_config
from tests.services.a_task import config, more_tasks
from tests.services.plans import (
    CLAUDE_TOKEN,
    Tokens,
    Window,
    agent,
    browse,
    chatgpt,
    claude,
    given_tools,
    signing_in,
    simulated,
    usage_limit,
)
from tests.services.service import Service, serving
from tests.services.wire import EVENTS, Answer, Asked, Said, good, reply

MARKERS = ("Marker_0815", "marker-access-", "marker-refresh-")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's config folder, and the token of a Claude plan in the environment."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", CLAUDE_TOKEN)
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.fail.Keyring)
    return folder


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Tokens]:
    with signing_in(monkeypatch) as vendor:
        account = ChatGptAccount()
        request = account.begin()
        account.finish(request, browse(request.url))
        yield vendor


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(good) as running:
        yield running


def on_chatgpt(folder: Path, service: Service, harness: str = "direct", **settings: Any) -> Config:
    up = {"kind": "openai", "base_url": service.url, "login": "chatgpt"}
    sandbox = {"kind": "local" if harness == "direct" else "docker"}
    values: dict[str, Any] = {
        "harness": {"name": harness}, "sandbox": sandbox, "upstreams": {"up": up},
    }  # fmt: skip
    return with_time(config(folder, service, "responses", **values | settings))


def on_claude(folder: Path, service: Service, **settings: Any) -> Config:
    up = {"kind": "anthropic", "base_url": service.url, "login": "claude-plan"}
    values: dict[str, Any] = {
        "harness": {"name": "claude-code"},
        "sandbox": {"kind": "docker"},
        "upstreams": {"up": up, "sim": {"kind": "sim"}},
        "optimizer": {"upstream": "sim", "name": "sim-1"},
        "patience": {"total": 60, "first_byte": 5},
    }
    return with_time(config(folder, service, "messages", **values | settings))


def with_time(settings: Config) -> Config:
    """A config whose tasks leave time to start a real agent on a busy machine."""
    for file in Path(settings.tasks.source).glob("*/*/task.toml"):
        file.write_text(file.read_text().replace("timeout_sec = 3", "timeout_sec = 60"))
    return settings


def ran(settings: Config, listeners: Sequence[Callable[[Event], None]] = ()) -> list[Rollout]:
    (row,) = evaluate(settings, {"none": None}, listeners=listeners)
    return list(row.rollouts)


def wire(rollout: Rollout) -> list[dict[str, Any]]:
    with rollout.open("wire.jsonl") as lines:
        return [json.loads(line) for line in lines]


def leaks(*folders: Path) -> list[str]:
    """The files and names in which a token is, packed ones too."""
    found = []
    for folder in folders:
        for file in folder.rglob("*"):
            raw = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
            if raw.startswith(b"\x28\xb5\x2f\xfd"):
                raw = subprocess.run(["zstd", "-dc"], input=raw, capture_output=True).stdout
            if any(marker.encode() in raw or marker in file.name for marker in MARKERS):
                found.append(str(file))
    return found


# --- The ChatGPT plan


def test_direct_chat_on_a_chatgpt_plan(service: Service, tokens: Tokens, tmp_path: Path) -> None:
    service.scenario = chatgpt(agent, tokens)
    (rollout,) = ran(on_chatgpt(tmp_path, service))
    assert rollout.reward.hard, rollout.message
    assert set(service.paths) == {"/v1/responses"}
    assert rollout.usage.included and rollout.usage.cost_usd == 0 and rollout.usage.prompt_tokens
    assert all(line["spoken"] == "responses" and line["status"] == 200 for line in wire(rollout))
    assert not leaks(tmp_path)


LOOK = "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | sort | uniq; echo 42 > answer.txt"


@pytest.mark.engine
@pytest.mark.parametrize("harness", ["codex", *["claude-code", "opencode"] * ALL_CELLS])
def test_every_agent_on_a_chatgpt_plan(
    harness: str, service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    def scenario(asked: Asked) -> Answer:
        shown = given_tools(asked)
        call = shown.shell(LOOK) if not shown.results else None
        return reply(asked, Said(calls=[("c", *call)]) if call else Said("Done."))

    service.scenario = chatgpt(scenario, tokens)
    (rollout,) = ran(on_chatgpt(tmp_path, service, harness, patience=60))
    assert rollout.reward.hard, rollout.message
    lines = wire(rollout)
    # What a plan does not take is named in the record, not lost in silence.
    lost = {part for line in lines for part in line["left_out"]}
    assert lost >= ({"prompt_cache_key"} if harness == "codex" else {"max_output_tokens"})
    assert "CODEX_HOME" in str(service.asked[-1].body) or harness != "codex", "it has looked"
    assert not leaks(tmp_path)
    (asked, *_) = service.asked
    if harness == "codex":
        assert asked.headers["originator"].startswith("codex")
    assert asked.bearer in tokens.valid


def test_a_token_that_ends_is_renewed_during_a_run(
    service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    def scenario(asked: Asked) -> Answer | None:
        if asked.number == 2:
            tokens.valid.clear()  # As if it had been revoked on another machine.
        return chatgpt(agent, tokens)(asked)

    service.scenario = scenario
    (rollout,) = ran(on_chatgpt(tmp_path, service))
    assert rollout.reward.hard and tokens.refreshed == 1
    assert [line["tries"] for line in wire(rollout)] == [1, 1]
    assert [asked.bearer for asked in service.asked[1:]] == sorted(
        (asked.bearer for asked in service.asked[1:]), key=lambda bearer: bearer in tokens.valid
    )


def test_calls_whose_token_is_refused_renew_it_once_however_late_they_hear(
    service: Service, tokens: Tokens
) -> None:
    late = threading.Event()

    def scenario(asked: Asked) -> Answer | None:
        if asked.bearer not in tokens.valid and asked.number == 1:
            late.wait(10)  # Its refusal comes when another call has the new token.
        return chatgpt(good, tokens)(asked)

    service.scenario = scenario
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    body = {"model": "m", "input": [item], "store": False, "stream": True}
    call = Call("responses", "/v1/responses", body, {}, 1)

    async def both() -> list[int]:
        upstream = ChatGptPlan(
            "openai", service.url, "", frozenset({"responses"}), tokens=ChatGptAccount()
        )
        await upstream.tokens.token()
        tokens.valid.clear()

        async def status() -> int:
            answer = await upstream.send(call)
            async for _ in answer.chunks:
                pass
            return answer.status

        first = asyncio.create_task(status())
        while not service.asked:
            await asyncio.sleep(0.01)
        second = await status()
        late.set()
        statuses = [await first, second]
        await upstream.close()
        return statuses

    assert asyncio.run(both()) == [200, 200]
    assert tokens.refreshed == 1


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("user_not_eligible", 403, "this ChatGPT account may not use its plan here"),
        ("unsupported_capability", 400, "use an API key for it"),
        ("route_not_supported", 400, "name another model"),
        ("invalid_user", 401, "skillopt login chatgpt"),
        ("usage_unavailable", 503, "how much of the plan is left"),
    ],
)
@pytest.mark.slow
def test_each_refusal_says_what_to_do(
    kind: str, status: int, told: str, service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    error = {"error": {"code": f"subscription_sharing_{kind}", "message": "No.", "type": "x"}}
    service.scenario = lambda asked: Answer(status, json.dumps(error).encode())
    settings = on_chatgpt(tmp_path, service, patience={"total": 1, "first_byte": 1})
    with pytest.raises(PausedError) as paused:
        ran(settings)
    assert "No." in str(paused.value) and told in str(paused.value), paused.value
    assert "marker" not in str(paused.value)


def test_a_limit_in_the_middle_of_a_stream_is_a_limit(
    service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    error = {"code": "subscription_sharing_usage_limit_exceeded", "message": "Plan limit"}
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    raw = f"event: response.failed\ndata: {json.dumps(failed)}\n\n".encode()
    service.scenario = chatgpt(lambda asked: Answer(200, raw, EVENTS), tokens)
    with pytest.raises(PausedError, match="the plan's limit is reached"):
        ran(on_chatgpt(tmp_path, service))
    assert len(service.asked) == 1, "it is not asked again"


@pytest.mark.slow
def test_a_limit_that_resets_is_waited_for(
    service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    until = time.time() + 1.5

    def scenario(asked: Asked) -> Answer | None:
        if time.time() < until:
            return usage_limit(retry_after="1.6")
        return agent(asked)

    service.scenario = chatgpt(scenario, tokens)
    seen: list[Event] = []
    (rollout,) = ran(on_chatgpt(tmp_path, service, patience=30), [seen.append])
    assert rollout.reward.hard and rollout.service_s > 1
    assert [line["tries"] for line in wire(rollout)] == [2, 1]
    (told,) = [event.windows for event in seen if isinstance(event, PlanUsed)]
    assert told[0].name == "plan" and told[0].exhausted


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.slow
def test_codexs_own_limit_is_read_in_headers_and_bodies(
    headers: bool, service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    """As ChatGPT's Codex backend tells it."""

    def scenario(asked: Asked) -> Answer:
        if asked.number > 1:
            return agent(asked)
        error = {
            "type": "usage_limit_reached", "message": "The usage limit has been reached",
            "plan_type": "plus", "resets_in_seconds": 1, "resets_at": time.time() + 1,
        }  # fmt: skip
        told = {
            "x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-after-seconds": "1", "retry-after": "0",
            "x-codex-secondary-used-percent": "37", "x-codex-secondary-window-minutes": "10080",
        }  # fmt: skip
        raw = json.dumps({"error": error}).encode()
        return Answer(429, raw, headers=told if headers else {})

    service.scenario = chatgpt(scenario, tokens)
    seen: list[Event] = []
    (rollout,) = ran(on_chatgpt(tmp_path, service, patience=30), [seen.append])
    assert rollout.reward.hard and rollout.service_s >= 1
    assert service.times[1] - service.times[0] >= 1
    first = next(event.windows for event in seen if isinstance(event, PlanUsed))
    names = ["five_hour", "seven_day"] if headers else ["plan"]
    assert [window.name for window in first] == names and first[0].exhausted


@pytest.mark.slow
def test_a_training_on_a_plan_ends_the_same_with_and_without_limits(
    service: Service, tokens: Tokens, tmp_path: Path, home: Path
) -> None:
    window = Window(15, 2.0)

    def limited(asked: Asked) -> Answer | None:
        if window.admits():
            return simulated(asked)
        return usage_limit(retry_after=str(max(0.1, window.ends - time.time())))

    results, skills = [], []
    for name, scenario in (("free", simulated), ("limited", limited)):
        service.scenario = chatgpt(scenario, tokens)
        plan = {"kind": "openai", "base_url": service.url, "login": "chatgpt"}
        on_plan = {"target.upstream": "plan", "optimizer.upstream": "plan", "upstreams.plan": plan}
        result = train(
            small_config(
                tmp_path / name,
                **on_plan,
                **{"patience": 60, "train.epochs": 1, "final.test": False},
            )
        )
        results.append([(row["action"], row["gate"]) for row in result.history])
        skills.append(result.best.text)
    assert results[0] == results[1] and skills[0] == skills[1] and result.done
    assert any(action.startswith("accept") for action, _ in results[0])
    assert window.refusals, "the limit was met"
    spent = json.loads((result.folder / "summary.json").read_text())["spent"]
    assert spent["included"] is True and spent["usd"] == 0 and spent["tokens"] > 1000
    assert spent["plans"]["plan"][0]["name"] == "plan"
    shown = CliRunner().invoke(main, ["show", str(result.folder)]).output
    assert "included in a plan" in shown and "plan of plan: " in shown
    assert not leaks(tmp_path)


def test_nobody_is_signed_in(service: Service, tmp_path: Path) -> None:
    with pytest.raises(AccountError, match="run 'skillopt login chatgpt'"):
        ran(on_chatgpt(tmp_path, service))
    assert not service.asked


# --- The Claude plan


@pytest.mark.engine
def test_claude_code_on_its_users_plan(service: Service, tmp_path: Path, home: Path) -> None:
    """The vendor gets what the program sent, byte for byte, and the other way round."""
    service.scenario = claude(good, Window(100, 3600))
    seen: list[Event] = []
    (rollout,) = ran(on_claude(tmp_path, service), [seen.append])
    assert rollout.reward.hard, rollout.message
    assert set(service.paths) == {"/v1/messages?beta=true"}
    for asked, raw in zip(service.asked, service.raw, strict=True):
        assert asked.headers["user-agent"].startswith("claude-cli/")
        assert "x-claude-code-session-id" in asked.headers and "x-api-key" not in asked.headers
        betas = asked.headers["anthropic-beta"].split(",")
        assert {"oauth-2025-04-20", "extended-cache-ttl-2025-04-11"} <= set(betas)
        first, second, *_ = asked.body["system"]
        assert first["text"].startswith("x-anthropic-billing-header: ")
        assert second["text"].startswith("You are a Claude")
        assert raw != json.dumps(asked.body).encode() and json.loads(raw) == asked.body
    assert rollout.usage.included and rollout.usage.prompt_tokens
    assert all(line["left_out"] == [] for line in wire(rollout))
    (terms,) = [e.text for e in seen if isinstance(e, Noted) and "unmodified Claude Code" in e.text]
    told = [event for event in seen if isinstance(event, PlanUsed)]
    assert told and told[0].service == "up" and told[0].windows[0].name == "five_hour"
    with rollout.open("agent.stdout.jsonl") as printed:
        text = printed.read().decode()
    assert '"rate_limit_event"' in text, "its own headers reach the program"
    assert "org-of-the-user" not in text
    assert not leaks(tmp_path, home)
    again: list[Event] = []
    ran(on_claude(tmp_path / "again", service), [again.append])
    assert not any(isinstance(e, Noted) and e.text == terms for e in again), "told once"


@pytest.mark.engine
def test_the_optimizer_by_claude_code_on_its_users_plan(
    service: Service, tmp_path: Path, home: Path
) -> None:
    order = '{"reasoning": "r", "order": [2, 1]}'

    def scenario(asked: Asked) -> Answer:
        return reply(asked, Said(calls=[("toolu_1", "StructuredOutput", order)]))

    service.scenario = claude(scenario, Window(100, 3600))
    asks = {"upstream": "up", "name": "m", "harness": "claude-code"}
    settings = on_claude(tmp_path, service, target=SIM, optimizer=asks)
    with (
        open_upstream(settings.upstreams["up"]) as upstream,
        Gateway({"up": upstream}, tmp_path / "s", lambda *_: None) as gateway,
    ):
        questions = Questions(settings, gateway)

        def ask(program: str) -> Ranking:
            model = GatewayModel(
                gateway, ModelSpec("up", "m"), "1", 1, tmp_path, lambda event: None, Meter(), {},
                open=questions.open, program=program,
            )  # fmt: skip
            return model.ask("rank", "2 edits", "be good", "rank them", Ranking)

        assert ask(settings.caller("optimizer")).order == [2, 1]
        with pytest.raises(PlanError, match="a Claude plan is for Claude Code itself"):
            ask("direct")
        questions.close()
    (asked,) = service.asked
    assert asked.headers["user-agent"].startswith("claude-cli/") and asked.bearer == CLAUDE_TOKEN
    assert not leaks(tmp_path, home)


HOSTILE = (
    # Claude Code hides the token from its tools, but not what the kernel tells.
    "T=$(cat /proc/*/environ | tr '\\0' '\\n' | sed -n s/^CLAUDE_CODE_OAUTH_TOKEN=//p | head -1);"
    ' echo "$T" > plain.txt; echo 42 > answer.txt; echo "$T"; echo "$T" >&2;'
    ' printf "x%s" "$T" | base64 -w0 > "$T"; printf %s "$T" | rev > back;'
    ' mkfifo "$T.pipe"; mkdir "$T.d" "$(printf %s "$T" | rev).d";'
    ' mkdir closed; echo "$T" > closed/t; chmod 0 closed; cat /proc/*/cmdline | tr "\\0" " "'
)
"""What a hostile task has its agent do with the token that is in its environment."""


@pytest.mark.engine
def test_a_hostile_task_leaves_the_token_nowhere(
    service: Service, tmp_path: Path, home: Path
) -> None:
    images = _images()

    def scenario(asked: Asked) -> Answer:
        call = asked.shell(HOSTILE) if not asked.results else None
        said = Said(calls=[("toolu_1", *call)]) if call else Said(f"It is {CLAUDE_TOKEN}.")
        return reply(asked, said)

    service.scenario = claude(scenario, Window(100, 3600))
    settings = on_claude(tmp_path, service)
    for tests in tmp_path.glob("tasks/test/*/tests/test.sh"):
        look = "env; cat /proc/*/environ /proc/*/cmdline; cat -- * */* 2>/dev/null\n"
        tests.write_text(look + tests.read_text())
    for image in tmp_path.glob("tasks/test/*/environment/Dockerfile"):
        image.write_text(image.read_text() + "ENV ANTHROPIC_API_KEY=sk-x ANTHROPIC_AUTH_TOKEN=y\n")
    (rollout,) = ran(settings)
    assert rollout.reward.hard, rollout.message
    seen = json.dumps(service.asked[-1].body)
    assert CLAUDE_TOKEN in seen, "the attack has worked inside the sandbox"
    arguments = re.findall(r"claude.{0,20}--model.{0,400}", seen)
    assert not any("Marker" in found for found in arguments)
    assert rollout.answer.startswith("It is ") and CLAUDE_TOKEN not in rollout.answer
    assert not leaks(tmp_path, home)
    for image in _images() - images:
        shown = subprocess.run(["docker", "inspect", image], capture_output=True, text=True).stdout
        assert "Marker" not in shown


@pytest.mark.parametrize("on_plan", [True, False])
def test_work_that_breaks_off_is_not_kept_with_a_token_in_it(on_plan: bool, tmp_path: Path) -> None:
    plan = ClaudePlan(
        "anthropic", "http://127.0.0.1:1", "CLAUDE_CODE_OAUTH_TOKEN", frozenset({"messages"})
    )
    work = tmp_path / "work"
    work.mkdir()
    with place(plan if on_plan else SimUpstream()) as site:
        (work / "file").write_text(CLAUDE_TOKEN)
        with _without_secrets(site, work):
            pass
        assert bool(leaks(work)) is not on_plan and (work / "file").is_file()
        with pytest.raises(SandboxError), _without_secrets(site, work):
            raise SandboxError("the engine is gone")
        assert work.exists() is not on_plan


def _images() -> set[str]:
    found = subprocess.run(["docker", "images", "-q"], capture_output=True, text=True)
    return set(found.stdout.split())


@pytest.mark.slow
@pytest.mark.engine
def test_a_run_waits_for_a_five_hour_window_and_ends_with_the_same_result(
    service: Service, tmp_path: Path
) -> None:
    service.scenario = claude(good, Window(1000, 3600))
    settings = on_claude(tmp_path / "free", service)
    more_tasks(tmp_path / "free", 1)
    wanted = [(r.task.name, r.reward, r.status) for r in ran(settings)]
    window = Window(3, 3.0)  # Of the four calls that two rollouts make.
    service.scenario = claude(good, window)
    settings = on_claude(tmp_path / "limited", service)
    more_tasks(tmp_path / "limited", 1)
    seen: list[Event] = []
    found = ran(settings, [seen.append])
    assert [(r.task.name, r.reward, r.status) for r in found] == wanted
    assert window.refusals and max(r.service_s for r in found) > 1
    assert {r.status for r in found} == {Status.COMPLETED}
    used = [event.windows[0] for event in seen if isinstance(event, PlanUsed)]
    assert any(one.exhausted and one.name == "five_hour" for one in used)
    assert not used[-1].exhausted


@pytest.mark.slow
@pytest.mark.engine
def test_a_window_that_resets_after_patience_pauses_with_the_time(
    service: Service, tmp_path: Path
) -> None:
    service.scenario = claude(good, Window(1, 7200, "7d"))
    settings = on_claude(tmp_path, service)
    with pytest.raises(PausedError, match=r"limit is reached \(week used up, resets") as paused:
        ran(settings)
    assert "longer than patience allows" in str(paused.value)
    assert len(service.asked) == 2
    service.scenario = claude(good, Window(100, 3600))
    (rollout,) = ran(settings)
    assert rollout.reward.hard, "the same command goes on"


# --- Budgets


@pytest.mark.slow
def test_a_share_of_the_window_can_be_budgeted(
    service: Service, tokens: Tokens, tmp_path: Path
) -> None:
    ends = time.time() + 3.0

    def scenario(asked: Asked) -> Answer:
        share = 25 * asked.number if time.time() < ends else 1
        found = agent(asked)
        headers = {
            "x-codex-primary-used-percent": str(share),
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(ends if time.time() < ends else ends + 18000),
        }
        return replace(found, headers=headers)

    service.scenario = chatgpt(scenario, tokens)
    settings = on_chatgpt(tmp_path, service, limits={"plan_share": 0.5})
    more_tasks(tmp_path, 2)
    with pytest.raises(LimitReachedError, match=r"limits.plan_share: 50% of a window may be used"):
        ran(settings)
    assert len(service.asked) == 2, "one rollout"
    time.sleep(max(0.0, ends - time.time()))
    assert all(rollout.reward.hard for rollout in ran(settings))


def test_tokens_are_counted_on_a_plan(service: Service, tokens: Tokens, tmp_path: Path) -> None:
    service.scenario = chatgpt(agent, tokens)
    settings = on_chatgpt(tmp_path, service, limits={"tokens": 1200})
    more_tasks(tmp_path, 4)
    with pytest.raises(LimitReachedError, match=r"limits.tokens: [\d,]+ of 1,200 used"):
        ran(settings)


# --- What is refused at the start


CLAUDE_UP = {"up": {"kind": "anthropic", "login": "claude-plan"}, "sim": {"kind": "sim"}}
SIM = {"upstream": "sim", "name": "sim-1"}
UP = {"upstream": "up", "name": "m"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"harness": {"name": "direct"}}, "harness.name: direct: a Claude plan is for Claude Code"),
        ({"harness": {"name": "codex"}}, "harness.name: codex: a Claude plan is for Claude Code"),
        ({"harness": {"name": "opencode"}}, "harness.name: opencode: a Claude plan is for Claude"),
        ({"harness": {"name": "mine:Agent"}}, "harness.name: mine:Agent: a Claude plan is for"),
        ({"optimizer": UP}, "optimizer.harness: direct: a Claude plan is for"),
        ({"judge": UP}, "judge: direct: a Claude plan is for Claude Code"),
        ({"sandbox": {"kind": "mine:Backend"}}, "it must be docker"),
        ({"sandbox": {"network": "registries"}}, "sandbox.network: with a Claude plan"),
        ({"sandbox": {"network": ["pypi.org"]}}, "sandbox.network: with a Claude plan"),
        ({"sandbox": {"verifier_network": "open"}}, "sandbox.verifier_network: with a Claude plan"),
        ({"sandbox": {"handover": "container"}}, "sandbox.handover: container: with a Claude plan"),
        ({"target": {**UP, "sampling": {"temperature": 0}}}, "target.sampling: the requests of"),
        ({"target": SIM, "harness": {"name": "direct"}, "limits": {"usd": 5}}, ""),
        ({"upstreams": {"up": {"kind": "openai", "login": "claude-plan"}}},
         "is for kind anthropic"),
        ({"upstreams": {"up": {"kind": "anthropic", "login": "chatgpt"}}}, "is for kind openai"),
        ({"upstreams": {"up": {"kind": "openai", "login": "chatgpt", "key_env": "K"}}},
         "login: chatgpt takes the place of a key"),
        ({"upstreams": {"up": {"kind": "openai", "login": "chatgpt", "protocols": ["chat"]}}},
         "there is only one"),
        ({"upstreams": {"up": {"kind": "openai", "login": "chatgpt",
                               "base_url": "https://api.openai.com.example.org"}}},
         "sends your token to the vendor's own address"),
        ({"upstreams": {"up": {"kind": "anthropic", "login": "claude-plan",
                               "base_url": "http://api.anthropic.com"}}},
         "sends your token to the vendor's own address"),
        ({"upstreams": {"up": {"kind": "openai", "login": "codex"}}}, "login"),
    ],
)  # fmt: skip
def test_wrong_pairings_are_refused_with_the_reason(
    settings: dict[str, Any], told: str, service: Service, tmp_path: Path
) -> None:
    base: dict[str, Any] = {"upstreams": CLAUDE_UP}
    if not told:
        on_claude(tmp_path, service, **base | settings)
        return
    with pytest.raises(ConfigError) as refused:
        on_claude(tmp_path, service, **base | settings)
    assert told in str(refused.value)
    assert CLAUDE_TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"target": {**UP, "sampling": {"temperature": 0.5}}}, "target.sampling.temperature: a C"),
        ({"optimizer": {**UP, "sampling": {"top_p": 0.5}}}, "optimizer.sampling.top_p: a ChatGPT"),
        ({"limits": {"usd": 5}}, "limits.usd: plans pay for all model calls"),
        ({"limits": {"stages": {"gate": {"usd": 5}}}}, "limits.stages.gate.usd: plans pay"),
        ({"limits": {"plan_share": 0.5}, "target": SIM, "optimizer": SIM,
          "upstreams": {"sim": {"kind": "sim"}}}, "limits.plan_share: no model is paid by a plan"),
        ({"limits": {"plan_share": 1.5}}, "plan_share"),
    ],
)  # fmt: skip
def test_what_a_plan_does_not_offer_is_refused(
    settings: dict[str, Any], told: str, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        on_chatgpt(tmp_path, service, **settings)
    assert told in str(refused.value)


def test_another_agent_on_the_command_line_is_refused_too(service: Service, tmp_path: Path) -> None:
    settings = on_claude(tmp_path, service)
    with pytest.raises(ConfigError, match="harness: codex: a Claude plan is for Claude Code"):
        evaluate(settings, {"none": None}, harnesses=["codex"])
    assert not service.asked


def test_a_task_whose_tests_get_the_whole_container_is_refused(
    service: Service, tmp_path: Path
) -> None:
    settings = on_claude(tmp_path, service)
    for test in tmp_path.glob("tasks/test/*/tests/test.sh"):
        test.write_text("test -f /opt/made && echo 1 > $VERIFIER_LOGS/reward.txt\n")
    with pytest.raises(ConfigError, match="its tests look at the agent's whole container"):
        evaluate(settings, {"none": None})
    assert not service.asked


def test_the_token_must_be_there(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN")
    with pytest.raises(PlanError, match="run 'claude setup-token'"):
        ran(on_claude(tmp_path, service))
