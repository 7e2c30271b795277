"""Whether tables of tests leave out no cell: ``make test-all``."""

import os

ALL_CELLS = "SKILLOPT_ALL_CELLS" in os.environ
