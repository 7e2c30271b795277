"""What the simulated model knows: a habit for each family of office chores and each benchmark, and
rules about them.

A test instrument, not a language model. It knows procedures and the wording of rules. It knows no
task and no answer, and it uses a better procedure only if its rule is in a text that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from skillopt.sim import procedures
from skillopt.sim.benchmarks import BENCHMARKS
from skillopt.sim.habits import Habit, Statement
from skillopt.sim.procedures import Interpret, Work


@dataclass(frozen=True)
class Chore:
    """How the model does one family of office chores, and the rule that makes it do better."""

    family: str
    words: str
    """Pattern of the instruction's generic words."""
    topics: frozenset[str]
    """Words that such a task shares with a skill's description."""
    work: Work
    naive_reading: Interpret
    better_reading: Interpret
    statement: Statement
    complaint: re.Pattern[str]
    """Matches the verifier's feedback on a run that lacked the rule."""
    rule: str
    """The rule as a good optimizer would write it."""

    def recognises(self, instruction: str) -> bool:
        return re.search(self.words, instruction, re.IGNORECASE) is not None

    def rule_present(self, text: str) -> bool:
        """Whether a line of ``text`` states the rule."""
        return self.statement.stated(text)

    def naive(self, instruction: str, quirks: Collection[str] = ()) -> str:
        """The shell command of a model that does not know the rule."""
        return procedures.script(instruction, self.work, self.naive_reading, self._followed(quirks))

    def better(self, instruction: str, quirks: Collection[str] = ()) -> str:
        """The shell command of a model that knows the rule."""
        return procedures.script(
            instruction, self.work, self.better_reading, self._followed(quirks)
        )

    def _followed(self, quirks: Collection[str]) -> set[str]:
        return {bad.quirk for bad in BAD_RULES if bad.quirk in quirks and self.family in bad.breaks}


@dataclass(frozen=True)
class BadRule:
    """A rule that sounds right and is wrong. A target that has read it follows it."""

    rule: str
    quirk: str
    """Name of the procedures' argument that makes them follow the rule."""
    breaks: frozenset[str]
    """Families whose procedures it affects, so that their tasks fail."""
    statement: Statement

    def rule_present(self, text: str) -> bool:
        return self.statement.stated(text)


CHORES: tuple[Chore, ...] = (
    Chore(
        family="ledger",
        words=r"\.xlsx`",
        topics=frozenset({"spreadsheet", "excel", "xlsx", "workbook", "ledger"}),
        work=procedures.fix_ledger,
        naive_reading=procedures.amount,
        better_reading=procedures.signed_amount,
        statement=Statement(
            (r"parenthes|bracket|\(x\)|\bparens?\b|\(\d[\d.,]*\)|startswith\(.\(",),
            r"negat|\bto -x\b|minus\b|below (zero|0)|less than zero|subtract|deduct|\bdebits?\b"
            r"|= ?-float"
            r"|(?<![\w)\d])[-−][$€£]?\d|(flip|revers|invert)\w* (the|its|their) sign|by [-−]1\b"
            r"|sign is (flipped|reversed)|outflow|take\w* away|counts? against",
            r"positiv|as it stands|\bskip|cancelled|estimates?\b|absolute|\babs\(|unsigned",
            r"^\W*(write|show|format|print|display|output|put|render)\b",
        ),
        complaint=re.compile(r"in parentheses were taken as positive"),
        rule="In spreadsheets, treat an amount written in parentheses as a negative number.",
    ),
    Chore(
        family="reconcile",
        words=r"\breconcil|\bunpaid\b",
        topics=frozenset({"csv", "reconciliation", "reconcile", "payment", "invoice"}),
        work=procedures.reconcile,
        naive_reading=procedures.exact_id,
        better_reading=procedures.loose_id,
        statement=Statement(
            (
                r"\bids?\b|identifier|reference|\bkeys?\b|\bnumbers?\b|\brows?\b|customer"
                r"|\d`?/`?\w?\d|\bidentity\b",
                r"zero|lstrip\(.0.\)|padd(ed|ing)",
                r"\bcase|capital|(upper|lower)|casefold",
            ),
            r"strip|ignor|drop|remov|trim|disregard|regardless|irrespective|normali[sz]|without"
            r"|freed"
            r"|insensitiv|irrelevant|no matter|neither|lower-?cas(ed|ing)|casefold|belong together"
            r"|(is|are|as|count as|considered) (the same|equal|identical|alike|equivalent)"
            r"|(not|n't|never) (matter|count|depend|distinguish)|not significant|no difference"
            r"|the same (item|thing|record|id|one|customer|row|entity)|\bpair them|differ only",
            r"\bexact|\bkeep|\bmind\b|\bdifferent\b|\bdistinct\b|mismatch|unmatched|must not"
            r"|\bpreserv"
            r"|case-sensitiv|verbatim|byte for byte|\bmatters?\b|\bsignificant",
        ),
        complaint=re.compile(r"differs from the id only in leading zeros or letter case"),
        rule="When matching ids between files, ignore leading zeros and letter case.",
    ),
    Chore(
        family="logs",
        words=r"\blog\b",
        topics=frozenset({"log"}),
        work=procedures.count_errors,
        naive_reading=procedures.hour_written,
        better_reading=procedures.hour_utc,
        statement=Statement(
            (r"\blogs?\b|\bhour|\btimes?\b|stamp|\bts\b",),
            r"\b(in|to|into|as|on|under|at|via|with|get) (the )?`?(utc|gmt|zulu|greenwich"
            r"|universal time"
            r"|coordinated universal|\+00:00)(?! offset)|timezone\.utc|utcfromtimestamp"
            r"|tz_convert\(.utc"
            r"|\butc (hour|time|bucket|day|clock|first)|\d:\d\dz\b"
            r"|(subtract|apply|remov|resolv)\w* (the|each|its|their|every)( utc"
            r"| time ?zone)? offset",
            r"as written|as logged|wall-clock|keep the hour|discard|without regard to the offset"
            r"|local (time|hour)|without convert|by hour first",
            r"^\W*(print|sort)\b|(is|are) printed$|when [^.]* (is|are) printed|foot of the page",
        ),
        complaint=re.compile(r"carry different time zone offsets"),
        rule="Convert log timestamps to UTC before grouping them by hour or day.",
    ),
    Chore(
        family="migrate",
        words=r"\bschema\b",
        topics=frozenset({"json", "schema", "record", "migration"}),
        work=procedures.migrate,
        naive_reading=procedures.leave_out,
        better_reading=procedures.set_null,
        statement=Statement(
            (
                r"optional|missing|absent|empty|no value|without (a |any )?value|nothing|unset"
                r"|\black|\bblank\b|not (set|given|present|filled)",
                r"field|key|propert|attribute|values?\b|member|entry",
            ),
            r"\bnulls?\b|\bnone\b(?=[^;]*\bdump)",
            r"\bdrop|\bomit|leav\w* (it |them )?out|left out|\bskip|\bremov|is not none|omission"
            r"|empty string|default|\babort|makes? the importer fail|\bbreaks|\bprun",
            r"the (text|word|string) .?null|\bcsv\b",
        ),
        complaint=re.compile(r"optional fields that have no value were left out"),
        rule="In migrated JSON records, write an optional field that has no value as null.",
    ),
    Chore(
        family="repair",
        words=r"\bscript\b",
        topics=frozenset({"script", "python", "code"}),
        work=procedures.repair_script,
        naive_reading=procedures.code_one,
        better_reading=procedures.code_two,
        statement=Statement(
            (
                r"exit|status|return|\bcode\b|finish|\bends?\b|quit",
                r"input|missing|invalid|usage|argument|file|unusable",
            ),
            r"\b(exits?|status|code|with|returns?|is|be|of|by|to|a)\W{1,3}(2|two)\b(?! times)"
            r"|exit\(2\)|\b(2|two)`? (as|for|means|signals) [^.;]*(input|exit|file)",
            r"\b(exits?|status|code|with|returns?|use)\W{1,3}([013-9]|one|zero|three)\b"
            r"|\b(2|two)`? is (kept|reserved)",
            r"network|\bretry\b|warnings\b|old version|\bremove (that|it|this)\b",
        ),
        complaint=re.compile(r"which is not our code for bad input"),
        rule="A script that meets bad input, such as a missing file, ends with exit code 2.",
    ),
    Chore(
        family="report",
        words=r"\bMarkdown\b",
        topics=frozenset({"report", "markdown", "figure"}),
        work=procedures.write_report,
        naive_reading=procedures.month_first,
        better_reading=procedures.day_first,
        statement=Statement(
            (r"date|slash|\d\d?/\d\d?/\d{4}|yyyy",),
            r"\bday[ -]first|dayfirst ?= ?true|day before|dd/mm|d/m/y|day[/-]month|%d/%m|\bdmy\b"
            r"|british|european|day (comes|goes|stands|is) (first|before)"
            r"|day, (and )?then (the )?month"
            r"|(first|leading) (number|part|figure|component|field|value|one)?\s?(is"
            r"|means) (always )?the day"
            r"|\b0?(\d\d?)/\d\d?/\d{4}`?\W+(is|means|=|stands for|denotes)\W+(the )?\3(st|nd|rd"
            r"|th)?\b",
            r"\bmonth[ -]first|month before|mm/dd|m/d/y|%m/%d|month-first|\bamerican|month (comes"
            r"|goes|is) first"
            r"|\bus (office|way|order|format|style)|(first|leading) \w*\s?(is"
            r"|means) (always )?the month",
            r"with dots",
        ),
        complaint=re.compile(r"dates with slashes were read with the month first"),
        rule="Read dates with slashes as day first: 04/03/2026 is 4 March 2026.",
    ),
)

HABITS: tuple[Habit, ...] = (*CHORES, *BENCHMARKS)

BAD_RULES: tuple[BadRule, ...] = (
    BadRule(
        rule="Always sort the rows alphabetically before writing the result.",
        quirk="sort_rows",
        breaks=frozenset({"ledger", "reconcile"}),
        statement=Statement(
            (r"rows?|lines?|records?",), r"sort\w* .*alphabetic|alphabetical order"
        ),
    ),
    BadRule(
        rule="Write all amounts with thousands separators so that people can read them.",
        quirk="thousands",
        breaks=frozenset({"reconcile", "report"}),
        statement=Statement((r"amount|number|figure|total",), r"thousands? separator"),
    ),
    BadRule(
        rule="Remove duplicate lines from the input before counting.",
        quirk="unique_lines",
        breaks=frozenset({"logs"}),
        statement=Statement(
            (r"lines?|entries|rows?",), r"(remove|drop|skip|ignore) (all )?duplicate"
        ),
    ),
    BadRule(
        rule="Skip records that are incomplete; carry over complete records only.",
        quirk="only_complete",
        breaks=frozenset({"migrate"}),
        statement=Statement((r"records?|rows?",), r"(skip|drop|omit|leave out) .*\bincomplete"),
    ),
)

USELESS_RULES: tuple[str, ...] = (
    "Check the finished file once more before reporting that it is done.",
    "Keep the closing message short and say which file was written.",
    "Use clear variable names in every script that you write on the way.",
    "Work step by step and think about the purpose of the request first.",
)


def habit_for(instruction: str) -> Habit | None:
    """The habit that an instruction calls for; None for chores the model does not know."""
    # The chores know their kind by single words, which those of the benchmarks may have too.
    habits: tuple[Habit, ...] = (*BENCHMARKS, *CHORES)
    return next((habit for habit in habits if habit.recognises(instruction)), None)


def quirks_in(text: str) -> frozenset[str]:
    """Names of the bad rules that ``text`` states."""
    return frozenset(bad.quirk for bad in BAD_RULES if bad.rule_present(text))
