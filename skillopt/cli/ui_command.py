"""``skillopt ui``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import read_views, runs_argument


@click.command("ui")
@runs_argument
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]")
@click.option("--expose", is_flag=True, help="Allow addresses that other machines can reach.")
@click.option(
    "--review", "reviewing", is_flag=True, help="Let who has the address leave remarks, too."
)
@click.option("--open", "open_", is_flag=True, help="Open it in a browser.")
@guarded
def command(
    runs: tuple[Path, ...], host: str, port: int, expose: bool, reviewing: bool, open_: bool
) -> None:
    """Serve the page of 'report' for each RUN, live while training runs. Ctrl-C ends it.

    Only those who have the printed address, with its random token, can read it. The page changes
    nothing, unless --review lets them leave remarks for the optimizer, and score the best skill
    without single edits.
    """
    from skillopt.report.review import Review
    from skillopt.report.server import PageServer, check_host, listen, serve

    if reviewing and expose:
        raise click.UsageError("--review is for this machine alone: leave --expose out")
    check_host(host, expose)
    views = read_views(runs)
    review = Review(views) if reviewing else None
    site = PageServer(views, any_host=expose, review=review)
    with listen(host, port) as sock:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{sock.getsockname()[1]}/{site.token}/"
        click.echo(address)
        if open_:
            click.launch(address)
        try:
            with suppress(KeyboardInterrupt):  # The usual way to stop it.
                serve(site, sock)
        finally:
            if review is not None:
                review.close()
