"""What helper processes are given of this one's environment."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harnesses.environment import without_keys


def test_helpers_have_no_keys_and_find_their_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = without_keys(LANG="de_DE.UTF-8", OWN="1")
    code = "import json, os, pydantic; print(json.dumps(dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    found = json.loads(done.stdout)
    assert "secret" not in found.values()
    assert (found["LANG"], found["OWN"]) == ("de_DE.UTF-8", "1")
    assert found["PATH"] == environment["PATH"]
