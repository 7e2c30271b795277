"""A language model on this machine: the extra that it needs.

`tests/docs` trains one, and looks at it with `tests.helpers.local_model`.
"""

from __future__ import annotations

import importlib.util

import pytest

from tests.helpers.command_line import skillopt


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "xllamacpp" else find(n, *a)
    )
    done = skillopt("doctor", "--model", "smollm2:smollm2")
    assert done.returncode == 1
    assert "pip install 'skillopt-harness[local]'" in done.stdout
