"""Companions: reached by their own rollout alone, one message at a time, recorded, closed once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from harnesses.agents.direct import Direct
from harnesses.base import Budget, ModelSpec, Outcome, Request, Status
from harnesses.gateway.gateway import Gateway, GatewayError
from harnesses.gateway.session import Grant, Session
from sandboxes.base import Limits
from sandboxes.owner import scratch_dir
from tests.helpers.companions import ASK, Counter
from tests.helpers.lab import place
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.services import client


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with (
        TemporaryDirectory(dir=scratch_dir()) as folder,
        Gateway(
            {"up": ScriptedAgentModel([])}, Path(folder) / "s", lambda *_: 0.0, reply_s=1.0
        ) as running,
    ):
        yield running


def grant(companion: Counter | None, record: Path | None = None) -> Grant:
    return Grant(ModelSpec("up", "m"), seed=1, record=record, companion=companion)


def send(session: Session, message: Any, token: str | None = None) -> tuple[int, Any]:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    with client(session, token or session.token) as http:
        answer = http.post("/companion", content=content)
    return answer.status_code, answer.json()


def test_messages_are_answered_and_recorded_and_the_companion_closed_once(
    gateway: Gateway, tmp_path: Path
) -> None:
    game = Counter()
    with gateway.open(grant(game, tmp_path)) as session:
        assert send(session, {"add": 2}) == (200, {"total": 2})
        lines = (tmp_path / "companion.jsonl").read_text().splitlines()
        assert len(lines) == 1, "written before the reply is passed on"
        assert send(session, {"add": 3}) == (200, {"total": 5})
        assert game.closed == 0
    assert game.closed == 1
    assert send(session, {"add": 1})[0] == 401
    recorded = [json.loads(line) for line in (tmp_path / "companion.jsonl").open()]
    assert [(line["message"], line["reply"], line["error"]) for line in recorded] == [
        ({"add": 2}, {"total": 2}, ""), ({"add": 3}, {"total": 5}, ""),
    ]  # fmt: skip
    assert all(line["started"] <= line["ended"] for line in recorded)
    assert (session.failure, session.exhausted) == ("", "")


def test_a_token_reaches_the_companion_of_its_own_rollout_alone(gateway: Gateway) -> None:
    one, other = Counter(), Counter()
    with gateway.open(grant(one)) as first, gateway.open(grant(other)) as second:
        send(first, {"add": 1})
        send(second, {"add": 10})
        assert (one.total, other.total) == (1, 10)
        assert send(first, {"add": 1}, "so-guessed") == (
            401, {"error": "this token does not belong to a running rollout"},
        )  # fmt: skip
        with gateway.open(grant(None)) as without:
            assert send(without, {})[0] == 404
    assert (one.closed, other.closed) == (1, 1)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b'"\xff"', 400), (b'{"add": "%s"}' % (b"x" * 2**20), 413)],
)
def test_what_is_no_message_is_the_agents_own_mistake(
    content: bytes, status: int, gateway: Gateway
) -> None:
    game = Counter()
    with gateway.open(grant(game)) as session:
        with client(session, session.token) as http:
            assert http.post("/companion", content=content).status_code == status
        assert send(session, {"add": 1}) == (200, {"total": 1})
        assert session.failure == ""


@pytest.mark.parametrize(
    ("message", "status", "failure"),
    [
        ({"do": "raise"}, 502, "RuntimeError: the board fell off the table"),
        ({"do": "set"}, 502, "TypeError: "),
        ({"do": "list"}, 502, "its reply is a list, not a mapping"),
        ({"do": "sleep", "s": 3}, 504, "it has not replied within 1 s"),
    ],
)
@pytest.mark.slow
def test_a_companion_that_fails_is_an_infrastructure_failure_and_is_not_asked_again(
    message: Any, status: int, failure: str, gateway: Gateway, tmp_path: Path
) -> None:
    game = Counter()
    began = time.monotonic()
    with gateway.open(grant(game, tmp_path)) as session:
        told, body = send(session, message)
        assert told == status and "has failed" in body["error"]
        assert "board" not in body["error"], "the agent is told no details"
        assert send(session, {"add": 1})[0] == 503
        assert session.failure.startswith("companion failed: ") and failure in session.failure
    assert game.closed == 1 and game.total == 0
    assert time.monotonic() - began < 2.5, "an overdue reply is not waited for"
    [line] = [json.loads(line) for line in (tmp_path / "companion.jsonl").open()]
    assert failure in line["error"] and line["reply"] is None


def test_one_message_at_a_time_in_one_thread(gateway: Gateway) -> None:
    game = Counter()
    with gateway.open(grant(game)) as session:
        message = {"do": "sleep", "s": 0.01, "add": 1}
        threads = [threading.Thread(target=send, args=(session, message)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (game.total, game.most_at_once, len(game.threads)) == (8, 1, 1)


def test_the_end_waits_for_the_reply_that_is_under_way(gateway: Gateway) -> None:
    game = Counter()
    with gateway.open(grant(game)) as session:
        asking = threading.Thread(target=send, args=(session, {"do": "sleep", "s": 0.1, "add": 1}))
        asking.start()
        assert game.begun.wait(60)
    assert (game.closed, game.closed_while_replying, game.total) == (1, False, 1)
    asking.join()


def test_it_is_closed_also_when_the_harness_crashes_or_has_no_model(gateway: Gateway) -> None:
    game = Counter()
    with pytest.raises(ZeroDivisionError), gateway.open(grant(game)):
        raise ZeroDivisionError
    assert game.closed == 1


def run(folder: Path, upstream: ScriptedAgentModel, game: Counter, **changes: Any) -> Outcome:
    (folder / "record").mkdir()
    (folder / "workspace").mkdir()
    request = {
        "id": "r1",
        "instruction": "Play.",
        "image": "",
        "workspace": folder / "workspace",
        "workdir": "/app",
        "skill": None,
        "model": ModelSpec("up", "m"),
        "timeout_s": 20.0,
        "limits": Limits(),
        "budget": Budget(),
        "seed": 1,
        "env": {},
        "record": folder / "record",
        "companion": game,
    }
    with place(upstream) as site:
        return Direct().run(Request(**{**request, **changes}), site)


def test_an_agent_of_local_processes_plays(tmp_path: Path) -> None:
    model, game = ScriptedAgentModel([f"{ASK} '{{\"add\": 4}}'"] * 2), Counter()
    outcome = run(tmp_path, model, game)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "{'total': 4}" in model.outputs[0] and "{'total': 8}" in model.outputs[1]
    assert game.closed == 1
    assert len((tmp_path / "record" / "companion.jsonl").read_text().splitlines()) == 2


def test_a_rollout_whose_companion_failed_is_no_verdict_on_its_agent(tmp_path: Path) -> None:
    model, game = ScriptedAgentModel([f'{ASK} \'{{"do": "raise"}}\' || true']), Counter()
    outcome = run(tmp_path, model, game)
    assert outcome.status is Status.INFRA_ERROR
    assert "companion failed: RuntimeError: the board fell off the table" in outcome.message
    assert game.closed == 1


def test_it_is_closed_if_the_rollout_cannot_even_begin(tmp_path: Path) -> None:
    game = Counter()
    with pytest.raises(GatewayError, match="no upstream named 'gone'"):
        run(tmp_path, ScriptedAgentModel([]), game, model=ModelSpec("gone", "m"))
    assert game.closed == 1


def test_without_one_there_is_no_way_to_it(tmp_path: Path) -> None:
    model = ScriptedAgentModel(["env | grep -c COMPANION"])
    outcome = run(tmp_path, model, Counter(), companion=None)
    assert outcome.status is Status.COMPLETED and model.outputs[0].startswith("0")


def test_strangers_at_the_loopback_port_are_told_nothing() -> None:
    with place(ScriptedAgentModel([])) as site:
        site.network()
        for path in ("/companion", "/v1/chat/completions"):
            answer = httpx2.post(site.base_url + path, json={})
            assert answer.status_code == 401
        site.outlet.close()
