"""Sign in with ChatGPT: against the vendor's pages as a server on loopback plays them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

from harnesses.accounts.chatgpt import Callback, ChatGptAccount
from harnesses.accounts.vault import AccountError, AccountUnreachableError, Vault, config_folder
from tests.services.plans import Tokens, browse, signing_in


class Ring(keyring.backend.KeyringBackend):  # type: ignore[misc]  # Untyped where not installed.
    """A keyring in memory."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked
        self.kept.pop((service, username), None)


@pytest.fixture(autouse=True)
def no_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def account(tmp_path: Path) -> ChatGptAccount:
    return ChatGptAccount(Vault("chatgpt", tmp_path / "config"))


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    with signing_in(monkeypatch) as tokens:
        yield tokens


def signed_in(account: ChatGptAccount) -> ChatGptAccount:
    request = account.begin()
    account.finish(request, browse(request.url))
    return account


def again(account: ChatGptAccount) -> ChatGptAccount:
    """The same sign-in in another process."""
    return ChatGptAccount(account.vault)


def token(account: ChatGptAccount) -> str:
    return asyncio.run(account.token())


def test_the_browser_comes_back_and_the_tokens_are_kept_privately(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    request = account.begin()
    with Callback(request).serving() as server:
        browse(request.url)
        callback = server.wait(10)
    state = account.finish(request, callback)
    assert (state.email, state.problem) == ("someone@example.org", "")
    (asked,) = vendor.asked
    assert asked["client_id"] == "dynamic_agent_client" and asked["agent_name_hint"] == "SkillOpt"
    assert asked["ext_agent_host_id"].startswith("urn:uuid:")
    assert "chatgpt.tokens.use.direct" in asked["scope"]
    assert asked["code_challenge_method"] == "S256"
    assert stat.S_IMODE(account.vault.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(account.vault.folder.stat().st_mode) == 0o700
    assert token(again(account)) in vendor.valid and vendor.refreshed == 0


def test_another_port_is_taken_if_somebody_has_the_usual_one(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    first, second = account.begin(), account.begin()
    with Callback(first).serving(), Callback(second).serving() as server:
        assert first.redirect_uri != second.redirect_uri
        browse(second.url)
        assert account.finish(second, server.wait(10)).problem == ""


def test_a_stranger_at_the_callback_is_not_let_in(account: ChatGptAccount, vendor: Tokens) -> None:
    request = account.begin()
    with Callback(request).serving() as server:
        forged = f"{request.redirect_uri}?code=x&state=forged&client_id=oaiapp_issued"
        assert httpx2.get(forged).status_code == 404
        assert server.wait(0.1) == ""
    with pytest.raises(AccountError, match="its state differs"):
        account.finish(request, forged)
    with pytest.raises(AccountError, match="registered no client"):
        account.finish(request, f"{request.redirect_uri}?code=x&state={request.state}")
    with pytest.raises(AccountError, match="ChatGPT did not sign in: access_denied"):
        account.finish(request, f"{request.redirect_uri}?error=access_denied&state={request.state}")
    assert account.state() is None


def test_a_sign_in_without_the_plans_use_is_none(
    account: ChatGptAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    with signing_in(monkeypatch, scope="openid email") as vendor:
        request = account.begin()
        with pytest.raises(AccountError, match="use of the plan was not allowed"):
            account.finish(request, browse(request.url))
        assert account.state() and "not allowed" in account.state().problem  # type: ignore[union-attr]
        with pytest.raises(AccountError, match="skillopt login chatgpt"):
            token(again(account))
        assert vendor.valid


def test_who_signs_in_again_is_the_same_app_on_the_same_machine(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    signed_in(account)
    assert account.end() == ""
    assert account.state() is None and "marker" not in account.vault.file.read_text()
    assert len(vendor.revoked) == 1 and vendor.revoked[0].startswith("marker-refresh-")
    signed_in(again(account))
    first, second = vendor.asked
    assert second["client_id"] == "oaiapp_issued" and "agent_name_hint" not in second
    assert second["ext_agent_host_id"] == first["ext_agent_host_id"]


def test_the_tokens_are_gone_even_if_the_vendor_cannot_be_told(
    account: ChatGptAccount, vendor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(account)
    monkeypatch.setattr("harnesses.accounts.chatgpt.REVOKE_URL", "http://127.0.0.1:9/revoke")
    assert "did not answer" in account.end()
    assert account.state() is None


def test_many_that_need_a_new_token_renew_it_once(account: ChatGptAccount, vendor: Tokens) -> None:
    vendor.access_s, vendor.slow_s = 1.0, 0.05  # Ends within the margin: to be renewed at once.
    signed_in(account)
    vendor.access_s = 3600.0
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(token, [again(account) for _ in range(8)]))
    assert vendor.refreshed == 1 and found == vendor.valid


def _in_a_process(folder: str, vendor: str, out: str) -> None:
    import chatgpt_plan_auth.auth

    chatgpt_plan_auth.auth.TOKEN_URL = f"{vendor}/token"
    keyring.set_keyring(keyring.backends.fail.Keyring())
    found = token(ChatGptAccount(Vault("chatgpt", Path(folder))))
    Path(out).write_text(found)


def test_processes_renew_it_one_after_another(
    account: ChatGptAccount, vendor: Tokens, tmp_path: Path
) -> None:
    vendor.access_s, vendor.slow_s = 1.0, 0.05
    signed_in(account)
    vendor.access_s = 3600.0
    context = multiprocessing.get_context("fork")
    outs = [tmp_path / f"out-{n}" for n in range(4)]
    folder = str(account.vault.folder)
    running = [
        context.Process(target=_in_a_process, args=(folder, vendor.url, str(out))) for out in outs
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(30)
    assert {out.read_text() for out in outs} == vendor.valid and vendor.refreshed == 1


def test_a_refused_token_is_renewed_once_by_whoever_is_first(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    old = token(signed_in(account))
    new = asyncio.run(again(account).renewed(old))
    assert new != old and new in vendor.valid
    assert asyncio.run(again(account).renewed(old)) == new, "another process has renewed it"
    assert vendor.refreshed == 1


def test_the_new_refresh_token_is_kept_even_if_nobody_waits_for_it(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    signed_in(account)
    vendor.slow_s = 0.3

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await account.renewed(account._known.access_token)  # type: ignore[union-attr]

    asyncio.run(impatient())  # Its end waits for the thread.
    kept = account.vault.read() or {}
    assert kept["credentials"]["refresh_token"] == vendor.refresh


def test_a_sign_in_that_has_ended_says_what_to_do(account: ChatGptAccount, vendor: Tokens) -> None:
    old = token(signed_in(account))
    vendor.ended = True
    for _ in range(2):
        with pytest.raises(AccountError, match=r"ended.*run 'skillopt login chatgpt' again"):
            asyncio.run(again(account).renewed(old))
    state = account.state()
    assert state and state.problem == "the sign-in has ended"
    signed_in(account)
    assert account.state().problem == ""  # type: ignore[union-attr]


def test_an_outage_of_the_vendor_ends_nothing(
    account: ChatGptAccount, vendor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = token(signed_in(account))
    with monkeypatch.context() as patch:
        patch.setattr("chatgpt_plan_auth.auth.TOKEN_URL", "http://127.0.0.1:9/token")
        with pytest.raises(AccountUnreachableError):
            asyncio.run(again(account).renewed(old))
    assert asyncio.run(again(account).renewed(old)) in vendor.valid


def test_nobody_is_signed_in(account: ChatGptAccount) -> None:
    assert account.state() is None
    with pytest.raises(AccountError, match="run 'skillopt login chatgpt'"):
        token(account)


def test_a_keyring_is_used_if_there_is_one(account: ChatGptAccount, vendor: Tokens) -> None:
    ring = Ring()
    keyring.set_keyring(ring)
    signed_in(account)
    assert not account.vault.file.exists() and account.vault.place() == "the system's keyring"
    assert "marker-refresh-" in ring.kept["skillopt", "chatgpt"]
    assert token(again(account)) in vendor.valid
    account.end()
    assert "marker" not in str(ring.kept)


def test_a_locked_keyring_is_no_reason_to_lose_a_token(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    ring = Ring()
    keyring.set_keyring(ring)
    old = token(signed_in(account))
    kept = account.vault.read() or {}
    ring.locked = True
    account.vault.write({**kept, "newer": True})
    assert account.vault.place() == str(account.vault.file)
    ring.locked = False
    # The keyring still has the old one, whose refresh token may be used up.
    assert (account.vault.read() or {})["newer"]
    assert asyncio.run(again(account).renewed(old)) in vendor.valid
    assert account.vault.place() == "the system's keyring"


def test_a_locked_keyring_is_named_and_a_new_sign_in_needs_none(
    account: ChatGptAccount, vendor: Tokens
) -> None:
    ring = Ring()
    keyring.set_keyring(ring)
    signed_in(account)
    ring.locked = True
    with pytest.raises(AccountError, match="keyring is locked: unlock it"):
        again(account).state()
    with pytest.raises(AccountError, match="keyring is locked: unlock it"):
        again(account).end()
    assert token(again(signed_in(account))) in vendor.valid


@pytest.mark.parametrize("backend", ["no_such.Keyring", "keyring.backends.fail.No", "keyring.no.X"])
def test_a_keyring_that_is_not_there_is_none(
    backend: str, account: ChatGptAccount, vendor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    assert token(again(signed_in(account))) in vendor.valid
    assert account.vault.file.is_file()


def test_a_file_that_others_may_read_is_refused(account: ChatGptAccount, vendor: Tokens) -> None:
    signed_in(account)
    account.vault.file.chmod(0o644)
    with pytest.raises(AccountError, match=r"others may read it \(mode 644\): run 'chmod 600"):
        token(again(account))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"credentials": {"client_id": 1}}'])
def test_what_is_damaged_is_named_and_replaced(
    text: str, account: ChatGptAccount, vendor: Tokens
) -> None:
    account.vault.folder.mkdir(parents=True)
    account.vault.file.write_text(text)
    account.vault.file.chmod(0o600)
    with pytest.raises(AccountError, match=r"damaged.* run 'skillopt login chatgpt' again"):
        token(account)
    assert token(again(signed_in(account))) in vendor.valid


def test_no_link_is_followed_when_a_token_is_written(
    account: ChatGptAccount, vendor: Tokens, tmp_path: Path
) -> None:
    account.vault.folder.mkdir(parents=True)
    new = account.vault.folder / f".chatgpt.json.{os.getpid()}.new"
    new.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccountError, match="cannot be written"):
        account.vault.write({"host_id": "x"})
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_is_named_before_the_browser_opens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AccountError, match="file/skillopt: cannot be written"):
        ChatGptAccount(Vault("chatgpt", tmp_path / "file" / "skillopt")).begin()


@pytest.mark.parametrize("base", ["", "relative", "./x"])
def test_no_sign_in_is_kept_in_the_working_folder(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", base)
    assert config_folder() == tmp_path / ".config" / "skillopt"
