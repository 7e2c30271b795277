"""Each method by the command line: limits, services that refuse or are gone, and Ctrl-C end its run
with a word, and the same command goes on to what an undisturbed run ends with."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import pytest

from skillopt.cli import EXIT_INTERRUPTED, EXIT_LIMIT, EXIT_PAUSED
from tests.helpers.tiny import Tiny, program, refused, tiny
from tests.services.service import serving
from tests.services.wire import refused as refusal

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

METHODS: dict[str, dict[str, Any]] = {
    "one_shot": {},
    "textgrad": {"batch_size": 2, "epochs": 2},
    "evoskill": {"iterations": 3, "per_family": 2},
    "gepa": {"rollouts": 30, "minibatch": 2},
    "trace2skill": {"skills": 2},
}
WITHOUT_GEPA = pytest.mark.skipif(find_spec("gepa") is None, reason="needs the extra methods")
KINDS = [pytest.param(kind, marks=[WITHOUT_GEPA] if kind == "gepa" else []) for kind in METHODS]
SLOW = """
class Slow(Writer):
    def run(self, request, site):
        import time

        time.sleep(0.1)
        return super().run(request, site)
"""
OPTIMIZER = {"upstream": "sim", "name": "sim-1"}


def write(tiny: Tiny, kind: str, name: str, **settings: Any) -> None:
    """The config of a run that has a store of its own."""
    tiny.write(name=name, runs=f"runs-{name}", method={"kind": kind, **METHODS[kind]}, **settings)


def result(tiny: Tiny) -> tuple[str, int]:
    """What a run ends with: its skill, and the rollouts that were asked for."""
    root = tiny.folder / tiny.settings["runs"] / tiny.settings["name"]
    asked = sum(len(r["keys"]) for r in tiny.events("rollouts_asked", root))
    assert len(tiny.events("run_done", root)) == 1
    return (root / "best_skill.md").read_text(), asked


def finished(tiny: Tiny) -> tuple[str, int]:
    done = tiny.train()
    assert done.returncode == 0, done.stderr
    return result(tiny)


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_a_refused_key_and_a_service_that_is_gone(
    tiny: Tiny, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "wrong")
    write(tiny, kind, "undisturbed")
    expected = finished(tiny)

    write(tiny, kind, "limited", limits={"rollouts": 3 if kind == "one_shot" else 4})
    done = tiny.train()
    assert done.returncode == EXIT_LIMIT and "stopped: limits.rollouts: " in done.stdout
    write(tiny, kind, "limited", limits={})
    assert finished(tiny) == expected

    with serving(lambda asked: refusal(401, "Incorrect API key provided")) as service:
        bad = {"kind": "openai", "base_url": f"{service.url}/v1", "key_env": "A_KEY"}
        write(tiny, kind, "refused", upstreams__bad=bad, optimizer={**OPTIMIZER, "upstream": "bad"})
        refused(tiny.train(), "Incorrect API key", "check the key in A_KEY", code=EXIT_PAUSED)
    refused(tiny.train(), "is the service running", code=EXIT_PAUSED)  # Its port is closed now.
    write(tiny, kind, "refused", optimizer=OPTIMIZER)
    assert finished(tiny) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt(tiny: Tiny, kind: str) -> None:
    tiny.own(SLOW)
    write(tiny, kind, "undisturbed", harness={"name": "own:Slow"})
    expected = finished(tiny)
    write(tiny, kind, "interrupted")
    started = program("train", tiny.config)
    log = tiny.folder / "runs-interrupted" / "interrupted" / "events.jsonl"
    until = time.monotonic() + 60
    while not (log.exists() and '"kind":"rollout_ran"' in log.read_text()):
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    started.send_signal(2)
    _, err = started.communicate(timeout=60)
    assert started.returncode == EXIT_INTERRUPTED and "again to resume" in err
    assert finished(tiny) == expected
