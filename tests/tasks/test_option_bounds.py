"""The options of benchmarks and scorers: their defaults and bounds; none can be misspelled."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from skillopt.tasks.benchmarks.alfworld.benchmark import AlfWorldOptions
from skillopt.tasks.benchmarks.docvqa.benchmark import DocVqaOptions
from skillopt.tasks.benchmarks.livemath.benchmark import LiveMathOptions
from skillopt.tasks.benchmarks.officeqa.benchmark import OfficeQaOptions
from skillopt.tasks.benchmarks.searchqa.benchmark import SearchQaOptions
from skillopt.tasks.benchmarks.spreadsheetbench.benchmark import SpreadsheetBenchOptions
from skillopt.tasks.drafts.drafts import Source
from skillopt.tasks.programs import ProgramOptions
from skillopt.tasks.scorers import (
    AnlsOptions,
    ChoiceOptions,
    ExactOptions,
    JsonEqualOptions,
    JsonOptions,
    NumericOptions,
    Options,
    RegexOptions,
)

DEFAULTS: dict[type[BaseModel], dict[str, Any]] = {
    AlfWorldOptions: {"max_steps": 50, "protocol": "tool"},
    DocVqaOptions: {"scorer": "reference"},
    LiveMathOptions: {"shuffle_seed": 42, "theorem": False, "sketch": False,
                      "scorer": "reference"},
    OfficeQaOptions: {"setting": "corpus", "search": False, "scorer": "public", "tolerance": 0.0,
                      "timeout_s": 180.0},
    SearchQaOptions: {"context_chars": 6000, "scorer": "reference"},
    SpreadsheetBenchOptions: {"setting": "file", "scorer": "public", "preview": False,
                              "recalculate": False, "image": None},
    ProgramOptions: {"by": "tests", "command": ("python3",), "suffix": ".py",
                     "print": 'print("{}")', "timeout_s": 10},
    ExactOptions: {"take": "tagged", "blanks": "joined"},
    NumericOptions: {"take": "tagged", "relative": 0.0, "absolute": 0.0},
    RegexOptions: {"take": "tagged", "whole": False, "ignore_case": False},
    JsonOptions: {"take": "whole"},
    JsonEqualOptions: {"take": "whole", "relative": 0.0, "any_order": False},
    AnlsOptions: {"take": "tagged", "variant": "reference"},
}  # fmt: skip


@pytest.mark.parametrize("model", DEFAULTS, ids=lambda model: model.__name__)
def test_options_have_their_defaults_and_stay_as_they_are(model: type[BaseModel]) -> None:
    made = model()
    assert made.model_dump() == DEFAULTS[model]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model(colour=1)
    assert not isinstance(made, Options) or made.answer(" a ") == "a"
    name = next(iter(DEFAULTS[model]))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, DEFAULTS[model][name])


def test_parts_of_a_draft_stay_as_they_are() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Source(agent="a", session="s", turn="t").agent = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "key", "fits", "breaks"),
    [
        (AlfWorldOptions, "max_steps", (1, 999), (0, -1)),
        (SearchQaOptions, "context_chars", (1, None), (0, -1)),
        (OfficeQaOptions, "tolerance", (0, 1), (-0.01, 1.01)),
        (OfficeQaOptions, "timeout_s", (0.1,), (0,)),
        (NumericOptions, "relative", (0, 0.99), (-0.01, 1)),
        (NumericOptions, "absolute", (0, 1e9), (-0.01,)),
        (JsonEqualOptions, "relative", (0, 0.99), (-0.01, 1)),
        (ChoiceOptions, "choices", ({"A": "a"},), ({}, None)),
    ],
)  # fmt: skip
def test_options_have_bounds(
    model: type[BaseModel], key: str, fits: tuple[Any, ...], breaks: tuple[Any, ...]
) -> None:
    for value in fits:
        made = model(**{key: value})
        assert not isinstance(made, Options) or made.answer(" a ") == "a"
        assert getattr(made, key) == value
    for value in breaks:
        with pytest.raises(ValidationError):
            model(**{key: value})
