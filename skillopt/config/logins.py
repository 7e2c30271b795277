"""Which parts of a run may use a plan's login, and how: all else is refused with the reason.

The vendors' terms and what follows from them are in docs/accounts.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harnesses.gateway.plan_route import UNSUPPORTED
from harnesses.gateway.plan_upstreams import CLAUDE_CODE, CLAUDE_ONLY, HOLDS_TOKEN
from sandboxes.registry import BACKENDS, traits_of

if TYPE_CHECKING:
    from skillopt.config.schema import Config, ModelConfig


def login(config: Config, upstream: str) -> str:
    """The login that pays for an upstream; empty if none does."""
    return str(getattr(config.upstreams[upstream], "login", None) or "")


def models(config: Config) -> Iterator[tuple[str, ModelConfig]]:
    """The models that a run uses, by the key of the config that names them."""
    yield "target", config.target
    yield "optimizer", config.optimizer
    if config.judge is not None:
        yield "judge", config.judge


def paid_by_plans(config: Config) -> bool:
    """Whether plans pay for all model calls."""
    return all(login(config, model.upstream) for _, model in models(config))


def check_logins(config: Config) -> None:
    """Raise ValueError, with the key, if a config uses a login as it may not be used."""
    for role, model in models(config):
        kind = login(config, model.upstream)
        if kind == "chatgpt":
            for key in sorted(set(model.sampling) & UNSUPPORTED):
                raise ValueError(
                    f"{role}.sampling.{key}: a ChatGPT plan's route does not take it; remove it"
                )
        if kind == "claude-plan" and model.sampling:
            raise ValueError(
                f"{role}.sampling: the requests of Claude Code pass unchanged on a Claude plan; "
                "remove it"
            )
        if kind == "claude-plan":
            key = {"target": "harness.name", "optimizer": "optimizer.harness"}.get(role, role)
            check_program(config, config.caller(role), key)
    _check_limits(config)


def check_program(config: Config, program: str, key: str) -> None:
    """Raise ValueError if a program may not use a Claude plan, or not in the config's sandbox.

    Args:
        config: whose sandbox it runs in.
        program: name of a harness; empty for calls of this process.
        key: of the config, for the message.
    """
    if program != CLAUDE_CODE:
        named = f"{program}: " if program else ""
        raise ValueError(f"{key}: {named}{CLAUDE_ONLY}")
    why, sandbox = HOLDS_TOKEN, config.sandbox
    if sandbox.kind not in BACKENDS or not traits_of(sandbox.kind).isolated:
        raise ValueError(f"sandbox.kind: {sandbox.kind}: {why}, so it must be docker")
    for name in ("network", "verifier_network"):
        if getattr(sandbox, name) != "none":
            raise ValueError(
                f"sandbox.{name}: {why}, and what runs there must not be able to send it away; "
                "set none, or use an API key (key_env)"
            )
    if sandbox.handover == "container":
        raise ValueError(
            f"sandbox.handover: container: {why}, and an image of it would keep the token; set "
            "workdir, or use an API key (key_env)"
        )


def _check_limits(config: Config) -> None:
    limits = config.limits
    of_stages = [(f"limits.stages.{name}.", one) for name, one in limits.stages.items()]
    for key, one in (("limits.", limits), *of_stages):
        if one.usd is not None and paid_by_plans(config):
            raise ValueError(
                f"{key}usd: plans pay for all model calls, which have no cost of their own; use "
                "tokens, or limits.plan_share"
            )
    if limits.plan_share is None:
        return
    if not any(login(config, model.upstream) for _, model in models(config)):
        raise ValueError("limits.plan_share: no model is paid by a plan (login); remove it")
