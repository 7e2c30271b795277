"""The terms under which a Claude plan is used here, which are told once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harnesses.accounts.vault import AccountError, config_folder

TERMS = (
    "Claude plan: only the unmodified Claude Code uses it, started by you, with your own token, "
    "for runs of your own. Anthropic's terms (code.claude.com/docs/en/legal-and-compliance) are "
    "for ordinary use by you alone: for other people's runs, teams, services and public CI use an "
    "API key. Rollouts count on the plan's limits. The agent's container holds the token and has "
    "no network; tasks that you do not trust could still use up the plan. See docs/accounts.md."
)


def first_use(terms: str) -> bool:
    """Whether this user has not been told some terms on this machine; notes that it is done now."""
    try:
        folder = config_folder()
        mark: Path = folder / f"told-{hashlib.sha256(terms.encode()).hexdigest()[:16]}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with mark.open("x"):
            return True
    except FileExistsError:
        return False
    except (AccountError, OSError):
        return True  # It cannot be noted, so it is told again.
