"""What model calls cost. An unknown price is unknown (None), never 0."""

from __future__ import annotations

import datetime
import fnmatch
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harnesses.base import Usage
from skillopt.config.schema import Config
from skillopt.core.resources import resource, state_folder

_DATE = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2})$")
"""The date of a release at the end of a model's name."""


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""USD, or a factor of them."""


class LongPrompt(BaseModel):
    """Factors for all prices of a request with a long prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(ge=0)
    """The factors apply if the prompt is longer than this."""
    prompt: Amount
    """Factor for prompt, cached and cache-write tokens."""
    completion: Amount


class Price(BaseModel):
    """USD per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Amount
    cached: Amount
    """Prompt tokens that are read from the provider's cache."""
    cache_write: Amount | None = None
    """Prompt tokens that are cached for some minutes; by default as other prompt tokens."""
    cache_write_long: Amount | None = None
    """Prompt tokens that are cached for an hour or more; by default as ``cache_write``."""
    completion: Amount
    above: LongPrompt | None = None

    def cost(self, usage: Usage) -> float:
        """Cost in USD. The usage of several requests is split equally between them."""
        write = self.prompt if self.cache_write is None else self.cache_write
        write_long = write if self.cache_write_long is None else self.cache_write_long
        written, long = usage.cache_write_tokens, usage.cache_write_long_tokens
        fresh = usage.prompt_tokens - usage.cached_tokens - written - long
        prompt = (
            fresh * self.prompt
            + usage.cached_tokens * self.cached
            + written * write
            + long * write_long
        )
        completion = usage.completion_tokens * self.completion
        above = self.above
        if above is not None and usage.prompt_tokens > above.tokens * max(1, usage.requests):
            prompt, completion = prompt * above.prompt, completion * above.completion
        return (prompt + completion) / 1e6


class Prices(BaseModel):
    """The price table, ``configs/prices.yaml``: patterns of model names. The first match counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: datetime.date
    """The date on which the table was last checked against the vendors' pages."""
    models: dict[str, Price]

    def cost(self, model: str, usage: Usage) -> float | None:
        """Cost in USD of some usage of a model; None if the model is not in the table.

        Args:
            model: the name in requests, with or without the date of a release.
            usage: preferably a single request's, as longer prompts may cost more.
        """
        undated = _DATE.sub("", model)
        for pattern, price in self.models.items():
            if fnmatch.fnmatchcase(model, pattern) or fnmatch.fnmatchcase(undated, pattern):
                return price.cost(usage)
        return None


def price_table(config: Config) -> Prices:
    """The price table of a config: its own, or the default.

    Raises:
        ConfigError: the file is missing or does not fit.
    """
    return load_prices(config.prices or default_table())


def own_table() -> Path:
    """Where ``skillopt prices`` writes a renewed table, which need not be there."""
    return state_folder() / "prices.yaml"


def default_table() -> Path:
    """The file of the table that is used if a config names none: the renewed one, unless the
    project's is of a later date.

    Raises:
        ConfigError: the renewed one does not fit.
    """
    packaged, own = resource("configs") / "prices.yaml", own_table()
    if own.is_file() and load_prices(own).date >= load_prices(packaged).date:
        return own
    return packaged


def load_prices(path: Path) -> Prices:
    """Read a price table; raises ConfigError for one that does not fit."""
    from skillopt.config.loading import load_config

    return load_config(path, Prices)


def money(cost: float | None) -> str:
    """A cost as text for people, ``cost unknown`` if it is None."""
    return "cost unknown" if cost is None else f"${cost:,.2f}"


def cost_text(usage: Usage) -> str:
    """What some usage has cost, as text for people: neither 0 nor unknown if a plan has paid."""
    if usage.included and usage.cost_usd is not None:
        return f"{money(usage.cost_usd)} and a plan" if usage.cost_usd else "included in a plan"
    return money(usage.cost_usd)
