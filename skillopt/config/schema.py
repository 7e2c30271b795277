"""The configuration of a run: the keys of the YAML files, with the paper's defaults.

The docstrings of the sections and keys are the reference in the documentation. Reading the files
(``base:``, line numbers in errors) is in :mod:`skillopt.config.loading`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from harnesses.agents.options import Options, OptionsError, check
from harnesses.agents.registry import CLI_AGENTS, agent_kind, check_backend
from harnesses.agents.registry import NAMES as HARNESSES
from harnesses.base import Mode, MountMode
from sandboxes.registry import BACKENDS, check_options, traits_of
from skillopt.config.executors import AnyExecutorConfig, ExecutorConfig
from skillopt.config.kinds import GATES
from skillopt.config.logins import check_logins
from skillopt.config.methods import AnyMethodConfig, MethodConfig
from skillopt.config.network import Network
from skillopt.config.section import Section, hint, one_of
from skillopt.config.upstreams import UpstreamConfig
from skillopt.core.metric import Metric as Metric
from skillopt.core.metric import Scorer
from skillopt.core.types import Split

TrackerName = Literal["tensorboard", "wandb", "mlflow", "opentelemetry"]
Schedule = Literal["constant", "linear", "cosine", "autonomous", "none"]
StageName = Literal[
    "draft", "baseline", "rollout", "ahead", "reflect", "merge", "rank", "apply", "race", "gate",
    "credit", "prune", "pairs", "slow", "meta", "final", "test", "eval", "judge",
]  # fmt: skip
"""The stages of a run in order; ``race`` are the rollouts that choose one of several
candidates, ``pairs`` those of the slow update, ``credit`` and ``prune`` those that judge single
edits, and ``ahead`` those of the next step's batch that were run in advance. ``judge`` are the
calls of the judge, whatever stage their rollouts are run for."""
Arm = Literal["none", "draft"]
FEW_TESTS = 100
"""The most test tasks on which no skill is scored without being asked for."""
OwnStage = Literal["reflect", "merge", "rank", "apply", "slow", "meta"]
"""The stages that a user's own function can replace."""


class TasksConfig(Section):
    """Where the tasks come from and how they are split."""

    source: str
    """Where the tasks are: ``quickstart``, ``words``, a benchmark such as ``searchqa``, a folder of
    task folders, a folder with ``train``, ``val`` and ``test`` in it, an eval file of another tool
    (``evals.json``, ``eval.yaml``), a skill's folder that has some or a pattern for their paths,
    prompts with answers (JSON lines, JSON, CSV, TSV, Parquet), or the import path of your own
    source."""
    path: str = ""
    """The folder of a benchmark that ``skillopt data prepare`` has written."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments for your own source; options of a benchmark, of eval files, or of prompts
    with answers."""
    environment: str = ""
    """What tasks without an environment of their own start from: a ``devcontainer.json``, a
    Dockerfile, a folder that has one of them, or the name of an image. By default the project's own
    image ``skillopt/agent-base``."""
    exclude: tuple[str, ...] = ()
    """Names of tasks to leave out, such as one whose tests are broken."""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """Whether tasks of different splits may have the same content, names apart: then what a skill
    was trained on counts in its score. Within a split they are always allowed; such a task is run
    once and counts as often as it is there."""
    seed: int = 7
    """Seed of the generator of ``quickstart`` and ``words``."""
    split: tuple[int, int, int] = (2, 1, 7)
    """Proportions of train, val and test for eval files and for a folder without these
    subfolders."""
    split_seed: int | None = None
    """Seed of that split, and of what ``final.held_out`` keeps; by default the run's ``seed``. With
    one, runs with different seeds have the same tasks in each split."""


class SkillConfig(Section):
    """The skill that training starts from, and what edits may change."""

    init: str
    """A skill folder or a Markdown file; or ``empty``, ``draft`` (the optimizer writes a first
    version), ``installed`` (a skill in the agent's own directories), ``quickstart`` or
    ``words``."""
    name: str = Field("", pattern=r"^[a-z0-9-]*$", max_length=64)
    """Name of the skill; required if ``init`` is ``empty``, ``draft`` or ``installed``."""
    description: str = Field("", max_length=1024)
    """Description by which an agent decides whether to open the skill; required if ``init`` is
    ``empty``."""
    max_tokens: int | None = Field(None, ge=100)
    """Token limit for ``SKILL.md``; by default the larger of 2,000 and 1.25 times the initial
    skill. An edit that would pass it is refused, and the optimizer is then asked for a shorter
    version of the skill, which the gate judges by itself."""
    compress: bool = False
    """Whether the limit may be below the initial skill's length, so that training begins by
    shortening it."""
    edit_files: bool = False
    """Whether edits may also change the Markdown and script files in the folder."""
    beside: tuple[Path, ...] = ()
    """Other skills that the agent has and that do not change: folders or Markdown files. With
    them, a skill learns to be opened for its own tasks only."""

    @model_validator(mode="after")
    def _is_named(self) -> SkillConfig:
        if self.init in ("empty", "draft", "installed") and not self.name:
            raise ValueError(f"name: is required for init: {self.init}; add it")
        if self.init == "empty" and not self.description:
            raise ValueError("description: is required for init: empty; say what the skill is for")
        return self


class LimitsConfig(Section):
    """Limits of each sandbox. A task may ask for more memory, CPUs and disk."""

    memory_mb: int = Field(2048, ge=64)
    """Memory in MB."""
    cpus: float = Field(2.0, gt=0)
    """Number of processors."""
    pids: int = Field(256, ge=16)
    """Number of processes and threads."""
    disk_mb: int = Field(1024, ge=1)
    """Disk space in MB."""


class HarnessConfig(Section):
    """The agent that uses the skill."""

    name: Annotated[str, one_of(HARNESSES)] = "codex"
    """``direct``, ``codex``, ``claude-code``, ``opencode``, or the import path of your own
    harness, ``module:name``."""
    version: str | None = None
    """Version of the agent program; by default the project's pinned version."""
    mount: MountMode = "native"
    """How the agent gets the skill: ``native`` puts it among the agent's skills, where the agent
    must find it by its description; ``instructions`` puts it into the file that the agent always
    reads, such as AGENTS.md; ``both`` does both."""
    mode: Mode = "batch"
    """How an agent program runs: ``interactive`` runs it on a terminal, as a person does."""
    options: Options = Options()
    """Options of an agent program: effort, tools, MCP servers, flags, settings."""
    max_requests: int = Field(200, ge=1)
    """Most model requests in one rollout; at the limit it ends as ``agent_error``."""
    max_tokens: int = Field(20_000_000, ge=1)
    """Most prompt and completion tokens in one rollout; at the limit it ends as
    ``agent_error``."""

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

    kind: Annotated[str, one_of(BACKENDS)] = "docker"
    """``docker``, ``local`` (processes on this machine, without isolation), or the import path of
    your own backend, ``module:name``."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments for the backend: ``host`` and ``patience_s`` for ``docker``, or your own
    backend's."""
    network: Network = "none"
    """What agents may reach besides their model: ``none``; ``registries`` for the public package
    registries; ``installers`` for what test scripts install tools from; a list of these words and
    hosts (``pypi.org``, ``*.example.org``, ``host:8080``), through a
    filtering proxy; or ``open`` for everything."""
    verifier_network: Network = "none"
    """What verifiers may reach, with the same values."""
    handover: Literal["auto", "container", "workdir"] = "auto"
    """What verifiers get of the agent's container: ``workdir`` for the working directory alone;
    ``container`` for all of it, which is less safe and costs more; ``auto`` for all of it where the
    tests look elsewhere than in the working directory."""
    root: bool = True
    """Whether agents and verifiers are root of their own containers where a task asks for it, by
    ``user`` in ``task.toml`` or by what its solution and tests run. Otherwise all are ordinary
    users."""
    limits: LimitsConfig = LimitsConfig()


class ModelConfig(Section):
    """A model behind one of the upstreams."""

    upstream: str
    """Name of an entry in ``upstreams``."""
    name: str
    """Name of the model, as the service knows it."""
    sampling: dict[str, JsonValue] = Field(default_factory=dict)
    """Fields that are added to every request unchanged, such as ``temperature`` or
    ``reasoning: {effort: high}``, with the names of the upstream's protocol."""

    @field_validator("sampling")
    @classmethod
    def _no_stream(cls, sampling: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if "stream" in sampling:
            raise ValueError("stream: the agent decides whether replies are streamed; remove it")
        return sampling


class OptimizerConfig(ModelConfig):
    """The model that reads trajectories and proposes edits."""

    harness: Literal["claude-code", "codex"] | None = None
    """Command-line agent that asks the model, one reply at a time and without tools, in a sandbox;
    by default the model is asked directly."""
    sees_answers: bool = False
    """Whether the optimizer is shown the expected answers of training tasks."""
    prompts: Path | None = None
    """Folder of prompt templates that replace the project's templates of the same names."""
    trajectory_tokens: int | None = Field(None, ge=200)
    """Most tokens of each rollout in a prompt; by default 3,000, or less if ``context_tokens`` has
    no room for a minibatch of them."""
    context_tokens: int | None = Field(None, ge=256)
    """Most tokens of a request to this model together with its reply; by default that of a
    ``llamacpp`` upstream, and for others no limit."""
    timeout_s: float | None = Field(None, gt=0)
    """Seconds for which a reply may think in silence, before and between its words; after that it
    is asked for again. By default 1,800, or ``patience.total`` if that is less."""


class JudgeConfig(ModelConfig):
    """The model that judges what tasks say in words about their results (``expectations``)."""

    prompt: Path | None = None
    """File with the template of its prompt, which replaces the project's. It is given
    ``instruction``, ``expected_output``, ``expectations`` and ``evidence``."""
    when: Literal["passed", "always"] = "passed"
    """Whether the judge is asked only if all deterministic checks of the task have passed. If not
    all have, its expectations then count as not met."""
    evidence_tokens: int = Field(16_000, ge=500)
    """Most tokens of the agent's answer, changed files and tool calls that it is shown."""
    timeout_s: float | None = Field(None, gt=0)
    """Seconds for which a reply may think in silence, as for the optimizer."""
    labels: Path | None = None
    """File with people's verdicts, on which ``skillopt tasks judge`` measures the judge's
    agreement. Without it the judge is unchecked."""
    least_agreement: float | None = Field(0.6, ge=-1, le=1)
    """The least agreement with ``labels`` (Cohen's kappa) with which ``train`` starts; null to
    start with any."""


class TriggersConfig(Section):
    """Tasks that only ask whether a skill is opened."""

    calls: int = Field(3, ge=1)
    """Model calls after which a skill that is not opened counts as not opened. An opening ends the
    rollout at once."""


class LearningRateConfig(Section):
    """The textual learning rate: how many edits a step may make (paper §3)."""

    start: int = Field(4, ge=0)
    """Edits per step at the start of training."""
    end: int = Field(2, ge=0)
    """Edits in the last step."""
    schedule: Schedule = "cosine"
    """How the number changes from ``start`` to ``end``. ``constant`` stays at ``start``,
    ``autonomous`` lets the optimizer choose the number, ``none`` sets no limit."""


class TrainConfig(Section):
    """The training loop."""

    only: Literal["all", "description"] = "all"
    """What is trained: ``description`` is the description alone, by which agents decide whether to
    open the skill. Each step then writes it anew; there is no slow update and no meta skill."""

    epochs: int = Field(4, ge=1)
    """How often all training tasks are used."""
    batch_size: int = Field(40, ge=1)
    """Training tasks in one batch."""
    minibatch: int = Field(8, ge=1)
    """Trajectories in one reflection."""
    accumulation: int = Field(1, ge=1)
    """Batches whose patches are merged into one step."""
    successes: bool = True
    """Whether the optimizer also reflects on solved rollouts."""
    merge_batch: int = Field(8, ge=2)
    """Patches in one merge call."""
    learning_rate: LearningRateConfig = LearningRateConfig()
    update: Literal["patch", "rewrite_from_suggestions", "full_rewrite"] = "patch"
    """How a step changes the skill: ``patch`` makes exact edits, ``rewrite_from_suggestions``
    rewrites the skill once with the edits as suggestions, ``full_rewrite`` rewrites it for one
    minibatch after another."""
    candidates: int = Field(1, ge=1, le=16)
    """Candidates of a step. Several race against each other on a part of the selection split, and
    the gate judges the winner."""
    candidates_by: Literal["minibatch", "sampling"] = "minibatch"
    """How several candidates are made: ``minibatch`` merges and ranks the patches of a part of the
    minibatches for each, ``sampling`` asks for the merge and the ranking of all patches anew."""
    ahead: float = Field(0.0, ge=0, le=1)
    """Rollouts of the next batch that idle workers run in advance with the current skill, and that
    are for nothing if it changes: at most so many, as a share of the training rollouts so far."""
    memory: bool = True
    """Whether the optimizer is shown the edits that the gate rejected."""
    skill_aware: bool = False
    """Whether the optimizer may add reminders of rules that the skill has and the agent did not
    follow."""
    slow_update: bool = True
    """Whether each epoch but the first ends with a guidance block from paired rollouts."""
    slow_tasks: int = Field(20, ge=1)
    """Training tasks that the slow update compares."""
    meta_skill: bool = True
    """Whether the optimizer keeps notes for itself from the same pairs."""
    credit: float | None = Field(None, ge=0, le=10)
    """Rollouts that tell apart the edits of a rejected step, as a share of the gate's; 0 for none.
    By default 0.5 with the gate ``fresh``, otherwise 0."""
    prune: float | None = Field(None, ge=0, le=10)
    """Rollouts that try the skill without each accepted edit at the ends of epochs, as a share of
    the gate's; 0 for none. By default 0.25 with the gate ``fresh``, otherwise 0."""
    stages: dict[OwnStage, str] = Field(default_factory=dict)
    """Import paths of your own functions for some stages, such as ``rank: my_module:my_rank``."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("only") != "description":
            return values
        return values | {"update": "full_rewrite", "slow_update": False, "meta_skill": False}

    @model_validator(mode="after")
    def _has_patches(self) -> TrainConfig:
        several = self.candidates > 1 and self.only == "all"
        by_minibatch = several and self.candidates_by == "minibatch"
        if by_minibatch and self.update == "full_rewrite":
            raise ValueError(
                "candidates_by: minibatch divides the patches, and update: full_rewrite makes "
                "none; set candidates_by: sampling"
            )
        return self

    @field_validator("stages")
    @classmethod
    def _are_paths(cls, stages: dict[str, str]) -> dict[str, str]:
        for stage, path in stages.items():
            if ":" not in path:
                raise ValueError(f"{stage}: {path!r} is not an import path like 'my_module:name'")
        return stages


class GateConfig(Section):
    """The gate on the selection split."""

    kind: Annotated[str, one_of(GATES)] = "auto"
    """``fresh`` (uses all outcomes of both skills, and repeats what is in doubt), ``strict`` (the
    paper's gate), ``auto`` (``fresh`` for fewer than 64 selection tasks, else ``strict``), or the
    import path of your own gate."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """More keyword arguments for the gate."""

    metric: Metric = "hard"
    """Which reward counts: ``hard`` (solved or not), ``soft`` (the verifier's number) or
    ``mixed``."""
    mix: float = Field(0.5, ge=0, le=1)
    """Weight of the soft reward if the metric is ``mixed``; the hard one has the rest."""

    @property
    def scorer(self) -> Scorer:
        """From rewards to scores, everywhere in a run."""
        return Scorer(self.metric, self.mix)


class SpendingConfig(Section):
    """Limits on spending. They count over all starts of a run."""

    usd: float | None = Field(None, gt=0)
    """Cost of model calls in US dollars; every model needs a price."""
    tokens: int | None = Field(None, ge=1)
    """Prompt and completion tokens."""
    rollouts: int | None = Field(None, ge=1)
    """Rollouts that are run; those from the store are free."""
    seconds: float | None = Field(None, gt=0)
    """Wall time in seconds."""


class RunLimitsConfig(SpendingConfig):
    """Limits of a run. A run that reaches one stops in a consistent state; raise it to resume."""

    plan_share: float | None = Field(None, gt=0, le=1)
    """Share of a plan's window (five hours, a week), as its service reports it, at which the run
    stops; what you use otherwise counts too."""
    stages: dict[StageName, SpendingConfig] = Field(default_factory=dict)
    """The same limits for single stages, without ``plan_share``."""


class NoAcceptConfig(Section):
    """Stop after a number of steps without an accepted edit."""

    kind: Literal["no_accept"]
    steps: int = Field(ge=1)
    """Number of steps."""


class TargetScoreConfig(Section):
    """Stop when the best skill's selection score reaches a target."""

    kind: Literal["target_score"]
    score: float = Field(ge=0, le=1)
    """The target score."""


class SpentConfig(SpendingConfig):
    """Stop after the step in which any of these amounts is reached."""

    kind: Literal["spent"]


class AllConfig(Section):
    """Stop when all of several conditions hold."""

    kind: Literal["all"]
    of: tuple[StopConfig, ...] = Field(min_length=1)
    """The conditions."""


class CustomStopConfig(Section):
    """Stop by your own condition: a function of the run's state that returns a reason or ''."""

    kind: Literal["custom"]
    path: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    """Import path of the function."""


StopConfig = Annotated[
    NoAcceptConfig | TargetScoreConfig | SpentConfig | AllConfig | CustomStopConfig,
    Field(discriminator="kind"),
]


class FinalConfig(Section):
    """What happens at the end of training."""

    test: bool = True
    """Whether the initial, best and final skill are scored on the test split, and the gain is
    tested there."""
    held_out: float = Field(1 / 3, ge=0, le=0.9)
    """Share of the selection tasks that training does not use, and that are the test split if there
    is no other; 0 for none. It is not done for less than 6 tasks, which can confirm nothing."""
    arms: tuple[Arm, ...] | None = None
    """What is scored on the test split besides: ``none`` (no skill), ``draft`` (a skill that the
    optimizer writes at once); by default ``none`` if it has at most 100 tasks."""

    def arms_for(self, tasks: int) -> tuple[Arm, ...]:
        """The arms besides, for a test split of some tasks."""
        if self.arms is not None:
            return tuple(dict.fromkeys(self.arms))
        return ("none",) if tasks <= FEW_TESTS else ()


class TransferConfig(Section):
    """The matrix of ``skillopt transfer``. The command's options override it."""

    skills: tuple[str, ...] = ()
    """Skill folders, Markdown files, or runs (their best skill)."""
    to: tuple[str, ...] = ()
    """Agents and models: ``HARNESS``, ``HARNESS:MODEL`` or ``HARNESS:UPSTREAM:MODEL``; by default
    the config's own. The places where the runs were trained are added."""
    splits: tuple[Split, ...] = Field(("test",), min_length=1)
    """Splits on which the skills are scored."""
    replicates: int = Field(1, ge=1)
    """Rollouts of each task."""


class PatienceConfig(Section):
    """How long model services are waited for. A number alone is ``total``."""

    total: float = Field(3600.0, ge=0)
    """Seconds that an outage or a limit of a service may last, and that one rollout may wait in
    all: in the queue, for tries that failed and the pauses after them, for silent replies."""
    first_byte: float = Field(60.0, gt=0)
    """Seconds to the first byte of a reply that count as the agent's time; those beyond are the
    service's."""

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        alone = isinstance(value, int | float) and not isinstance(value, bool)
        return {"total": value} if alone else value


class Config(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its folder."""
    seed: int = 42
    """Seed of everything random in the run."""
    workers: int = Field(4, ge=1)
    """Rollouts that run at the same time."""
    runs: Path = Path("runs")
    """Folder for the runs and the rollout store, which all runs share."""
    tasks: TasksConfig
    skill: SkillConfig
    harness: HarnessConfig = HarnessConfig()
    sandbox: SandboxConfig = SandboxConfig()
    target: ModelConfig
    optimizer: OptimizerConfig
    upstreams: dict[str, UpstreamConfig]
    train: TrainConfig = TrainConfig()
    method: AnyMethodConfig = MethodConfig()
    executor: AnyExecutorConfig = ExecutorConfig()
    gate: GateConfig = GateConfig()
    final: FinalConfig = FinalConfig()
    transfer: TransferConfig = TransferConfig()
    limits: RunLimitsConfig = RunLimitsConfig()
    stop: tuple[StopConfig, ...] = ()
    """Conditions that end training early, after a step. The final scores are still measured."""
    judge: JudgeConfig | None = None
    """The model that judges tasks with expectations in words; without it they are not judged."""
    triggers: TriggersConfig = TriggersConfig()
    verifier: str | None = Field(None, pattern=r"^[\w.]+:[\w.]+$")
    """Import path of your own verifier, which replaces the tasks' tests."""
    trackers: tuple[TrackerName, ...] = ()
    """Experiment trackers that receive each step. Each is an extra of the package."""
    prices: Path | None = None
    """Price table that replaces the project's ``configs/prices.yaml``."""
    rollout_tries: int = Field(3, ge=1)
    """Attempts at a rollout that ends as ``infra_error``."""
    max_infra_share: float = Field(0.1, ge=0, le=1)
    """Share of a training batch that may end as ``infra_error``; above it, the run pauses."""
    patience: PatienceConfig = PatienceConfig()
    notify: str = ""
    """Shell command that is run when training ends or stops by itself, with ``SKILLOPT_RUN``,
    ``SKILLOPT_STATUS`` (``done`` or ``stopped``) and ``SKILLOPT_MESSAGE`` in its environment."""

    @model_validator(mode="after")
    def _references(self) -> Config:
        for role in ("target", "optimizer", *(["judge"] if self.judge else [])):
            upstream = getattr(self, role).upstream
            if upstream not in self.upstreams:
                known = ", ".join(sorted(self.upstreams))
                raise ValueError(f"{role}.upstream: {upstream!r} is not in upstreams ({known})")
        # A user's own backend is checked when it is created, at the start of a run.
        if self.sandbox.kind in BACKENDS:
            check_options(self.sandbox.kind, self.sandbox.options)
            if self.names_cli_agent:
                check_backend(self.harness.name, traits_of(self.sandbox.kind))
            if self.optimizer.harness:
                traits = traits_of(self.sandbox.kind)
                check_backend(self.optimizer.harness, traits, "optimizer.harness")
        for text in self.transfer.to:
            self.place(text)
        check_logins(self)
        return self

    @property
    def names_cli_agent(self) -> bool:
        """Whether the config names a command-line agent: without a section ``harness``, an object
        may take its place."""
        return self.harness.name in CLI_AGENTS and "harness" in self.model_fields_set

    @property
    def split_seed(self) -> int:
        """Seed of the split of the tasks."""
        own = self.tasks.split_seed
        return self.seed if own is None else own

    def caller(self, role: str) -> str:
        """Who makes the model calls of ``target``, ``optimizer`` or ``judge``: the name of a
        harness, ``direct`` for the project itself."""
        if role == "target":
            return self.harness.name
        return (self.optimizer.harness if role == "optimizer" else None) or "direct"

    def place(self, text: str) -> tuple[str, str]:
        """Harness and model (``NAME``, or ``UPSTREAM:NAME`` for an upstream other than the
        target's) of a place such as ``codex:gpt-5.5``. Raises ValueError if there is none."""
        own = self.harness.name
        if text == own or text.startswith(f"{own}:"):  # An import path has a colon in it.
            harness, model = own, text[len(own) + 1 :]
        else:
            harness, _, model = text.partition(":")
        if harness not in (own, *HARNESSES):
            raise ValueError(
                f"transfer to {text!r}: {harness!r} is not one of {', '.join(HARNESSES)}"
                f"{hint(harness, HARNESSES)}"
            )
        if model == self.target.name:  # Which may have a colon in it.
            return harness, model
        upstream, colon, name = model.partition(":")
        if colon and upstream not in self.upstreams:
            known = ", ".join(sorted(self.upstreams))
            raise ValueError(f"transfer to {text!r}: {upstream!r} is not in upstreams ({known})")
        if (
            colon
            and upstream == self.target.upstream
            and (":" not in name or name == self.target.name)
        ):
            return harness, name
        return harness, model or self.target.name
