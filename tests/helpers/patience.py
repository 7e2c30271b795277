"""The patience of tests: a service that fails is asked for a fraction of a second."""

from harnesses.gateway.patience import Patience

QUICK = Patience(total_s=8, outage_s=0.15, pause_s=0.01)
