"""What model calls cost. An unknown price is unknown (None), never 0."""

from __future__ import annotations

import datetime
import fnmatch
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harnesses.base import Usage
from skillopt.config.schema import Config
from skillopt.core.resources import resource


class Price(BaseModel):
    """USD for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float
    cached: float
    completion: float


class Prices(BaseModel):
    """The price table, ``configs/prices.yaml``: patterns of model names, the first match counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: datetime.date
    """When the table was last checked against the vendors' pages."""
    models: dict[str, Price]

    def cost(self, model: str, usage: Usage) -> float | None:
        """Cost in USD of one usage of a model, None when the table does not know it."""
        for pattern, price in self.models.items():
            if fnmatch.fnmatchcase(model, pattern):
                fresh = usage.prompt_tokens - usage.cached_tokens
                tokens = (
                    fresh * price.prompt
                    + usage.cached_tokens * price.cached
                    + usage.completion_tokens * price.completion
                )
                return tokens / 1e6
        return None


def price_table(config: Config) -> Prices:
    """The price table of a config: its own, or the project's.

    Raises:
        ConfigError: the file is missing or does not fit.
    """
    return load_prices(config.prices or resource("configs") / "prices.yaml")


def load_prices(path: Path) -> Prices:
    """Read a price table; raises ConfigError for one that does not fit."""
    from skillopt.config.loading import load_config

    return load_config(path, Prices)


def money(cost: float | None) -> str:
    """A cost as people read it; an unknown one as such."""
    return "cost unknown" if cost is None else f"${cost:,.2f}"
