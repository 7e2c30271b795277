"""A night of service trouble: the run ends by itself, in the skill of an undisturbed run.

Eight hours are played in 40 seconds: outages, limits and patience are scaled by one factor.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harnesses.gateway.patience import Patience
from harnesses.gateway.upstreams import Answer, Call, UpstreamError
from skillopt import Plugins, RunResult, train
from skillopt.run.journal import read_records
from skillopt.run.records import Noted, RolloutRan
from skillopt.sim.model import SimUpstream
from tests.helpers.cells import ALL_CELLS
from tests.helpers.small import small_config, untimed

SCALE = 40 / (8 * 3600)
PATIENCE_S = 3600 * SCALE
NIGHT_S = 8 * 3600 * SCALE
MINUTE = 60 * SCALE
CODEX = pytest.param("codex", marks=pytest.mark.engine)
HARNESSES = ["direct", *([CODEX] if ALL_CELLS else [])]  # Its containers take it a minute more.


async def body(value: object) -> AsyncIterator[bytes]:
    yield json.dumps(value).encode()


def refused(status: int, message: str, code: str = "", wait_s: float | None = None) -> Answer:
    error = {"error": {"message": message, "code": code}}
    return Answer(status, "application/json", body(error), wait_s)


class Night(SimUpstream):
    """The simulated model on a service that has a bad night: 18 minutes of each 40 are trouble, of
    five kinds in turn."""

    def __init__(self) -> None:
        super().__init__(latency_s=0.3, harm=0.5)
        self.began = time.monotonic()
        self.met: set[str] = set()

    async def send(self, call: Call) -> Answer:
        minutes = (time.monotonic() - self.began) / MINUTE
        cycle, at = divmod(minutes, 40)
        if minutes > 480 or at < 22:
            return await super().send(call)
        left_s = (40 - at) * MINUTE
        kind = ("outage", "limit", "credit", "overloaded", "page")[int(cycle) % 5]
        self.met.add(kind)
        match kind:
            case "outage":
                raise UpstreamError("connection refused")
            case "limit":
                return refused(429, "rate limit", wait_s=min(left_s, 10 * MINUTE))
            case "overloaded":
                return refused(529, "overloaded")
            case "page":
                return Answer(200, "text/html", body("<html>maintenance</html>"))
        text = f"quota used up; try again in {left_s:.2f}s"
        return refused(429, text, "insufficient_quota")


def scores(result: RunResult) -> list[object]:
    return untimed(result.history)


@pytest.mark.alone
@pytest.mark.parametrize("harness", HARNESSES)
def test_a_night_of_trouble_changes_nothing(
    harness: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Patience.pause
    monkeypatch.setattr(
        Patience,
        "pause",
        lambda self, failures, told: pause(self, failures, told) * (1 if told else 10 * SCALE),
    )
    monkeypatch.setattr("harnesses.gateway.service._WORTH_TELLING_S", 5 * MINUTE)
    shipped = {"direct": "local", "codex": "codex"}[harness]
    settings = {"train.epochs": 3, "patience": PATIENCE_S, "workers": 2}
    quiet, night = tmp_path / "quiet", tmp_path / "night"
    quiet.mkdir()
    night.mkdir()
    expected = train(
        small_config(quiet, shipped, **settings, name="run"),
        plugins=Plugins(upstreams={"sim": SimUpstream(harm=0.5)}),
    )
    service = Night()
    began = time.monotonic()
    result = train(
        small_config(night, shipped, **settings, name="run"),
        plugins=Plugins(upstreams={"sim": service}),
    )
    assert result.done and result.best == expected.best
    assert scores(result) == scores(expected)
    records = list(read_records(night / "runs" / "run"))
    assert not [r.message for r in records if isinstance(r, RolloutRan) and not r.status.scored]
    notes = [r.text for r in records if isinstance(r, Noted)]
    assert any("waiting for model service sim" in note for note in notes)
    assert any("replies again" in note for note in notes)
    assert time.monotonic() - began > 160 * MINUTE
    assert len(service.met) >= 3, service.met
