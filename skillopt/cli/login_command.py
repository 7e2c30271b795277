"""``skillopt login``."""

from __future__ import annotations

import webbrowser

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, show_text

WAIT_S = 600.0
"""Seconds for which the browser is waited for."""
NOTICE = (
    "Model calls will use your ChatGPT plan (Plus or Pro), within its limits and what you allow "
    "this app in chatgpt.com/settings/usage. They are yours alone: for other people's runs and for "
    "public CI use an API key."
)


class Account(click.Choice[str]):
    """An account that one can sign in to here; of the others, where one does."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.lower().startswith(("claude", "anthropic")):
            self.fail(
                "Claude Code signs in by itself: run 'claude setup-token', put the token into the "
                "environment variable CLAUDE_CODE_OAUTH_TOKEN, and give the upstream "
                "login: claude-plan",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


@click.command("login")
@click.argument("account", type=Account(["chatgpt"]))
@click.option(
    "--paste",
    is_flag=True,
    help="The browser is on another machine: paste the address that it ends on.",
)
@guarded
def command(account: str, paste: bool) -> None:
    """Sign in to an ACCOUNT whose plan pays for model calls.

    ``chatgpt`` signs in with ChatGPT in the browser. An upstream with ``login: chatgpt`` then uses
    the plan. The tokens are kept in the system's keyring, or in a file that only you can read.
    """
    from harnesses.accounts.chatgpt import Callback, ChatGptAccount
    from harnesses.accounts.vault import AccountError

    console = output()
    show_text(console, NOTICE)
    chatgpt = ChatGptAccount()
    request = chatgpt.begin()
    if paste:
        show_text(console, "Open this address, sign in, and allow the use of your plan:")
        show_text(console, request.url)
        callback = click.prompt("The address that the browser ends on (the page need not load)")
    else:
        with Callback(request).serving() as server:
            show_text(console, "Sign in in the browser, and allow the use of your plan:")
            show_text(console, request.url)
            if not webbrowser.open(request.url):
                show_text(console, "No browser was found here: open the address yourself.")
            callback = server.wait(WAIT_S)
        if not callback:
            raise AccountError(
                "nobody signed in within 10 minutes: try again, with --paste if the browser is on "
                "another machine"
            )
    state = chatgpt.finish(request, callback)
    who = f" as {state.email}" if state.email else ""
    show_text(console, f"signed in{who}; kept in {state.place}")
