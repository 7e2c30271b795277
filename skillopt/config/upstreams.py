"""The model services that a config may name, by kind."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from harnesses.protocols.base import ProtocolName
from skillopt.config.section import Section
from skillopt.core.import_path import PATH


class SimConfig(Section):
    """The simulated model; see :class:`skillopt.sim.model.SimUpstream` for the dials."""

    kind: Literal["sim"]
    seed: int = 0
    noise: float = Field(0.0, ge=0, le=1)
    latency_s: float = Field(0.0, ge=0)
    error_rate: float = Field(0.0, ge=0, le=1)
    cut_rate: float = Field(0.0, ge=0, le=1)
    malformed: float = Field(0.0, ge=0, le=1)
    harm: float = Field(0.2, ge=0, le=1)
    protocols: tuple[ProtocolName, ...] = ()
    """What it can be spoken to in; all three when absent. Others are translated."""


class HttpConfig(Section):
    """A model service over HTTP."""

    kind: Literal["openai", "azure-openai", "anthropic", "openai-compatible"]
    base_url: str | None = Field(None, pattern=r"^https?://")
    """Without ``/v1``; the vendor's own for openai and anthropic, the resource's for Azure."""
    key_env: str = ""
    """Environment variable that holds the key; never the key itself."""
    protocols: tuple[ProtocolName, ...] = ()
    """What the service speaks, where it is not the usual: ``[chat]`` for openai-compatible."""
    api_version: str = ""
    """Azure's dated interface, such as ``2025-04-01-preview``; its ``v1`` one when absent."""
    max_concurrency: int = Field(16, ge=1)

    @field_validator("key_env")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not re.fullmatch(
            r"([A-Z_][A-Z0-9_]*)?", name
        ):  # The value is not told: it may be a key.
            raise ValueError(
                "must be the name of an environment variable, in capital letters, and never the "
                "key itself"
            )
        return name

    @field_validator("base_url")
    @classmethod
    def _is_without_v1(cls, url: str | None) -> str | None:
        if url is not None and url.rstrip("/").endswith("/v1"):
            raise ValueError("ends with /v1, which is added to it: leave that out")
        return url

    @model_validator(mode="after")
    def _fits_its_kind(self) -> HttpConfig:
        if self.kind in ("openai-compatible", "azure-openai") and not self.base_url:
            raise ValueError(f"base_url is needed for an upstream of kind {self.kind}")
        if self.api_version and self.kind != "azure-openai":
            raise ValueError("api_version: only azure-openai has one; leave it out")
        return self


class LlamaConfig(Section):
    """A llama.cpp server that starts and ends with the run (extra ``local``)."""

    kind: Literal["llamacpp"]
    model: str = "smollm2"
    """``smollm2``, or a GGUF file; requests call it by that word, or by the file's stem."""
    context: int = Field(2048, ge=256)
    """Tokens of a request with its reply."""
    parallel: int = Field(2, ge=1)
    """Requests at the same time."""
    threads: int = Field(0, ge=0)
    """Half of the processors when 0."""
    template: str = ""
    """A chat template (Jinja) in place of the model's own."""
    protocols: tuple[ProtocolName, ...] = ("chat",)
    """llama.cpp has all three, but ignores JSON schemas and forced tools in the other two."""


class OwnUpstreamConfig(Section):
    """A model service of your own: ``kind`` is the import path of a class that implements
    :class:`harnesses.gateway.upstreams.Upstream`."""

    kind: str = Field(pattern=PATH)
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the class."""


def _tag(value: Any) -> str:
    """Which of the sections a mapping is, by its kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if kind in ("sim", "llamacpp"):
        return str(kind)
    if kind in get_args(HttpConfig.model_fields["kind"].annotation):
        return "http"
    return "own" if isinstance(kind, str) and ":" in kind else "unknown"


UpstreamConfig = Annotated[
    Annotated[SimConfig, Tag("sim")]
    | Annotated[HttpConfig, Tag("http")]
    | Annotated[LlamaConfig, Tag("llamacpp")]
    | Annotated[OwnUpstreamConfig, Tag("own")],
    Discriminator(
        _tag,
        custom_error_type="upstream_kind",
        custom_error_message="kind must be one of openai, azure-openai, anthropic, "
        "openai-compatible, llamacpp, sim, or an import path like 'my_package.module:MyUpstream'",
    ),
]


class UpstreamsConfig(Section):
    """Upstreams alone, as in ``configs/upstreams.yaml``."""

    upstreams: dict[str, UpstreamConfig]
