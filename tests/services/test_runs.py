"""What a run does about a service in trouble: it waits, tells, stops, and keeps two clocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harnesses.gateway.service import Wait
from skillopt import evaluate
from skillopt.cli.progress import waiting
from skillopt.core.errors import PausedError
from skillopt.run.events import Event, ServiceWaited
from skillopt.run.spending import LimitReachedError
from tests.helpers.tiny import Tiny, command, tiny
from tests.services.a_task import config, more_tasks
from tests.services.scenarios import after_first, always, each_twice, no_usage, said, slow, status
from tests.services.service import Service, serving
from tests.services.wire import good

__all__ = ["tiny"]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(good) as running:
        yield running


def test_a_refusal_that_no_wait_mends_stops_the_run_with_its_text(
    service: Service, tmp_path: Path, quick_retries: None
) -> None:
    service.scenario = after_first(status(400, "your organization must be verified"))()
    settings = config(tmp_path, service, "chat", max_infra_share=1.0)
    more_tasks(tmp_path, 9)
    with pytest.raises(PausedError, match="your organization must be verified") as stopped:
        evaluate(settings, {"none": None})
    assert "in 3 rollouts" in str(stopped.value)
    asked = {json.dumps(one.body["messages"][1]) for one in service.asked}
    assert len(asked) == 3, "no other rollout was begun"


def test_a_quota_that_is_used_up_for_days_stops_at_once_with_its_reset(
    service: Service, tmp_path: Path
) -> None:
    service.scenario = always(status(429, "weekly limit", retry_after="200000"))()
    settings = config(tmp_path, service, "chat", rollout_tries=3)
    more_tasks(tmp_path, 4)
    with pytest.raises(PausedError, match=r"weekly limit; it is to be there again at 20\d\d-"):
        evaluate(settings, {"none": None})
    assert len(service.asked) == 1


@pytest.mark.slow
def test_a_result_has_both_clocks(service: Service, tmp_path: Path) -> None:
    service.scenario = each_twice(status(429, retry_after="0.6"))()
    settings = config(tmp_path, service, "chat")
    (row,) = evaluate(settings, {"none": None})
    (rollout,) = row.rollouts
    assert rollout.reward.hard and rollout.service_s >= 2.4
    assert rollout.duration_s - rollout.service_s < 2
    kept = json.loads((rollout.folder / "result.json").read_text())
    assert kept["service_s"] == rollout.service_s
    with rollout.open("wire.jsonl") as wire:
        assert [json.loads(line)["tries"] for line in wire] == [3, 3]


@pytest.mark.slow
def test_the_queue_is_not_the_agents_time(service: Service, tmp_path: Path) -> None:
    service.scenario = slow
    settings = config(tmp_path, service, "chat", workers=6, patience=60)
    settings.upstreams["up"] = settings.upstreams["up"].model_copy(update={"max_concurrency": 1})
    more_tasks(tmp_path, 5)
    (row,) = evaluate(settings, {"none": None})
    assert all(rollout.reward.hard for rollout in row.rollouts)
    assert max(rollout.service_s for rollout in row.rollouts) > 5, "more than the agent's limit"


@pytest.mark.slow
def test_waiting_is_shown_with_a_countdown_and_noted(service: Service, tmp_path: Path) -> None:
    service.scenario = each_twice(status(429, "busy", retry_after="5.1"))()
    seen: list[Event] = []
    settings = config(tmp_path, service, "chat", patience=60)
    evaluate(settings, {"none": None}, listeners=[seen.append])
    waits = [event.wait for event in seen if isinstance(event, ServiceWaited)]
    assert [wait.until is None for wait in waits] == [False, False, True] * 2
    first = waits[0]
    assert first.service == "up" and first.reason == "status 429: busy"
    shown = waiting(Wait("up", "status 429: busy", first.since, None))
    assert shown.startswith("waiting for up, next try in 0:00, for 0:") and "busy" in shown
    notes = [event.text for event in seen if hasattr(event, "text")]
    assert sum("waiting for model service up: status 429: busy" in note for note in notes) == 2
    assert sum("replies again" in note for note in notes) == 2


def test_limits_hold_for_a_service_that_reports_no_counts(service: Service, tmp_path: Path) -> None:
    service.scenario = always(said(no_usage))()
    settings = config(tmp_path, service, "chat", limits={"tokens": 200})
    more_tasks(tmp_path, 9)
    with pytest.raises(LimitReachedError):
        evaluate(settings, {"none": None})
    assert len(service.asked) < 10
    (line, *_) = (tmp_path / "runs").glob("**/result.json")
    assert json.loads(line.read_text())["usage"]["estimated"] is True


@pytest.mark.parametrize(("trouble", "ending"), [(False, "done"), (True, "stopped")])
def test_the_user_is_told_of_the_end(trouble: bool, ending: str, tiny: Tiny) -> None:
    settings: dict[str, Any] = {"notify": "env | grep SKILLOPT_ > told; cat >> told"}
    if trouble:
        settings |= {"harness__name": "direct"}
        settings |= {"upstreams": {"sim": {"kind": "sim", "error_rate": 1.0}}, "patience": 0}
    tiny.write(**settings)
    command("train", "tiny.yaml")
    told = (tiny.folder / "told").read_text()
    assert f"SKILLOPT_STATUS={ending}" in told and "SKILLOPT_RUN=" in told
    assert ("simulated outage" in told) == trouble


def test_a_notice_that_fails_is_noted_and_changes_nothing(tiny: Tiny) -> None:
    tiny.write(notify="echo no post >&2; exit 3")
    done = command("train", "tiny.yaml")
    assert done.returncode == 0
    assert "notify: exit code 3: no post" in done.stderr


def test_patience_is_a_number_or_a_section(tiny: Tiny) -> None:
    for value in (5, {"total": 5}, {"total": 5, "first_byte": 1}):
        tiny.write(patience=value)
        assert command("train", "tiny.yaml", "--dry-run").returncode == 0, yaml.safe_dump(value)
    tiny.write(patience=-1)
    refused = command("train", "tiny.yaml", "--dry-run")
    assert refused.returncode == 2 and "patience" in refused.stderr
