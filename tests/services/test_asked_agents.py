"""The optimizer's model, asked by a command-line agent: what the agents are given, what they print
in all of their ways to end; and the real ones, in containers, with services that do as they like.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.asking import AgentChat, PromptTooLongError, asked_agent
from harnesses.agents.cli_agent import (
    PROMPT_FILE,
    SCHEMA_FILE,
    SYSTEM_FILE,
    AgentReportedError,
    Launch,
    Question,
)
from harnesses.agents.codex import strict
from harnesses.agents.registry import HarnessError
from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.patience import Patience
from harnesses.gateway.upstreams import HttpUpstream
from harnesses.protocols.base import Conversation, Message
from sandboxes.base import SandboxError
from skillopt import train
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.optimizer import replies
from skillopt.optimizer.model import (
    OptimizerRefusedError,
    OptimizerReplyError,
    OptimizerUnavailableError,
)
from skillopt.optimizer.replies import FailureReflection, Ranking
from skillopt.rollouts.questions import Questions, asked_by
from skillopt.run.records import Replied
from skillopt.run.spending import Meter
from skillopt.sim.model import SimUpstream
from skillopt.training.optimizer_model import GatewayModel
from tests.helpers.cells import ALL_CELLS
from tests.helpers.small import small_config
from tests.services.service import Scenario, Service, serving
from tests.services.wire import Asked, Protocol, Said, refused, reply

AGENTS = ("claude-code", "codex")
OWN: dict[str, Protocol] = {"claude-code": "messages", "codex": "responses"}
SCHEMA = FailureReflection.model_json_schema()
ORDER = '{"reasoning": "r", "order": [2, 1]}'


def launched(name: str, **changes: Any) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Command, files and environment of a question."""
    agent = asked_agent(name)
    asked: dict[str, Any] = {
        "model": "m", "system": "be good", "prompt": "p" * 300_000, "schema": SCHEMA,
        "token": "t", "base_url": "http://127.0.0.1:1", "silence_s": 1800.0,
    }  # fmt: skip
    launch = agent.asking.launch(agent.toolchain, Question(**asked | changes))
    return list(launch.commands[0]), dict(launch.files), dict(launch.env)


def test_codex_gets_instructions_where_there_is_no_system_prompt() -> None:
    """It does not start with an empty file of them."""
    _, files, _ = launched("codex", system=" ")
    assert files[SYSTEM_FILE].strip() and "be good" not in files.values()


@pytest.mark.parametrize("name", AGENTS)
def test_a_prompt_of_any_length_is_no_argument(name: str) -> None:
    command, files, _ = launched(name)
    assert max(map(len, command)) < 128 * 1024
    assert files[PROMPT_FILE] == "p" * 300_000 and f"< /home/agent/{PROMPT_FILE}" in command[2]
    assert "be good" in files.values()


def test_half_a_character_of_a_reply_does_no_harm_in_a_prompt(tmp_path: Path) -> None:
    Launch([], {}, {"a/prompt.txt": "é \ud83d."}).write_files(tmp_path)
    assert (tmp_path / "a" / "prompt.txt").read_text("utf-8") == "é ?."


def test_claude_code_gets_no_tools_no_settings_and_the_schema_if_it_fits() -> None:
    command, _, env = launched("claude-code")
    assert command[command.index("--tools") + 1] == ""
    assert command[command.index("--setting-sources") + 1] == ""
    for flag in ("--strict-mcp-config", "--disable-slash-commands", "--no-session-persistence"):
        assert flag in command
    assert json.loads(command[command.index("--json-schema") + 1]) == SCHEMA
    assert env["API_TIMEOUT_MS"] == "1800000"
    long = SCHEMA | {"description": "é" * 70_000}
    assert "--json-schema" not in launched("claude-code", schema=long)[0]
    assert "--json-schema" not in launched("claude-code", schema=None)[0]


def test_codex_gets_the_schema_as_its_service_wants_it() -> None:
    _, files, _ = launched("codex")
    given = json.loads(files[SCHEMA_FILE])
    parts = [given, *given["$defs"].values()]
    for part in parts:
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
    made = strict(replies.Compression.model_json_schema())
    assert "files" in made["required"] and "default" not in json.dumps(made)
    named = {"type": "object", "properties": {"default": {"$ref": "#/$defs/A", "title": "x"}}}
    assert strict(named)["properties"] == {"default": {"$ref": "#/$defs/A"}}


def test_only_what_can_be_asked_is() -> None:
    with pytest.raises(HarnessError, match="use claude-code or codex"):
        asked_agent("opencode")


def result(**fields: Any) -> str:
    return json.dumps({"type": "result", "subtype": "success", "is_error": False, **fields})


def item(text: str) -> str:
    return json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": text}})


DONE = json.dumps({"type": "turn.completed", "usage": {}})
FAILED = json.dumps({"type": "turn.failed", "error": {"message": "it broke"}})


@pytest.mark.parametrize(
    ("name", "stdout", "text"),
    [
        ("claude-code", result(structured_output={"a": 1}, result="Done."), '{"a": 1}'),
        ("claude-code", result(structured_output={}, result="Done."), "{}"),
        ("claude-code", "a warning\n" + result(result="no JSON"), "no JSON"),
        ("claude-code", result(result="", structured_output=None), ""),
        ("claude-code", result(is_error=True, subtype="error_max_structured_output_retries"), ""),
        ("codex", f"{item('first')}\n{item('last')}\n{DONE}", "last"),
        ("codex", DONE, ""),
        ("codex", f"{FAILED}\n{item('again')}\n{DONE}", "again"),
    ],
)
def test_what_an_agent_printed_is_read(name: str, stdout: str, text: str) -> None:
    assert asked_agent(name).asking.read(stdout) == text


@pytest.mark.parametrize(
    ("name", "stdout", "why"),
    [
        ("claude-code", "", "no result was printed"),
        ("claude-code", result(is_error=True, result="Not logged in"), "Not logged in"),
        ("claude-code", result(is_error=True, subtype="error_during_execution"), "error_during_"),
        ("codex", "", "no reply was printed"),
        ("codex", FAILED, "it broke"),
        ("codex", f"{item('half')}\n{FAILED}", "it broke"),
        ("codex", "\u0000{", "no reply was printed"),
    ],
)
def test_what_is_no_reply_is_an_error(name: str, stdout: str, why: str) -> None:
    with pytest.raises(AgentReportedError, match=why):
        asked_agent(name).asking.read(stdout)


@pytest.mark.parametrize("name", AGENTS)
def test_a_prompt_that_no_agent_takes_starts_nothing(name: str) -> None:
    agent = asked_agent(name)
    shown = Conversation("m", (Message("user", "x" * (agent.asking.most_chars + 1)),))
    chat = AgentChat(agent, session=None, site=None, silence_s=1.0)  # type: ignore[arg-type]
    with pytest.raises(PromptTooLongError, match="takes prompts of"):
        chat.say(shown)


def test_an_agent_needs_containers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.harness: 'codex' needs sandboxes"):
        small_config(tmp_path, **{"optimizer.harness": "codex"})
    own = {"sandbox": {"kind": "docker"}, "optimizer.harness": "codex"}
    config = small_config(tmp_path, **own)
    assert config.caller("optimizer") == "codex" and config.caller("judge") == "direct"
    assert config.caller("target") == config.harness.name
    assert asked_by(config)["harness"]["name"] == "codex"
    assert asked_by(small_config(tmp_path)) == {}


@dataclass
class Asker:
    """Asks a scenario's service by an agent."""

    service: Service
    records: list[object]
    ask: Callable[[Scenario], Ranking]


@pytest.fixture
def asker(request: pytest.FixtureRequest, tmp_path: Path, quick_retries: None) -> Iterator[Asker]:
    name, protocol = request.param
    config = small_config(tmp_path, **{"sandbox": {"kind": "docker"}, "optimizer.harness": name})
    records: list[object] = []
    with serving(lambda asked: None) as service:
        upstream = HttpUpstream("openai-compatible", service.url, "", frozenset({protocol}))
        patience = Patience(total_s=3.0, first_byte_s=0.3)
        with Gateway({"up": upstream}, tmp_path / "s", lambda *_: 0.0, patience) as gateway:
            questions = Questions(config, gateway)

            def ask(scenario: Scenario) -> Ranking:
                service.scenario = scenario
                model = GatewayModel(
                    gateway, ModelSpec("up", "m", {}), "1", 1, tmp_path, records.append, Meter(),
                    {}, silence_s=20.0, open=questions.open, budget=questions.budget,
                )  # fmt: skip
                return model.ask("rank", "2 edits", "be good", "rank them", Ranking)

            try:
                yield Asker(service, records, ask)
            finally:
                questions.close()


def test_nothing_is_asked_once_a_run_is_being_ended(tmp_path: Path) -> None:
    own = {"sandbox": {"kind": "docker"}, "optimizer.harness": "codex"}
    with Gateway({"up": SimUpstream()}, tmp_path / "s", lambda *_: 0.0) as gateway:
        questions = Questions(small_config(tmp_path, **own), gateway)
        questions.cancel()
        with pytest.raises(SandboxError, match="being ended"):
            questions.check()


def by_tool(asked: Asked, arguments: str) -> Said:
    """A reply as the agent wants it: a call of its tool if it has one."""
    if any(tool["name"] == "StructuredOutput" for tool in asked.tools):
        return Said(calls=[("call_1", "StructuredOutput", arguments)])
    return Said(arguments)


def good(asked: Asked) -> Any:
    return reply(asked, by_tool(asked, ORDER))


def in_prose(asked: Asked) -> Any:
    """A model that ends with a text in place of the call: Claude Code then exits with 0."""
    return reply(asked, Said(f"Here you are:\n```json\n{ORDER}\n```"))


def spare_field(asked: Asked) -> Any:
    """A field more, which Claude Code refuses to pass on, and the project does not mind."""
    return reply(asked, by_tool(asked, ORDER[:-1] + ', "mood": "good"}'))


def nonsense_first(asked: Asked) -> Any:
    return good(asked) if "cannot be used" in json.dumps(asked.body) else reply(asked, Said("Hm."))


def used_up(asked: Asked) -> Any:
    return refused(429, "Your credit balance is too low", "billing_error")


def too_long(asked: Asked) -> Any:
    return refused(400, "prompt is too long: 300000 tokens > 200000 maximum")


def down(asked: Asked) -> Any:
    return refused(401, "invalid x-api-key", "authentication_error")


def tools_for_ever(asked: Asked) -> Any:
    """A model that calls a tool which was not offered, whatever it is told."""
    return reply(asked, Said(calls=[(f"call_{asked.number}", "shell", '{"command": "id"}')]))


CASES: dict[str, tuple[Scenario, type[Exception] | None, str]] = {
    "good": (good, None, ""),
    "in prose": (in_prose, None, ""),
    "a field more": (spare_field, None, ""),
    "nonsense first": (nonsense_first, None, ""),
    "nonsense": (lambda asked: reply(asked, Said("Hm.")), OptimizerReplyError, "malformed reply"),
    "too long": (too_long, OptimizerRefusedError, "prompt is too long"),
    "tools for ever": (tools_for_ever, OptimizerReplyError, "budget of 24 model requests"),
    "no key": (down, OptimizerUnavailableError, "invalid x-api-key"),
    "no credit": (used_up, OptimizerUnavailableError, "credit balance is too low"),
}
"""What a service does, the error that it is, and words of it."""
CELLS = [
    pytest.param((name, protocol), case, id=f"{name}-{protocol}-{case}")
    for number, case in enumerate(CASES)
    for at, name in enumerate(AGENTS)
    for protocol in (OWN[name], "chat")
    if ALL_CELLS or ((protocol == "chat") == (number % 3 == 2) and at == number % 2)
    if ALL_CELLS or case != "tools for ever"  # It takes ten seconds.
]


@pytest.mark.engine
@pytest.mark.parametrize(("asker", "case"), CELLS, indirect=["asker"])
def test_the_real_agents_with_services_that_do_as_they_like(asker: Asker, case: str) -> None:
    scenario, error, words = CASES[case]
    if error is None:
        assert asker.ask(scenario).order == [2, 1]
    else:
        with pytest.raises(error, match=words):
            asker.ask(scenario)
    if case == "a field more":
        assert len(asker.service.asked) <= 2
    for asked in asker.service.asked:
        names = {tool.get("name") or tool.get("type") for tool in asked.tools}
        assert names <= {"StructuredOutput", "apply_patch"}, names
        said = json.dumps(asked.body)
        assert "be good" in said and "rank them" in said
        assert len(said) < 12_000, "its own prompt is not small"
    if error is not OptimizerUnavailableError:
        (record,) = [record for record in asker.records if isinstance(record, Replied)]
        assert record.usage.requests >= (error is not OptimizerRefusedError)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_every_form_of_reply_gets_through(name: str, tmp_path: Path) -> None:
    config = small_config(tmp_path, **{"sandbox": {"kind": "docker"}, "optimizer.harness": name})
    forms = [
        form
        for form in vars(replies).values()
        if isinstance(form, type) and issubclass(form, replies._Reply)
        if form.__name__ in FORMS
    ]
    assert len(forms) == len(FORMS)
    with Gateway({"up": SimUpstream()}, tmp_path / "s", lambda *_: 0.0) as gateway:
        questions = Questions(config, gateway)
        for form in forms if ALL_CELLS else forms[AGENTS.index(name) :: 4]:
            model = GatewayModel(
                gateway, ModelSpec("up", "sim-1"), "1", 1, tmp_path, lambda event: None, Meter(),
                {}, open=questions.open,
            )  # fmt: skip
            prompt = "# The skill\n\n```\n---\nname: a\ndescription: b\n---\n\n# A\n```\n"
            assert isinstance(model.ask("x", form.__name__, "be good", prompt, form), form)
        questions.close()


FORMS = (
    "FailureReflection", "SuccessReflection", "Merge", "Ranking", "ChosenRanking", "Repair",
    "Rewrite", "Guidance", "Notes",
)  # fmt: skip


TRAININGS: list[tuple[str, dict[str, Any]]] = [
    ("claude-code", {"kind": "skillopt"}),  # Replies by a schema.
    ("codex", {"kind": "textgrad", "epochs": 1, "batch_size": 2}),  # Free text, no system prompt.
    ("codex", {"kind": "skillopt"}),
    ("claude-code", {"kind": "textgrad", "epochs": 1, "batch_size": 2}),
    ("codex", {"kind": "gepa", "rollouts": 10}),
    ("claude-code", {"kind": "gepa", "rollouts": 10}),
    ("codex", {"kind": "evoskill", "iterations": 2}),
    ("codex", {"kind": "trace2skill", "skills": 1}),
    ("codex", {"kind": "one_shot"}),
]


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), TRAININGS if ALL_CELLS else TRAININGS[:2])
def test_a_training_ends_as_when_the_model_is_asked_directly(
    name: str, method: dict[str, Any], tmp_path: Path
) -> None:
    if method["kind"] == "gepa":
        pytest.importorskip("gepa")

    def settings(folder: str, **others: Any) -> Config:
        (tmp_path / folder).mkdir()
        base = {"train.epochs": 1, "final.test": False, "method": method}
        return small_config(tmp_path / folder, **base, **others)

    plain = train(settings("plain"))
    own = {"sandbox": {"kind": "docker"}, "optimizer.harness": name}
    config = settings("asked", **own)
    asked = train(config)
    assert asked.best.digest == plain.best.digest != plain.initial.digest
    log = asked.folder / "events.jsonl"
    replied = [json.loads(line) for line in log.read_text().splitlines() if '"replied"' in line]
    assert replied and all(one["usage"]["requests"] == 1 for one in replied)
    wires = list(asked.folder.glob("steps/*/wire.jsonl"))
    assert sum(len(wire.read_text().splitlines()) for wire in wires) == len(replied)
    before = log.read_bytes()
    assert train(config).best.digest == asked.best.digest
    assert log.read_bytes() == before  # Nothing is asked again.
