"""Trackers get every step's numbers, the skill and its changes; those not installed are named."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from skillopt import RunResult, train
from skillopt.run.trackers import TrackerError
from tests.helpers.small import small_config, with_rollouts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_rollouts(tmp_path_factory.mktemp("trackers"))


def tracked(folder: Path, name: str) -> RunResult:
    return train(small_config(folder, name=name, trackers=[name]))


def test_tensorboard(folder: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter as _  # noqa: F401

    result = tracked(folder, "tensorboard")
    (log,) = (result.folder / "tensorboard").iterdir()
    seen: dict[str, list[float]] = {}
    data = log.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]
        for value in event.summary.value:
            seen.setdefault(value.tag.split("/text")[0], []).append(value.simple_value)
    assert seen["current_score"] == [0.5, 1.0, 1.0]
    assert seen["edit_budget"] == [3.0, 2.0] and len(seen["tokens/rollout"]) == 2
    assert {"skill", "change"} <= seen.keys()


@pytest.mark.slow
def test_mlflow(folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    result = tracked(folder, "mlflow")
    client = MlflowClient(f"sqlite:///{result.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("skillopt")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "mlflow" and run.info.status == "FINISHED"
    scores = client.get_metric_history(run.info.run_id, "best_score")
    assert [(metric.step, metric.value) for metric in scores] == [(1, 1.0), (2, 1.0)]
    files = {path.name: path.read_text() for path in (result.folder / "mlflow").rglob("*_*")}
    assert "+- " in files["step_0001.diff"]
    assert files["skill_v0002.md"] == result.best.text


@pytest.mark.slow
def test_wandb_stays_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    result = tracked(folder, "wandb")
    (log,) = (result.folder / "wandb").glob("offline-run-*/*.wandb")
    words = (b"best_score", b"best_skill", b"step-0001", b"step-0002")
    end = time.monotonic() + 20  # Its own process writes the last of it after it has said so.
    while not all(word in log.read_bytes() for word in words) and time.monotonic() < end:
        time.sleep(0.1)
    assert [word for word in words if word not in log.read_bytes()] == []


@pytest.mark.slow
def test_opentelemetry_has_a_span_for_each_rollout(folder: Path) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    config = small_config(folder, name="otel", trackers=["opentelemetry"])
    result = train(config.model_copy(update={"runs": folder / "fresh"}))
    spans = exporter.get_finished_spans()
    assert len(spans) == result.summary["spent"]["rollouts"] > 0
    attributes = dict(spans[0].attributes or {})
    assert attributes["skillopt.stage"] == "baseline"
    assert attributes["gen_ai.request.model"] == "sim-1"
    assert (spans[0].end_time or 0) > (spans[0].start_time or 0)


def test_one_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"wandb: .*'skillopt-harness\[wandb\]'"):
        train(small_config(folder, name="missing", trackers=["wandb"]))
    assert json.dumps(small_config(folder, trackers=["mlflow"]).trackers) == '["mlflow"]'
