"""Every test here has a ``lab``."""

from tests.helpers.lab import lab as lab
