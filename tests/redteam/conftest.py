"""Every attack has a ``lab``."""

from tests.helpers.lab import lab as lab
