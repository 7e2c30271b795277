"""The SDK's client of an engine. Imported when first needed: the SDK takes long to load."""

from __future__ import annotations

import re
from typing import Any

from docker import APIClient
from docker.errors import APIError, DockerException
from requests.exceptions import JSONDecodeError

_VERSION = re.compile(r"\d+\.\d+")
_MOST_SAID = 200


class EngineClient(APIClient):
    """One that trusts the certificates that it was given, whatever the environment says, and tells
    an engine from another server, and that waits for no answer without end."""

    def _retrieve_server_version(self) -> str:
        try:
            answer = self.version(api_version=False)
            found = answer.get("ApiVersion") if isinstance(answer, dict) else None
        except JSONDecodeError:
            found = None
        except APIError as error:
            said = f"{error.status_code} {str(error.explanation or '')[:_MOST_SAID]}".strip()
            raise DockerException(f"its server answers {said}") from None
        if not isinstance(found, str) or _VERSION.fullmatch(found) is None:
            raise DockerException("its server answers, but not as an engine does")
        return found

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """As of requests, with this client's time limit where the SDK has forgotten it, as for
        ``attach_socket``. A request without a limit says so; see sandboxes/listening.py."""
        return super().request(*args, **{"timeout": self.timeout, **kwargs})

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """As of requests, which lets REQUESTS_CA_BUNDLE win over a session's own setting."""
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)
