"""What the documents name in backticks exists: names, paths, config keys, commands, options."""

from __future__ import annotations

import pytest

from tests.helpers.documents import ROOT, documents
from tests.helpers.identifiers import exists, spans

pytestmark = pytest.mark.slow

FOREIGN = {
    "options of pip": {"--no-deps"},
    "headers of HTTP": {"authorization: Bearer"},
    "names in the protocols of services and agents": {"multi_agent_v1"},
    "made by 'make docs'": {"build/site"},
    "ends of addresses of services": {"/api/v3"},
    "options and variables of model servers and clouds": {
        "--enable-auto-tool-choice", "--tool-call-parser", "OLLAMA_CONTEXT_LENGTH",
        "GOOGLE_APPLICATION_CREDENTIALS", "model_list", "models: read",
    },
    "options, variables and files of Ray": {
        "--include-dashboard=false", "--node-ip-address", "RAY_AUTH_TOKEN_PATH", "runtime_env",
        "~/.ray/auth_token",
    },
    "left by agents": {"solution.py"},
    "files of projects of Python": {"setup.py"},
    "placeholders": {"GROUP__TOOL", "HARNESS", "RESOURCE"},
    "arguments of other packages": {"max_metric_calls"},
    "parts of what a command prints": {"BAD", "price: unknown"},
}  # fmt: skip
"""Not the project's own, or not names: why, and which."""


def prose(document: str) -> list[str]:
    return spans((ROOT / document).read_text("utf-8"))


@pytest.mark.parametrize("document", documents())
@pytest.mark.slow
def test_everything_that_a_document_names_exists(document: str) -> None:
    foreign = set().union(*FOREIGN.values())
    missing = {span for span in prose(document) if exists(span) is False}
    assert sorted(missing - foreign) == []


def test_the_foreign_names_are_in_the_documents_and_would_be_missed() -> None:
    named = {span for document in documents() for span in prose(document)}
    for reason, spans_ in FOREIGN.items():
        assert [s for s in spans_ if s not in named or exists(s) is not False] == [], reason


def test_most_of_what_is_named_is_of_a_form_that_is_checked() -> None:
    named = [span for document in documents() for span in prose(document)]
    checked = [span for span in named if exists(span) is not None]
    assert len(checked) > 400 and len(checked) / len(named) > 0.8


@pytest.mark.parametrize(
    "span",
    [
        "skillopt.train", "skillopt.train(config, fork=…)", "harnesses.base.Request.image",
        "skillopt.core", "SandboxConfig.kind", "RolloutSite", "open_upstream", "run()", "launch",
        "CLI_AGENTS", "infra_error", "skillopt/run/records.py", "configs/ablations/",
        "skillopt/cli/NAME_command.py", "steps/*/patches.json", "events.jsonl", "task.toml",
        "~/.claude/skills/NAME", "train.batch_size", "train.batch_size: 40", "minibatch: 8",
        "upstreams.sim.seed", "skill: {init: installed}", "gate: {metric: hard}", "base:",
        "stop: [{kind: no_accept, steps: 6}]", "mode: interactive", "--fork NEW",
        "skillopt show RUN", "skillopt runs list", "skillopt eval SKILL… --config CONFIG",
        "make bench", "make test WORKERS=2", "python -m benchmarks soak",
        "skillopt-harness[wandb]", "quickstart/codex", "no-slow-update", "soak",
    ],
)  # fmt: skip
def test_what_exists_is_found(span: str) -> None:
    assert exists(span) is True


@pytest.mark.parametrize(
    "span",
    [
        "skillopt.trian", "skillopt.train(config, forks=…)",
        "harnesses.base.Request.imagine", "skillopt.cores", "SandboxConfig.kinds", "RolloutSight",
        "make_upstream", "runs_away()", "lunch", "PROGRAMMES", "infra_errors",
        "skillopt/records.py", "records.py", "configs/ablation/", "skillopt/cli/NAME_commands.py",
        "steps/*/patch.json", "event.jsonl", "tasks.toml", "~/.claude/skils/NAME",
        "train.batch", "train.batch_sizes: 40", "minibatches: 8", "upstreams.sim.sed",
        "skill: {initial: installed}", "gate: {metric: harder}", "bass:",
        "stop: [{kind: no_accepts, steps: 6}]", "mode: interactively", "--forks NEW",
        "skillopt shows RUN", "skillopt runs lists", "skillopt eval SKILL… --confg CONFIG",
        "make bnch", "make test WORKER=2", "python -m benchmark soak",
        "skillopt-harness[wandbs]", "quickstart/codecs", "no-slow-updates", "soaks",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_missed(span: str) -> None:
    assert exists(span) is False


def test_prose_is_what_is_outside_of_blocks() -> None:
    assert spans("`one`\n```python\ntwo = `no`\n```\n`three\nfour`") == ["one", "three four"]
