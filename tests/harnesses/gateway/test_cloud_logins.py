"""Logins of clouds, with packages of a test in place of the clouds' own."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harnesses.gateway.cloud_logins import AwsLogin, CloudLoginError, GoogleLogin
from harnesses.gateway.upstreams import (
    HttpUpstream,
    UnusableUpstreamError,
    UpstreamError,
    refused_advice,
)

URL = "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1/chat/completions"


class BotoCoreError(Exception):
    pass


class ClientError(Exception):
    pass


class HTTPClientError(BotoCoreError):
    pass


class Aws:
    """What botocore has: credentials of a session, and a signature."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions = 0
        self.found: Any = SimpleNamespace(get_frozen_credentials=lambda: "frozen")
        self.error: Exception | None = None
        self.region: str | None = None
        self.signed: list[Any] = []
        known: dict[str, dict[str, Any]] = {
            "botocore": {},
            "botocore.auth": {"SigV4Auth": self._auth},
            "botocore.awsrequest": {"AWSRequest": self._request},
            "botocore.exceptions": {
                "BotoCoreError": BotoCoreError,
                "ClientError": ClientError,
                "HTTPClientError": HTTPClientError,
            },
            "botocore.session": {"Session": self._session},
        }
        install(monkeypatch, known)
        monkeypatch.delenv("AWS_REGION", raising=False)

    def _session(self) -> Any:
        self.sessions += 1
        return SimpleNamespace(
            get_credentials=self._credentials, get_config_variable=lambda name: self.region
        )

    def _credentials(self) -> Any:
        if self.error:
            raise self.error
        return self.found

    def _request(self, method: str, url: str, headers: Any, data: bytes) -> Any:
        return SimpleNamespace(method=method, url=url, headers=dict(headers), data=data)

    def _auth(self, credentials: Any, name: str, region: str) -> Any:
        def add(request: Any) -> None:
            self.signed.append((credentials, name, region, request.method, request.url))
            request.headers["X-Amz-Date"] = 20260101

        return SimpleNamespace(add_auth=add)


def install(monkeypatch: pytest.MonkeyPatch, known: Mapping[str, Mapping[str, Any]]) -> None:
    for name, members in known.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    return Aws(monkeypatch)


def test_a_request_is_signed_with_the_login_of_this_machine(aws: Aws) -> None:
    login = AwsLogin()
    for _ in range(2):
        assert login.headers(URL, b"body") == {
            "content-type": "application/json",
            "x-amz-content-sha256": hashlib.sha256(b"body").hexdigest(),
            "x-amz-date": "20260101",
        }
    assert aws.signed == [("frozen", "bedrock", "eu-west-1", "POST", URL)] * 2
    assert aws.sessions == 1


@pytest.mark.parametrize(
    ("host", "name", "region"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock", "us-east-1"),
        ("bedrock-mantle.us-gov-west-1.api.aws", "bedrock-mantle", "us-gov-west-1"),
        ("vpce-1.bedrock-mantle.eu-north-1.vpce.amazonaws.com", "bedrock-mantle", "eu-north-1"),
        ("proxy.example", "bedrock", "of-variable"),
    ],
)
def test_the_region_is_in_the_host(
    host: str, name: str, region: str, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.region = "of-configuration"
    monkeypatch.setenv("AWS_REGION", "of-variable")
    AwsLogin().headers(f"https://{host}/v1/bedrock-mantle.xx-yy-1.z", b"")
    assert aws.signed[0][1:3] == (name, region)


def test_the_region_may_be_in_the_configuration(aws: Aws) -> None:
    aws.region = "of-configuration"
    AwsLogin().headers("https://proxy.example", b"")
    assert aws.signed[0][2] == "of-configuration"
    aws.region = None
    with pytest.raises(CloudLoginError, match="names no region: set AWS_REGION") as error:
        AwsLogin().headers("https://proxy.example", b"")
    assert error.value.lasting


@pytest.mark.parametrize(
    ("error", "lasting"),
    [(BotoCoreError("no"), True), (ClientError("no"), True), (HTTPClientError("no"), False)],
)
def test_an_aws_login_that_fails(error: Exception, lasting: bool, aws: Aws) -> None:
    aws.error = error
    with pytest.raises(CloudLoginError, match="AWS login: no; does 'aws sts") as found:
        AwsLogin().headers(URL, b"")
    assert found.value.lasting is lasting


def test_one_without_credentials_says_how_to_get_some(aws: Aws) -> None:
    aws.found = None
    with pytest.raises(CloudLoginError, match="there are no credentials: run 'aws configure'"):
        AwsLogin().headers(URL, b"")
    assert aws.signed == []


class GoogleAuthError(Exception):
    retryable = False


class RetryableError(GoogleAuthError):
    retryable = True


class TransportError(GoogleAuthError):
    pass


class Google:
    """What google-auth has: default credentials."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.valid = False
        self.token = "t"
        self.looked: list[Any] = []
        self.renewed: list[Any] = []
        self.error: Exception | None = None
        known: dict[str, dict[str, Any]] = {
            "google": {},
            "google.auth": {"default": self._default},
            "google.auth.exceptions": {
                "GoogleAuthError": GoogleAuthError,
                "TransportError": TransportError,
            },
            "google.auth.transport": {},
            "google.auth.transport.requests": {"Request": lambda: "request"},
        }
        install(monkeypatch, known)

    def _default(self, scopes: Any) -> Any:
        self.looked.append(scopes)
        return self, "project"

    def refresh(self, request: Any) -> None:
        if self.error:
            raise self.error
        self.renewed.append(request)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Google:
    return Google(monkeypatch)


def test_a_token_is_renewed_when_it_is_not_valid(google: Google) -> None:
    login = GoogleLogin()
    assert login.token() == "t" and google.renewed == ["request"]
    google.valid = True
    assert login.token() == "t" and google.renewed == ["request"]
    google.valid, google.token = False, "u"
    assert login.token() == "u" and google.renewed == ["request"] * 2
    assert google.looked == [["https://www.googleapis.com/auth/cloud-platform"]]


@pytest.mark.parametrize(
    ("error", "lasting"),
    [(GoogleAuthError("no"), True), (RetryableError("no"), False), (TransportError("no"), False)],
)
def test_a_google_login_that_fails(error: Exception, lasting: bool, google: Google) -> None:
    google.error = error
    with pytest.raises(CloudLoginError, match="Google login: no; run 'gcloud auth") as found:
        GoogleLogin().token()
    assert found.value.lasting is lasting
    upstream = HttpUpstream("vertex", "", "", frozenset({"chat"}))
    with pytest.raises(UpstreamError, match="Google login: no") as raised:
        asyncio.run(upstream._key())
    assert isinstance(raised.value, UnusableUpstreamError) is lasting


@pytest.mark.parametrize("package", ["botocore", "google"])
def test_a_missing_package_names_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules, f"{package}.auth", package]:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    extra = {"botocore": "aws", "google": "google"}[package]
    with pytest.raises(CloudLoginError, match=rf"skillopt-harness\[{extra}\]") as error:
        AwsLogin().headers(URL, b"") if extra == "aws" else GoogleLogin().token()
    assert error.value.lasting


@pytest.mark.parametrize(
    ("kind", "key_env", "login"),
    [("bedrock", "", "aws"), ("vertex", "", "google"), ("openai", "", ""), ("bedrock", "K", ""),
     ("vertex", "K", "")],
)  # fmt: skip
def test_a_clouds_login_is_used_if_there_is_no_key(kind: str, key_env: str, login: str) -> None:
    upstream = HttpUpstream(kind, "", key_env, frozenset({"chat"}))
    assert upstream.cloud_login == login
    said = refused_advice(401, "no", "m", upstream)
    assert (f"refused the {login} login: status 401: no; check its permissions" in said) is bool(
        login
    )


def test_a_google_token_is_the_key(google: Google) -> None:
    upstream = HttpUpstream("vertex", "", "", frozenset({"chat"}))
    assert asyncio.run(upstream._key()) == "t"
    assert asyncio.run(HttpUpstream("bedrock", "", "", frozenset({"chat"}))._key()) == ""
