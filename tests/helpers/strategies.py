"""Values that hypothesis draws for more than one test."""

from __future__ import annotations

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)
