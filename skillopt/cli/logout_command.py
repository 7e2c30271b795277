"""``skillopt logout``."""

from __future__ import annotations

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, show_text


@click.command("logout")
@click.argument("account", type=click.Choice(["chatgpt"]))
@guarded
def command(account: str) -> None:
    """Sign out of an ACCOUNT: its tokens are revoked and removed from this machine."""
    from harnesses.accounts.chatgpt import ChatGptAccount

    chatgpt, console = ChatGptAccount(), output()
    if not chatgpt.vault.place() or "credentials" not in (chatgpt.vault.read() or {}):
        show_text(console, "nobody is signed in")
        return
    left = chatgpt.end()
    show_text(console, "signed out: the tokens are removed from this machine")
    if left:
        show_text(
            console,
            f"they could not be revoked ({left}): end the session in chatgpt.com/settings/security",
        )
