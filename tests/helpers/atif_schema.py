"""The JSON schema of ATIF 1.8, in which trajectories are kept."""

from __future__ import annotations

import json
from pathlib import Path

SCHEMA = json.loads((Path(__file__).parent / "atif-v1.8.schema.json").read_text())
