"""The SDK's client of an engine. Imported when first needed: the SDK takes long to load."""

from __future__ import annotations

from typing import Any

from docker import APIClient


class EngineClient(APIClient):
    """One that trusts the certificates that it was given, whatever the environment says."""

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """As of requests, which lets REQUESTS_CA_BUNDLE win over a session's own setting."""
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)
