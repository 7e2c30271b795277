"""Logins of clouds, for services that are called without a key: AWS signatures, Google's tokens.

Each needs an extra of the package. The clouds' own packages look for the login where their command
line tools keep it. Nothing of it is written anywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Mapping
from typing import Any

from sandboxes.errors import SkillOptError

_REGION = re.compile(r"//[^/]*\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class CloudLoginError(SkillOptError):
    """There is no login, or it could not be renewed.

    Args:
        message: what is wrong and what to do.
        lasting: whether another try is of no use.
    """

    def __init__(self, message: str, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


def _missing(package: str, extra: str, key: str) -> CloudLoginError:
    return CloudLoginError(
        f"the package {package} is not installed: pip install 'skillopt-harness[{extra}]', or set "
        f"key_env to a variable with {key}"
    )


class AwsLogin:
    """Signs requests to Bedrock (Signature Version 4) with the credentials of this machine."""

    def __init__(self) -> None:
        self._session: Any = None
        self._lock = threading.Lock()

    def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        """The headers that sign a request. It may take a while, as credentials are renewed.

        Args:
            url: of the request, whose host names the region; otherwise ``AWS_REGION`` or the AWS
                configuration does.
            content: its body, JSON.

        Raises:
            CloudLoginError: no extra, no credentials, no region.
        """
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
            from botocore.session import Session
        except ImportError as error:
            raise _missing("botocore", "aws", "an API key of Bedrock") from error
        try:
            with self._lock:
                self._session = self._session or Session()
                found = self._session.get_credentials()
                credentials = found and found.get_frozen_credentials()
                region = self._region(url)
        except (BotoCoreError, ClientError) as error:
            lasting = not isinstance(error, HTTPClientError)
            advice = "does 'aws sts get-caller-identity' work?"
            raise CloudLoginError(f"AWS login: {error}; {advice}", lasting) from error
        if not credentials:
            raise CloudLoginError(
                "AWS login: there are no credentials: run 'aws configure' or 'aws sso login', or "
                "set key_env to a variable with an API key of Bedrock"
            )
        name = "bedrock-mantle" if re.match(r"\w+://[^/]*bedrock-mantle", url) else "bedrock"
        signed = {
            "content-type": "application/json",
            "x-amz-content-sha256": hashlib.sha256(content).hexdigest(),
        }
        request = AWSRequest("POST", url, headers=signed, data=content)
        SigV4Auth(credentials, name, region).add_auth(request)
        return {key.lower(): str(value) for key, value in request.headers.items()}

    def _region(self, url: str) -> str:
        if found := _REGION.search(url):
            return found[1]
        region = os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        if not region:
            raise CloudLoginError(
                "AWS login: base_url names no region: set AWS_REGION, such as us-east-1"
            )
        return str(region)


class GoogleLogin:
    """Tokens of this machine's Google account (application default credentials)."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._lock = threading.Lock()

    def token(self) -> str:
        """A token that is valid now. It may take a while, as tokens are renewed.

        Raises:
            CloudLoginError: no extra, no login, or it could not be renewed.
        """
        try:
            import google.auth
            from google.auth.exceptions import GoogleAuthError, TransportError
            from google.auth.transport.requests import Request
        except ImportError as error:
            raise _missing("google-auth", "google", "an access token") from error
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[_SCOPE])
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
            except GoogleAuthError as error:
                lasting = not (isinstance(error, TransportError) or error.retryable)
                raise CloudLoginError(
                    f"Google login: {error}; run 'gcloud auth application-default login', or set "
                    "key_env to a variable with an access token",
                    lasting,
                ) from error
            return str(self._credentials.token)
