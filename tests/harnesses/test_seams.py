"""What holds the harnesses together: names, lazy imports, the fit with a backend, and errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel, ValidationError, field_validator

import harnesses
import sandboxes
from harnesses.agents.options import OptionsError
from harnesses.agents.registry import (
    CLI_AGENTS,
    NAMES,
    HarnessError,
    agent_kind,
    check_backend,
    make_harness,
)
from harnesses.protocols.base import ProtocolError
from sandboxes.errors import BackendError, SkillOptError
from sandboxes.registry import traits_of


def imported(code: str) -> set[str]:
    """The modules of ours that a program has imported."""
    code += (
        "; import sys; print(*[m for m in sys.modules "
        "if m.startswith(('harnesses.', 'sandboxes.', 'skillopt.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_to_know_the_names_of_agents_imports_none_of_them() -> None:
    found = imported("from harnesses.agents.registry import NAMES")
    assert found == {"harnesses.agents", "harnesses.agents.registry", "sandboxes.errors"}


@pytest.mark.slow
def test_a_config_is_checked_without_the_agents_that_it_does_not_name() -> None:
    code = "from skillopt.config.schema import Config, HarnessConfig; HarnessConfig(name='codex')"
    found = imported(code)
    assert not found & {*CLI_AGENTS.values(), "sandboxes.docker", "harnesses.agents.direct"}
    code += "; HarnessConfig(name='codex', options={'effort': 'low'})"
    assert imported(code) & set(CLI_AGENTS.values()) == {"harnesses.agents.codex"}


@pytest.mark.parametrize("name", CLI_AGENTS)
def test_a_line_in_the_registry_is_all_that_names_an_agent(name: str) -> None:
    kind, harness = agent_kind(name), make_harness(name)
    assert harness.name == name == kind.toolchain(None).name
    assert harness.version() == kind.toolchain(None).version
    assert name in NAMES


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(HarnessError, match="'codx' is not a harness; did you mean 'codex'"):
        make_harness("codx")
    with pytest.raises(HarnessError, match="'zzz' is not a harness; there are: direct, codex"):
        make_harness("zzz")
    with pytest.raises(HarnessError, match="'direct' is not a command-line agent"):
        agent_kind("direct")


def test_agents_run_where_they_are_isolated_and_have_their_program() -> None:
    check_backend("codex", traits_of("docker"))
    with pytest.raises(BackendError, match=r"^harness.name: 'codex' needs .*'local'"):
        check_backend("codex", traits_of("local"))


def public_errors() -> list[type[BaseException]]:
    found = []
    for package in (harnesses, sandboxes):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                own = isinstance(value, type) and value.__module__ == module.name
                if own and issubclass(value, BaseException) and not name.startswith("_"):
                    found.append(value)
    return found


def test_every_error_that_a_user_can_meet_has_the_same_base() -> None:
    errors = public_errors()
    assert len(errors) > 12
    assert [error for error in errors if not issubclass(error, SkillOptError)] == []
    assert {error.exit_code for error in errors if issubclass(error, SkillOptError)} == {2, 3}


@pytest.mark.parametrize("error", [OptionsError, ProtocolError, BackendError])
def test_errors_of_values_are_what_a_validator_may_raise(error: type[Exception]) -> None:
    class Checked(BaseModel):
        value: str

        @field_validator("value")
        @classmethod
        def _refuse(cls, value: str) -> str:
            raise error("value: no")

    with pytest.raises(ValidationError, match="value: no"):
        Checked(value="x")


@pytest.mark.parametrize("package", [harnesses, sandboxes])
def test_the_public_names_are_there_and_cost_no_import(package: ModuleType) -> None:
    assert imported(f"import {package.__name__}") == set()
    assert sorted(package.__all__) == sorted(set(package.__all__)) == sorted(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    typed = Path(str(package.__file__)).read_text().partition("_HOMES")[0]
    named = re.findall(r"import (\w+) as \1$", typed, re.MULTILINE)
    assert sorted(named) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing
