"""What ``doctor`` says of a cluster's node: what a run would refuse it for."""

from __future__ import annotations

import pytest

from skillopt.cli import doctor
from skillopt.rollouts.cluster.sameness import versions


def test_a_node_that_a_run_would_refuse_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter(()))
    monkeypatch.delenv("THEIR_KEY", raising=False)
    driver = {**versions(), "codex": "0.1"}
    checks = {check.name: check for check in doctor.examined(driver, ("THEIR_KEY",), "")}
    assert not checks["same code"].ok and "0.1 here" in checks["same code"].detail
    assert not checks["API keys"].ok and "no API key in THEIR_KEY" in checks["API keys"].detail
    monkeypatch.setenv("THEIR_KEY", "sk-nobody-may-see")
    checks = {check.name: check for check in doctor.examined(versions(), ("THEIR_KEY",), "")}
    assert checks["same code"].ok and checks["API keys"].ok
    assert "nobody" not in str(checks)
