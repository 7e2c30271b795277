"""The simulated model's habits for the benchmarks; it reads what is there and knows no answer."""

from skillopt.sim.benchmarks.alfworld import GAME
from skillopt.sim.benchmarks.docvqa import PAGE
from skillopt.sim.benchmarks.livemath import OPTIONS
from skillopt.sim.benchmarks.officeqa import TABLES
from skillopt.sim.benchmarks.searchqa import SNIPPETS
from skillopt.sim.benchmarks.spreadsheetbench import WORKBOOKS
from skillopt.sim.habits import Acting

BENCHMARKS: tuple[Acting, ...] = (SNIPPETS, OPTIONS, PAGE, TABLES, WORKBOOKS, GAME)
