"""The configuration of a run: what the YAML files may say, with the defaults of the paper.

Reading them (``base:``, line numbers in errors) is :mod:`skillopt.config.loading`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from harnesses.agents.options import Options, OptionsError, check
from harnesses.agents.registry import CLI_AGENTS, agent_kind, check_backend
from harnesses.agents.registry import NAMES as HARNESSES
from harnesses.base import Mode, MountMode
from sandboxes.registry import BACKENDS, check_options, traits_of
from skillopt.config.kinds import EXECUTORS, GATES, METHODS
from skillopt.config.network import Network
from skillopt.config.section import Section
from skillopt.config.upstreams import UpstreamConfig
from skillopt.core.import_path import PATH
from skillopt.core.types import Split

TrackerName = Literal["tensorboard", "wandb", "mlflow", "opentelemetry"]
Metric = Literal["hard", "soft", "mixed"]
Schedule = Literal["constant", "linear", "cosine", "autonomous", "none"]
StageName = Literal[
    "draft", "baseline", "rollout", "reflect", "merge", "rank", "apply", "gate",
    "pairs", "slow", "meta", "final", "test", "eval",
]  # fmt: skip
"""The stages of a run, in their order; ``pairs`` are the rollouts of the slow update."""
OwnStage = Literal["reflect", "merge", "rank", "apply", "slow", "meta"]
"""Those that a function of the user's own can replace."""


def _one_of(known: Iterable[str]) -> AfterValidator:
    """Accepts one of the project's own names, or an import path."""

    def check(word: str) -> str:
        if word in known or re.match(PATH, word):
            return word
        raise ValueError(
            f"{word!r} is not one of {', '.join(known)}, nor an import path like "
            f"'my_package.module:name'{_hint(word, known)}"
        )

    return AfterValidator(check)


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class TasksConfig(Section):
    """Where the tasks come from and how they are split."""

    source: str
    """``quickstart`` or ``words``, a folder of task folders, one with train, val and test in it, or
    the import path of a source of your own."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of a source of your own."""
    exclude: tuple[str, ...] = ()
    """Names of tasks to leave out, such as one whose tests are broken."""
    seed: int = 7
    """Of the generator of quickstart and words."""
    split: tuple[int, int, int] = (2, 1, 7)
    """Proportions of train, val and test for a folder that is not split already."""


class SkillConfig(Section):
    """What training starts from, and what it may become."""

    init: str
    """A skill folder or a Markdown file; or ``empty``, ``draft`` (one-shot, by the optimizer),
    ``installed`` (one that is in the agent's own directories), ``quickstart`` or ``words``."""
    name: str = Field("", pattern=r"^[a-z0-9-]*$", max_length=64)
    """Of the skill: needed for empty, draft and installed."""
    description: str = Field("", max_length=1024)
    """Needed for empty: by it an agent decides whether to open the skill."""
    max_tokens: int = Field(2000, ge=100)
    """Of ``SKILL.md``; the optimizer is asked to compress a candidate that is longer."""
    edit_files: bool = False
    """Whether edits may also touch Markdown and script files of the folder."""
    beside: tuple[Path, ...] = ()
    """Other skills that the agent has too and that do not change: folders, or Markdown files.
    With them a skill learns to be opened for its own tasks and left alone for others'."""

    @model_validator(mode="after")
    def _is_named(self) -> SkillConfig:
        if self.init in ("empty", "draft", "installed") and not self.name:
            raise ValueError(f"name: is needed for init: {self.init}; add it")
        if self.init == "empty" and not self.description:
            raise ValueError("description: is needed for init: empty; say what the skill is for")
        return self


class LimitsConfig(Section):
    """What each sandbox may use; a task's own larger wishes for memory, CPUs and disk win."""

    memory_mb: int = Field(2048, ge=64)
    cpus: float = Field(2.0, gt=0)
    pids: int = Field(256, ge=16)
    disk_mb: int = Field(1024, ge=1)


class HarnessConfig(Section):
    """The agent that is the forward pass."""

    name: Annotated[str, _one_of(HARNESSES)] = "codex"
    """``direct``, ``codex``, ``claude-code``, ``opencode``, or the import path of your own:
    ``module:name``."""
    version: str | None = None
    """Of the agent program; the project's pinned version when absent."""
    mount: MountMode = "native"
    """How the agent is given the skill: in its place for skills, where it must find it by its
    description; as ``instructions``, in the file that it always reads, such as AGENTS.md; or
    ``both``."""
    mode: Mode = "batch"
    """Of an agent program: ``interactive`` runs the program on a terminal, as a person does."""
    options: Options = Options()
    """Of an agent program: effort, tools, MCP servers, flags, settings."""
    max_requests: int = Field(200, ge=1)
    """Model requests of one rollout; one that wants more ends as ``agent_error``."""
    max_tokens: int = Field(20_000_000, ge=1)
    """Prompt and completion tokens of one rollout, likewise."""

    @model_validator(mode="after")
    def _takes_options(self) -> HarnessConfig:
        if self.mode != "batch" and self.name not in CLI_AGENTS:
            raise ValueError(f"mode: interactive is for {', '.join(CLI_AGENTS)} only; remove it")
        if not self.options.set():
            return self
        if self.name not in CLI_AGENTS:
            raise ValueError(
                f"options: are for {', '.join(CLI_AGENTS)} only; remove them (target.sampling is "
                "added to every request)"
            )
        finds, interactive = self.mount != "instructions", self.mode == "interactive"
        rules = agent_kind(self.name).rules
        try:
            check(self.options, rules, finds_skills=finds, interactive=interactive)
        except OptionsError as error:
            raise ValueError(f"options.{error}") from error
        return self


class SandboxConfig(Section):
    """Where agents and verifiers run."""

    kind: Annotated[str, _one_of(BACKENDS)] = "docker"
    """``docker``, ``local`` (processes of this machine, which nothing isolates), or the import path
    of your own: ``module:name``."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments of the kind: ``host`` and ``patience_s`` of docker; those of your own."""
    network: Network = "none"
    """What agents may reach besides their model: ``none``; ``registries`` for the public package
    registries; a list of hosts (``pypi.org``, ``*.example.org``, ``host:8080``), by a filtering
    proxy; or ``open`` for everything."""
    verifier_network: Network = "none"
    """The same for verifiers."""
    limits: LimitsConfig = LimitsConfig()


class ModelConfig(Section):
    """A model behind one of the upstreams."""

    upstream: str
    name: str
    sampling: dict[str, JsonValue] = Field(default_factory=dict)
    """Fields added to every request as they are, such as ``temperature`` or
    ``reasoning: {effort: high}``; named as the upstream's protocol names them."""


class OptimizerConfig(ModelConfig):
    """The model that reads trajectories and proposes edits."""

    sees_answers: bool = False
    """Whether it is shown the expected answers of training tasks."""
    prompts: Path | None = None
    """Folder of templates that replace the project's own of the same names."""


class LearningRateConfig(Section):
    """The textual learning rate: how many edits a step may make (paper §3)."""

    start: int = Field(4, ge=0)
    end: int = Field(2, ge=0)
    schedule: Schedule = "cosine"
    """``autonomous`` lets the optimizer choose the number, ``none`` sets no limit."""


class TrainConfig(Section):
    """The training loop."""

    epochs: int = Field(4, ge=1)
    batch_size: int = Field(40, ge=1)
    minibatch: int = Field(8, ge=1)
    """Trajectories in one reflection."""
    accumulation: int = Field(1, ge=1)
    """Batches whose patches are merged into one step."""
    successes: bool = True
    """Whether solved rollouts are reflected on too."""
    merge_batch: int = Field(8, ge=2)
    """Patches in one merge."""
    learning_rate: LearningRateConfig = LearningRateConfig()
    update: Literal["patch", "rewrite_from_suggestions", "full_rewrite"] = "patch"
    """How a step changes the skill: by exact edits; by one rewrite that follows the edits as
    suggestions; by a rewrite for each minibatch in turn."""
    memory: bool = True
    """Whether the optimizer is shown the edits that the gate rejected."""
    skill_aware: bool = False
    """Whether failures of a rule that was there and not followed become reminders."""
    slow_update: bool = True
    """Whether each epoch but the first ends with a guidance block from paired rollouts."""
    slow_tasks: int = Field(20, ge=1)
    """Training tasks in that comparison."""
    meta_skill: bool = True
    """Whether the optimizer keeps notes for itself from the same pairs."""
    stages: dict[OwnStage, str] = Field(default_factory=dict)
    """Your own functions in place of the project's, by import path: ``rank: my_module:my_rank``."""

    @field_validator("stages")
    @classmethod
    def _are_paths(cls, stages: dict[str, str]) -> dict[str, str]:
        for stage, path in stages.items():
            if ":" not in path:
                raise ValueError(f"{stage}: {path!r} is not an import path like 'my_module:name'")
        return stages


class GateConfig(Section):
    """The gate on the selection split."""

    kind: Annotated[str, _one_of(GATES)] = "strict"
    """``strict`` (the paper's), or the import path of a gate of your own."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """More keyword arguments of a gate of your own."""

    metric: Metric = "hard"
    mix: float = Field(0.5, ge=0, le=1)
    """Weight of the soft reward where the metric is ``mixed``; the hard one has the rest."""


class MethodConfig(Section):
    """What runs a training."""

    kind: Annotated[str, _one_of(METHODS)] = "skillopt"
    """``skillopt``, or the import path of a method of your own."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of a method of your own."""


class ExecutorConfig(Section):
    """Where attempts at rollouts run."""

    kind: Annotated[str, _one_of(EXECUTORS)] = "local"
    """``local`` for this machine, or the import path of an executor of your own."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """For an executor of your own, which finds them in the config that it is given."""


class SpendingConfig(Section):
    """Limits on what is spent; all of them count over every start of a run."""

    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    rollouts: int | None = Field(None, ge=1)
    """Those that are really run; what comes from the store is free."""
    seconds: float | None = Field(None, gt=0)
    """Wall time."""


class RunLimitsConfig(SpendingConfig):
    """Limits of a run. Reaching one ends it at the last good state; raise it to go on."""

    stages: dict[StageName, SpendingConfig] = Field(default_factory=dict)
    """The same for single stages."""


class NoAcceptConfig(Section):
    """Stop after a number of steps without an accepted edit."""

    kind: Literal["no_accept"]
    steps: int = Field(ge=1)


class TargetScoreConfig(Section):
    """Stop when the best skill's selection score is reached or exceeded."""

    kind: Literal["target_score"]
    score: float = Field(ge=0, le=1)


class SpentConfig(SpendingConfig):
    """Stop after the step in which any of these was reached."""

    kind: Literal["spent"]


class AllConfig(Section):
    """Stop when all of several conditions hold."""

    kind: Literal["all"]
    of: tuple[StopConfig, ...] = Field(min_length=1)


class CustomStopConfig(Section):
    """Your own condition, by import path: a function from the run's state to a reason or ''."""

    kind: Literal["custom"]
    path: str = Field(pattern=r"^[\w.]+:[\w.]+$")


StopConfig = Annotated[
    NoAcceptConfig | TargetScoreConfig | SpentConfig | AllConfig | CustomStopConfig,
    Field(discriminator="kind"),
]


class FinalConfig(Section):
    """What is done when training has ended."""

    test: bool = True
    """Whether initial, best and final skill are scored on the test split."""


class TransferConfig(Section):
    """The matrix that ``skillopt transfer`` fills; the command's own options win."""

    skills: tuple[str, ...] = ()
    """Skill folders, Markdown files, or runs, which stand for their best skill."""
    to: tuple[str, ...] = ()
    """Agents and models: ``HARNESS``, ``HARNESS:MODEL`` or ``HARNESS:UPSTREAM:MODEL``; the config's
    own when there are none. Where a run was trained comes by itself."""
    splits: tuple[Split, ...] = Field(("test",), min_length=1)
    replicates: int = Field(1, ge=1)
    """Rollouts of each task."""


class Config(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Also the name of the run's folder."""
    seed: int = 42
    workers: int = Field(4, ge=1)
    """Rollouts at the same time."""
    runs: Path = Path("runs")
    """Folder of run folders; the rollout store is in it, shared by all runs."""
    tasks: TasksConfig
    skill: SkillConfig
    harness: HarnessConfig = HarnessConfig()
    sandbox: SandboxConfig = SandboxConfig()
    target: ModelConfig
    optimizer: OptimizerConfig
    upstreams: dict[str, UpstreamConfig]
    train: TrainConfig = TrainConfig()
    method: MethodConfig = MethodConfig()
    executor: ExecutorConfig = ExecutorConfig()
    gate: GateConfig = GateConfig()
    final: FinalConfig = FinalConfig()
    transfer: TransferConfig = TransferConfig()
    limits: RunLimitsConfig = RunLimitsConfig()
    stop: tuple[StopConfig, ...] = ()
    """Any of these ends the training early, after a step; the final scores are still taken."""
    verifier: str | None = Field(None, pattern=r"^[\w.]+:[\w.]+$")
    """Your own in place of the tasks' tests, by import path."""
    trackers: tuple[TrackerName, ...] = ()
    """Experiment trackers that are told of each step; each is an extra of the package."""
    prices: Path | None = None
    """Price table in place of the project's ``configs/prices.yaml``."""
    rollout_tries: int = Field(3, ge=1)
    """Attempts at a rollout that ends as ``infra_error``."""
    max_infra_share: float = Field(0.1, ge=0, le=1)
    """Share of a training batch that may end so for good before the run pauses."""

    @model_validator(mode="after")
    def _references(self) -> Config:
        for role in ("target", "optimizer"):
            upstream = getattr(self, role).upstream
            if upstream not in self.upstreams:
                known = ", ".join(sorted(self.upstreams))
                raise ValueError(f"{role}.upstream: {upstream!r} is not in upstreams ({known})")
        # A backend of the user's own is asked when it has been made, at the start of a run.
        if self.sandbox.kind in BACKENDS:
            check_options(self.sandbox.kind, self.sandbox.options)
            if self.names_cli_agent:
                check_backend(self.harness.name, traits_of(self.sandbox.kind))
        for text in self.transfer.to:
            self.place(text)
        return self

    @property
    def names_cli_agent(self) -> bool:
        """Whether the agent is a command-line one, by the config's own word: without a section
        ``harness`` it may be an object in its place."""
        return self.harness.name in CLI_AGENTS and "harness" in self.model_fields_set

    def place(self, text: str) -> tuple[str, str]:
        """Harness and model (``NAME``, or ``UPSTREAM:NAME`` for another upstream than the
        target's) of a place such as ``codex:gpt-5.5``; ValueError when there is no such thing."""
        own = self.harness.name
        if text == own or text.startswith(f"{own}:"):  # It may have a colon in it.
            harness, model = own, text[len(own) + 1 :]
        else:
            harness, _, model = text.partition(":")
        if harness not in (own, *HARNESSES):
            raise ValueError(
                f"transfer to {text!r}: {harness!r} is not one of {', '.join(HARNESSES)}"
                f"{_hint(harness, HARNESSES)}"
            )
        upstream, colon, name = model.partition(":")
        if colon and upstream not in self.upstreams:
            known = ", ".join(sorted(self.upstreams))
            raise ValueError(f"transfer to {text!r}: {upstream!r} is not in upstreams ({known})")
        if colon and upstream == self.target.upstream:
            return harness, name
        return harness, model or self.target.name
