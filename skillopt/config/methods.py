"""The training methods that a config may name, by kind, with their published defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from skillopt.config.kinds import METHODS
from skillopt.config.section import Section, one_of


class MethodSection(Section):
    """What every method has."""

    rollouts: int | None = Field(None, ge=1)
    """Budget in distinct rollouts that the method asks for, whether they are run or in the store. A
    method checks it before each of its steps, so the last one may go beyond it. By default there
    is none but the method's own."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty_options(cls, values: Any) -> Any:
        """Leave out what a config below this one, or a run's own, has as its default."""
        if isinstance(values, dict) and "options" not in cls.model_fields:
            return {k: v for k, v in values.items() if k != "options" or v}
        return values


class MethodConfig(MethodSection):
    """The training method."""

    kind: Annotated[str, one_of(METHODS)] = "skillopt"
    """``skillopt`` (the paper's loop, with the section ``train``), one of the kinds below, or the
    import path of your own method."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments for your own method."""


class NoMethodConfig(MethodSection):
    """No training: the initial skill is scored as it is, and no skill beside it
    (``final.arms``)."""

    kind: Literal["none"]


class HumanConfig(MethodSection):
    """A skill that a person wrote, in place of a trained one."""

    kind: Literal["human"]
    skill: str
    """A skill folder, a Markdown file, or a run (its best skill)."""


class OneShotConfig(MethodSection):
    """A skill that the optimizer writes at once from some training tasks, without seeing a run."""

    kind: Literal["one_shot"]


class GepaConfig(MethodSection):
    """GEPA (arXiv 2507.19457) by its own package, the extra ``methods``. Defaults are those of
    ``gepa.optimize``."""

    kind: Literal["gepa"]
    rollouts: int = Field(ge=1)
    """The budget, ``max_metric_calls`` of GEPA, which has no default. GEPA checks it before each
    iteration, and may go beyond it by two minibatches and the selection split."""
    minibatch: int = Field(3, ge=1)
    """Training tasks of an iteration (``reflection_minibatch_size``)."""
    parent: Literal["pareto", "current_best", "epsilon_greedy", "top_k_pareto"] = "pareto"
    """How the candidate that an iteration changes is chosen (``candidate_selection_strategy``)."""
    accept: Literal["strict_improvement", "improvement_or_equal"] = "strict_improvement"
    """What a candidate must score on the minibatch to be scored on the selection split
    (``acceptance_criterion``)."""
    skip_perfect: bool = True
    """Whether an iteration ends if its minibatch is solved (``skip_perfect_score``)."""
    merge: bool = False
    """Whether candidates are also merged (``use_merge``)."""
    max_merges: int = Field(5, ge=0)
    """The most merges (``max_merge_invocations``)."""


class TextGradConfig(MethodSection):
    """TextGrad (arXiv 2406.07496): feedback is carried back to the skill as text, and the skill is
    rewritten. Defaults are those of ``evaluation/prompt_optimization.py``."""

    kind: Literal["textgrad"]
    batch_size: int = Field(3, ge=1)
    """Training tasks of a step."""
    epochs: int = Field(3, ge=1)
    """Passes over the training tasks."""
    steps: int = Field(4, ge=1)
    """The most steps of an epoch."""
    validation: bool = True
    """Whether a step is undone if the score on the selection split falls; the same score keeps it.
    Their script does it with ``--run_validation``. Without it nothing is selected."""


class EvoSkillConfig(MethodSection):
    """EvoSkill: a frontier of skills that grows by proposals from failures. Defaults are those of
    its ``LoopConfig``, the number of iterations that of its API."""

    kind: Literal["evoskill"]
    iterations: int = Field(20, ge=1)
    """The most iterations (``max_iterations``)."""
    frontier: int = Field(3, ge=1)
    """The most skills of the frontier (``frontier_size``)."""
    families: int = Field(3, ge=1)
    """Families of tasks that an iteration samples (``categories_per_batch``)."""
    per_family: int = Field(2, ge=1)
    """Tasks of each of them (``samples_per_category``)."""
    solved: float = Field(0.8, gt=0, le=1)
    """The score from which a task has not failed, 0.8 in its loop."""
    patience: int = Field(5, ge=1)
    """Iterations in a row without a new member of the frontier after which it ends
    (``no_improvement_limit``)."""


class Trace2SkillConfig(MethodSection):
    """Trace2Skill: one pass over all training runs, whose lessons are merged. Defaults are those of
    its command line."""

    kind: Literal["trace2skill"]
    merge_batch: int = Field(5, ge=2)
    """Patches in one merge."""
    skills: int = Field(3, ge=1)
    """Skills that are made, of which the best on the training tasks is taken (its seeds)."""


SECTIONS: dict[str, type[MethodSection]] = {
    "none": NoMethodConfig,
    "human": HumanConfig,
    "one_shot": OneShotConfig,
    "gepa": GepaConfig,
    "textgrad": TextGradConfig,
    "evoskill": EvoSkillConfig,
    "trace2skill": Trace2SkillConfig,
}
"""The kinds with settings of their own."""


def _tag(value: Any) -> str:
    """The section that a mapping is, by its kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) and kind in SECTIONS else "own"


AnyMethodConfig = Annotated[
    Annotated[MethodConfig, Tag("own")]
    | Annotated[NoMethodConfig, Tag("none")]
    | Annotated[HumanConfig, Tag("human")]
    | Annotated[OneShotConfig, Tag("one_shot")]
    | Annotated[GepaConfig, Tag("gepa")]
    | Annotated[TextGradConfig, Tag("textgrad")]
    | Annotated[EvoSkillConfig, Tag("evoskill")]
    | Annotated[Trace2SkillConfig, Tag("trace2skill")],
    Discriminator(_tag),
]
