"""Experiment trackers as listeners of a run: TensorBoard, Weights & Biases, MLflow, OpenTelemetry.

Each is an extra of the package. They show nothing that is not in the run folder too.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from skillopt.config.schema import Config, TrackerName
from skillopt.core.errors import SkillOptError
from skillopt.run.events import Event, Listener, switched_off
from skillopt.run.records import BaselineDone, RolloutRan, RunDone, StepDone
from skillopt.run.state import State


class TrackerError(SkillOptError):
    """A tracker's package is not installed. The message says how to install it."""


PACKAGES: dict[TrackerName, str] = {
    "tensorboard": "tensorboardX",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "opentelemetry": "opentelemetry",
}
"""The import name of the package that each tracker needs."""


def check_trackers(config: Config) -> None:
    """Raise TrackerError if the package of a tracker in the config is missing."""
    for name in config.trackers:
        if find_spec(PACKAGES[name]) is None:
            raise _missing(name, f"there is no package {PACKAGES[name]!r}")


@contextmanager
def tracking(
    config: Config, folder: Path, state: State, report: Callable[[str], None]
) -> Iterator[list[Listener]]:
    """The listeners of the trackers that a config names, closed at the end.

    Args:
        config: names them.
        folder: the run's folder; trackers' local files go into it.
        state: the run's state; up to date whenever a listener is called.
        report: called with a message about one that does not start or end.

    Raises:
        TrackerError: a package is missing.
    """
    makers: dict[TrackerName, Callable[[ExitStack, Config, Path, State], Listener]] = {
        "tensorboard": _tensorboard,
        "wandb": _wandb,
        "mlflow": _mlflow,
        "opentelemetry": _opentelemetry,
    }
    with ExitStack() as stack:
        listeners = []
        for name in config.trackers:
            own = stack.enter_context(_closing(name, report))
            try:
                listener = makers[name](own, config, folder, state)
            except ImportError as error:
                raise _missing(name, str(error)) from error
            except Exception as error:  # noqa: BLE001  # It only looks at the run.
                report(switched_off(f"tracker {name}", error))
                continue
            listener.__qualname__ = name
            listeners.append(listener)
        yield listeners


@contextmanager
def _closing(name: TrackerName, report: Callable[[str], None]) -> Iterator[ExitStack]:
    """A stack for what a tracker has to close at the end; its exceptions are reported."""
    own = ExitStack()
    try:
        yield own
    finally:
        try:
            own.close()
        except Exception as error:  # noqa: BLE001  # It only looked at the run.
            report(switched_off(f"tracker {name}", error))


def _missing(name: TrackerName, problem: str) -> TrackerError:
    return TrackerError(
        f"trackers: {name}: {problem}; install it: pip install 'skillopt-harness[{name}]'"
    )


def measures(event: StepDone, state: State) -> dict[str, float]:
    """The numbers of a step: scores, schedule, tokens by stage, cost. Unknown ones are left out."""
    row = state.history[-1]
    keys = (
        "current_score", "best_score", "rollout_hard", "rollout_soft", "selection_hard",
        "selection_soft", "edit_budget", "edits_applied", "cost_usd",
    )  # fmt: skip
    found = {key: float(row[key]) for key in keys if row.get(key) is not None}
    tokens = row["tokens"] | row.get("race", {}).get("tokens", {})
    found |= {f"tokens/{stage}": float(count) for stage, count in tokens.items()}
    return found | {"accepted": float(event.action == "accept")}


def change(event: StepDone, state: State) -> str:
    """The candidate as a diff to the skill that the step started with."""
    if event.candidate is None:
        return ""
    before = _before(event, state).splitlines()
    after = state.skills[event.candidate].text.splitlines()
    return "\n".join(difflib.unified_diff(before, after, "before", "candidate", lineterm=""))


def files(event: StepDone, state: State) -> dict[str, str]:
    """The skill after a step and what the step changed, by file name."""
    return {
        f"skills/skill_v{event.step:04d}.md": state.skills[state.current].text,
        f"steps/step_{event.step:04d}.diff": change(event, state),
    }


def _before(event: StepDone, state: State) -> str:
    """The skill that a step started with; the state is the one after it."""
    taken = [state.initial, *state.accepted]
    if event.gate is not None and event.gate.accepted:
        taken.pop()
    return state.skills[taken[-1]].text


def _tensorboard(stack: ExitStack, config: Config, folder: Path, state: State) -> Listener:
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    stack.callback(writer.close)

    def listen(event: Event) -> None:
        if isinstance(event, BaselineDone):
            writer.add_scalar("current_score", event.score, 0)
        elif isinstance(event, StepDone):
            for name, value in measures(event, state).items():
                writer.add_scalar(name, value, event.step)
            writer.add_text("skill", _fenced(state.skills[state.current].text), event.step)
            writer.add_text("change", _fenced(change(event, state)), event.step)
            writer.flush()

    return listen


def _wandb(stack: ExitStack, config: Config, folder: Path, state: State) -> Listener:
    import wandb

    # Offline unless the environment says otherwise: nothing leaves the machine unasked.
    os.environ.setdefault("WANDB_MODE", "offline")
    run = wandb.init(
        project="skillopt",
        name=config.name,
        id=config.name,
        dir=str(folder),
        resume="allow",
        config=config.model_dump(mode="json"),
    )
    stack.callback(run.finish)

    def listen(event: Event) -> None:
        if isinstance(event, StepDone):
            run.log(measures(event, state), step=event.step)
            made = wandb.Artifact(f"step-{event.step:04d}", type="skill")
            for name, text in files(event, state).items():
                with made.new_file(name) as file:
                    file.write(text)
            run.log_artifact(made)
        elif isinstance(event, RunDone):
            artifact = wandb.Artifact("best_skill", type="skill")
            artifact.add_file(str(folder / "best_skill.md"))
            artifact.add_file(str(folder / "history.json"))
            run.log_artifact(artifact)

    return listen


def _mlflow(stack: ExitStack, config: Config, folder: Path, state: State) -> Listener:
    from mlflow.tracking import MlflowClient

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("skillopt")
    if experiment is None:
        place = (folder / "mlflow").absolute().as_uri()
        number = client.create_experiment("skillopt", artifact_location=place)
    else:
        number = experiment.experiment_id
    run = client.create_run(number, run_name=config.name).info.run_id
    stack.callback(client.set_terminated, run)
    client.log_dict(run, config.model_dump(mode="json"), "config.json")

    def listen(event: Event) -> None:
        if isinstance(event, StepDone):
            for name, value in measures(event, state).items():
                client.log_metric(run, name, value, step=event.step)
            for name, text in files(event, state).items():
                client.log_text(run, text, name)
        elif isinstance(event, RunDone):
            client.log_text(run, state.skills[state.best].text, "best_skill.md")

    return listen


def _opentelemetry(stack: ExitStack, config: Config, folder: Path, state: State) -> Listener:
    """A span for each rollout, with the tracer provider that the process has set up."""
    from opentelemetry import trace

    tracer = trace.get_tracer("skillopt")

    def listen(event: Event) -> None:
        if not isinstance(event, RolloutRan):
            return
        end = int(event.at * 1e9)
        span = tracer.start_span("rollout", start_time=end - int(event.seconds * 1e9))
        span.set_attributes(
            {
                "skillopt.run": config.name,
                "skillopt.stage": event.stage,
                "skillopt.task": event.task,
                "skillopt.status": event.status.value,
                "gen_ai.request.model": config.target.name,
                "gen_ai.usage.input_tokens": event.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": event.usage.completion_tokens,
            }
        )
        span.end(end_time=end)

    return listen


def _fenced(text: str) -> str:
    """The text as a code block, so that skills and diffs are shown, not rendered."""
    return "\n".join(f"    {line}" for line in text.splitlines())
