"""Makes the judge that a config names."""

from __future__ import annotations

from collections.abc import Mapping

from skillopt.config.schema import Config
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.upstreams import model_spec, service_of

SILENCE_S = 1800.0
"""Seconds for which a reply may think in silence, unless the config says otherwise."""


def make_judge(config: Config, parts: Mapping[str, str]) -> JudgeSpec | None:
    """The judge that a config names; None if it names none.

    Args:
        config: with the section.
        parts: from :func:`skillopt.rollouts.plugins.identities`, for a user's own upstream.

    Raises:
        PromptError: its template cannot be used.
    """
    own = config.judge
    if own is None:
        return None
    return JudgeSpec(
        model=model_spec(own),
        template=read_template(own.prompt),
        service=service_of(config, own, parts),
        when=own.when,
        tokens=own.evidence_tokens,
        silence_s=min(SILENCE_S, config.patience.total) if own.timeout_s is None else own.timeout_s,
    )
