"""What people may do from the page with ``ui --review``: leave remarks, and score a skill again
without one of its edits.

A request must know the address's token and a second one that only the page has, and come from the
page itself: other pages in the same browser can do nothing.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skillopt.core.errors import SkillOptError
from skillopt.report.view import RunView
from skillopt.run.records import Remarked
from skillopt.run.remarks import MAX_CHARS, can_have_remarks, first_step, keep

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY = 64 * 1024
SECRET_HEADER = "x-skillopt-review"


class ReviewError(SkillOptError):
    """A request that is refused; ``status`` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    run: int = Field(ge=0)
    """Number of the run on the page."""


class _Remark(_Body):
    about: str = Field(max_length=200)
    """A rollout's key, or the name of a step's entry."""
    other: str = Field("", max_length=200)
    verdict: Literal["", "good", "bad", "better", "worse", "equal"] = ""
    blind: bool = False
    text: str = Field("", max_length=MAX_CHARS)
    id: str = Field("", pattern="^([0-9a-f]{32})?$")
    """That of a remark to replace."""
    withdrawn: bool = False


class _Without(_Body):
    edit: str = Field(pattern=r"^[0-9]{1,6}\.[0-9]{1,4}$")
    """``STEP.N``, as ``skillopt edits`` names it."""
    split: Literal["train", "val", "test"] = "test"


@dataclass
class _Scoring:
    """A skill that is scored without an edit, in a process of its own."""

    edit: str
    split: str
    process: subprocess.Popen[bytes]
    out: Any
    err: Any

    def to_json(self) -> dict[str, Any]:
        """How it stands: its result, or why it failed."""
        told: dict[str, Any] = {"edit": self.edit, "split": self.split}
        code = self.process.poll()
        if code is None:
            return {**told, "state": "running"}
        if code == 0:
            self.out.seek(0)
            return {**told, "state": "done", "result": json.load(self.out)}
        self.err.seek(0)
        said = self.err.read()[-2000:].decode("utf-8", "replace").strip()
        return {**told, "state": "failed", "error": said or f"exit code {code}"}


@dataclass
class Review:
    """The writing part of a page server.

    Args:
        views: the runs, in the order of the page.

    Attributes:
        secret: that only the page has.
    """

    views: Sequence[RunView]
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _scorings: dict[int, _Scoring] = field(default_factory=dict)

    def check(self, request: Request) -> None:
        """Refuse a request that the page itself did not make.

        Raises:
            ReviewError: the second token, the origin or the kind of content is not the page's.
        """
        given = request.headers.get(SECRET_HEADER, "")
        if not secrets.compare_digest(given.encode(), self.secret.encode()):
            raise ReviewError(403, "only the page itself can write")
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        if origin != f"http://{host}":
            raise ReviewError(403, "requests of other pages are refused")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ReviewError(403, "requests of other pages are refused")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise ReviewError(415, "send JSON")

    def remark(self, body: bytes) -> dict[str, Any]:
        """Keep a remark, or a change of one.

        Raises:
            ReviewError: it is not as it should be, or about nothing of this run.
        """
        told = _read(_Remark, body)
        view = self._view(told.run)
        if not can_have_remarks(view.state):
            raise ReviewError(409, "an older version wrote this run's log; it stays as it is")
        known = view.remarks.get(told.id)
        if told.id and known is None:
            raise ReviewError(404, "there is no such remark any more")
        if known is not None and told.withdrawn:
            record = known.model_copy(update={"withdrawn": True})
        elif not (told.text.strip() or told.verdict):
            raise ReviewError(422, "a remark has a text or a verdict")
        else:
            about = view.about(told.about)
            if about is None or (told.other and told.other not in view.keys):
                raise ReviewError(404, "this run has no such rollout or step")
            record = Remarked(
                id=told.id or uuid4().hex,
                about=told.about,
                other=told.other,
                verdict=told.verdict,
                blind=told.blind,
                text=told.text.strip(),
                since=first_step(view.state),
                **about,
            )
        keep(view.root, record)
        return {"id": record.id}

    def score_without(self, body: bytes) -> dict[str, Any]:
        """Begin to score a run's best skill without one edit, with the run's own config.

        Raises:
            ReviewError: it is not as it should be, or one is being scored already.
        """
        told = _read(_Without, body)
        view = self._view(told.run)
        before = self._scorings.get(told.run)
        if before is not None and before.process.poll() is None:
            raise ReviewError(409, f"edit {before.edit} is being left out and scored; wait for it")
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "skillopt", "edits", str(view.root.resolve())]
        command += ["--without", told.edit, "--score", "--split", told.split, "--json"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self._scorings[told.run] = _Scoring(told.edit, told.split, process, out, err)
        return {"edit": told.edit}

    def scorings(self) -> dict[str, Any]:
        """How the scorings stand, by number of the run."""
        return {str(run): scoring.to_json() for run, scoring in self._scorings.items()}

    def close(self) -> None:
        """End what is still being scored."""
        for scoring in self._scorings.values():
            if scoring.process.poll() is None:
                scoring.process.terminate()
                scoring.process.wait()

    def _view(self, run: int) -> RunView:
        if run >= len(self.views):
            raise ReviewError(404, "there is no such run on this page")
        return self.views[run]


def _read(shape: Callable[..., Any], body: bytes) -> Any:
    """A request's body in its shape."""
    if len(body) > MAX_BODY:
        raise ReviewError(413, f"at most {MAX_BODY} bytes")
    try:
        return shape.model_validate_json(body)  # type: ignore[attr-defined]
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ReviewError(422, f"{key}: {first['msg']}") from error
