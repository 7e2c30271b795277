"""What belongs to one task alone: expected answers, file names, long literals, its name.

:mod:`skillopt.optimizer.leaks` uses this to detect text that copies from a task. Never fails: a
file that cannot be read has no literals.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from re import MULTILINE
from re import compile as pattern
from typing import Any

from skillopt.core.types import Task
from skillopt.tasks.compared import values
from skillopt.tasks.contents import READERS, files_in, leaves, pieces_of, text_of
from skillopt.tasks.conventions import FILE_TYPES, PROGRAM_TYPES, is_known, is_usual, word_set
from skillopt.tasks.evals.case import CHECKS, EVAL_FILES
from skillopt.tasks.naming import (
    MAX_PROGRAMS,
    Reach,
    compounds,
    defined,
    forms,
    own_paths,
    own_proper,
    path_ends,
    people,
    pieces,
    proper,
    quoted_names,
    reach,
    reaches,
)
from skillopt.tasks.variants import codes, variants
from skillopt.tasks.wording import (
    EDGES,
    LONG_CODE,
    PUNCTUATION,
    code_start,
    date,
    distinctive,
    figure,
    fold,
    is_common,
    key,
    keys,
    long_literal,
    plain_words,
    shingles,
    significant,
    telling,
    tokens,
    words,
)

MAX_VALUES = 20_000
MAX_READ = 20_000_000
"""Bytes of a task's files that are read to learn what else it has."""
QUESTION = 200
"""Words of an instruction that are kept to recognize a question."""

_PROGRAMS = frozenset(f".{ending}" for ending in PROGRAM_TYPES)
_BUILD_FILES = word_set("dockerfile .dockerignore makefile .gitignore requirements.txt")
_COMMAND = pattern(r"\S*[a-z]\d? \S+\.\w+( |$)")
_TICKS = pattern(r"`([^`\n]{1,300})`")
_IDENTIFIER = pattern(r"[A-Za-z_][\w-]{3,60}")
_CAPITALS = pattern(r"(?:^|(?<=[a-z]))[A-Za-z](?=[a-z])")
_DECIMALS = pattern(r"-?\d{1,9}\.\d{5,}")
_CALLED = pattern(r"`([A-Za-z_]\w{4,})\(")
_PLACED = pattern(
    r"/(?:app|workspace|root|home/\w+)(?:/[\w.-]+)*?/([A-Za-z_]\w{4,}(?:\.[a-z]\w{1,5})?)\b(?![./]\w)"
)
_PATTERN = pattern(r"(?:\\[bBdDsSwW]|[|()\[\]{}.*+?^$\\,;])+")
_PROSE = pattern(
    r"^[ \t]*+(?:#++|//++|/?\*++|--)?[ \t]*+"
    r"((?:[^\s(){}\[\]<>=;\\]++[ \t]++){3,}[^\s(){}\[\]<>=;\\]++)$",
    MULTILINE,
)
_MESSAGE = pattern(r"[\"'](?=[^\s\"']+ )([^\"'(){}\[\]<>=;\\\n]{30,300})[\"']")
_NUMBERED = pattern(r"v?\d+(?:\.\d+){2,5}")
_LOCAL = pattern(
    r"127\.|0\.0\.|10\.0\.0\.0|169\.254|192\.168\.|255\.|8\.8\.|1\.1\.1|v?[01]\.[01]\.[01]$"
)
_PATH = pattern(r"[~.\w@+-]*(?:/[\w.@+-]+)+/?")
_COMPOUND = pattern(r"[a-zA-Z0-9][_-][a-zA-Z0-9]|[a-z][A-Z]|[a-zA-Z]\d")


@dataclass(frozen=True)
class Literals:
    """What belongs to one task, as far as its own folder shows."""

    answers: frozenset[str]
    """Distinctive expected values that the agent is not given, as written."""
    files: frozenset[str]
    """Names of the task's files and in its programs, folded, without those that one can guess."""
    texts: frozenset[str]
    """Keys of long literals and shingles of what the agent is given, and shingles of remarks."""
    names: frozenset[str]
    """The task's own name, folded, if it cannot be taken for an ordinary word."""
    small: frozenset[str] = frozenset()
    """Expected values that also occur in ordinary text: ``42``, ``paid``."""
    secret: frozenset[str] = frozenset()
    """Expected values that no rule contains by chance, whether the agent finds them in its files
    or not, and those that the author declared, whatever their wording."""
    question: tuple[str, ...] = ()
    """The first words of the instruction."""
    words: frozenset[str] = frozenset()
    """Those of the secrets that are words in lower case, which may be ordinary ones."""
    variants: frozenset[str] = frozenset()
    """Keys of the secrets as they are shortened, and of expected lines that no text has by
    chance."""
    coined: Mapping[str, Reach] = field(default_factory=dict)
    """The forms of the names that the task has made up, and how far each is its own."""
    proper: frozenset[str] = frozenset()
    """Proper names, and the ends of paths that the task has made up, in lower case."""
    anywhere: frozenset[str] = frozenset()
    """Every word, file name, form of a name and end of a path in any of the task's files."""


def literals_of(task: Task) -> Literals:
    """The literals of one task. Never raises; what cannot be read has none.

    Args:
        task: its instruction and the files in its folder are read.
    """
    table = _toml(task.folder / "task.toml")
    given = _Given(task.prompts, task.folder / "environment")
    told = _Given(task.prompts, None)
    programs = [*_programs(task.folder / "tests"), *_programs(task.folder / "solution", True)]
    answers, small = _answers(_expected(task.folder, programs), told)
    secret = answers | {each for value in answers for each in _rounded(value)}
    # What the agent finds in its files is no secret to whoever reads about its result.
    answers = {value for value in answers if not given.has(value)}
    declared = [*_declared(table), *filter(None, map(str.strip, task.answers))]
    secret |= {value for value in declared if _is_sure(value)}
    # Declared answers longer than a letter are withheld too, but an edit may contain the like.
    answers |= {value for value in declared if _is_sure(value) or _is_tellable(value)}
    small |= set(declared)
    long = {literal for token in given.tokens if (literal := long_literal(token))}
    figures = {word for word in told.words if figure(word)}
    sources = list(_sources(task))
    every = {piece for _, name, text in sources for piece in (name, *pieces(text))}
    return Literals(
        answers=frozenset(answers),
        files=_own_names(task, programs),
        texts=frozenset(long | given.shingles | figures | _remarks(sources)),
        names=_names(task.name, table),
        small=frozenset(small - answers),
        secret=frozenset(secret),
        question=tuple(words(fold(task.instruction))[:QUESTION]),
        words=frozenset({value for value in secret if _is_plain(value)} - set(declared)),
        variants=frozenset(variants(secret, programs, _data_files(task.folder, "tests")))
        | _codes(sources),
        coined=_coined(task, programs, sources),
        proper=frozenset(own_paths(every) | _proper(task, sources)),
        anywhere=frozenset(_anywhere(sources, every, given.words)),
    )


def _sources(task: Task) -> Iterator[tuple[str, str, str]]:
    """The texts of a task, with the part and the name of the file that each stands in."""
    for prompt in task.prompts:
        yield "told", "", prompt
    left = MAX_READ
    for part in ("tests", "solution", "environment"):
        for path in files_in(task.folder / part):
            text = text_of(path) if left > 0 else ""
            left -= len(text)
            yield part, path.name, text


def _remarks(sources: Iterable[tuple[str, str, str]]) -> set[str]:
    """Runs of words of what tests and solution say in prose: their comments and messages."""
    own = [text for part, _, text in sources if part in ("tests", "solution")]
    said = (line for text in own for line in (*_PROSE.findall(text), *_MESSAGE.findall(text)))
    lines = "\n".join(said)
    return shingles(plain_words(fold(lines)))


def _codes(sources: Iterable[tuple[str, str, str]]) -> set[str]:
    own = (text for part, _, text in sources if part in ("tests", "solution"))
    return {each for text in own for each in codes(text)}


def _anywhere(
    sources: Iterable[tuple[str, str, str]], every: Iterable[str], given: frozenset[str]
) -> set[str]:
    found = set(given)
    for part, name, text in sources:
        if part != "environment" or name.lower() in _BUILD_FILES:
            found.update(words(fold(text)))
        if part != "environment" or not _is_program(PurePosixPath(name)):
            found.update(proper(text))
    folded = {piece.rstrip(EDGES) for piece in fold("\n".join(every)).split("\n")}
    found.update(
        name.rstrip(EDGES) for piece in folded if "/" in piece for name in piece.split("/")
    )
    found.update(folded, forms(folded), path_ends(folded))
    found.update(code_start(word) for word in found.copy() if len(word) >= LONG_CODE)
    return found


def _coined(
    task: Task, programs: Sequence[tuple[str, bool]], sources: Sequence[tuple[str, str, str]]
) -> dict[str, Reach]:
    """The names of several parts that a task has made up, by their forms.

    Made up is what its programs define, its tests and its solution have as data, and its
    instruction gives as a name of a program: what code only calls may be everybody's.
    """
    ticked = {name for text in _TICKS.findall(task.instruction) for name in compounds(text)}
    data = {task.name, *(name for name in ticked if "-" in name)}
    data.update(name for name in compounds(task.instruction) if "_" in name)
    named: set[str] = set()
    given, there = "", set()
    for part, file, text in sources:
        path = PurePosixPath(file)
        stems = {path.stem} if "_" in path.stem or "-" in path.stem else set()
        if part == "environment":
            there |= stems
            given += text if path.suffix.lower() in _PROGRAMS and len(given) < MAX_PROGRAMS else ""
            continue
        data |= stems
        if part != "told" and path.name.lower() not in _BUILD_FILES and not _is_evals(task, file):
            if _is_program(path):
                named.update(defined(text))
            else:
                data.update(compounds(text))
    if len(given) <= MAX_PROGRAMS:
        named.update(defined(given))
        data |= there
    values = (value for value, _ in programs if len(value) < 200)
    return reaches(named, data.union(name for value in values for name in compounds(value)))


def _is_evals(task: Task, file: str) -> bool:
    return file in EVAL_FILES and (task.folder / "tests" / CHECKS).is_file()


def _proper(task: Task, sources: Iterable[tuple[str, str, str]]) -> set[str]:
    own = (text for part, _, text in sources if part != "environment")
    found = {name for text in own for name in own_proper(text) | people(text)}
    return found | {name for text in task.prompts for name in quoted_names(text)}


def _is_plain(value: str) -> bool:
    return value.islower() and value.isalpha()


class _Given:
    """What the agent is given, tokenized once.

    Args:
        told: the texts that it is asked with.
        folder: of the files that it is given, if these count. Of programs in it only the words do.
    """

    def __init__(self, told: Sequence[str], folder: Path | None) -> None:
        there = files_in(folder) if folder else []
        files = [p for p in there if p.name.lower() not in _BUILD_FILES]
        prose = [*told, *("\n".join(pieces_of(p)) for p in files if not _is_program(p))]
        self._prose = fold("\n".join(prose))
        programs = fold("\n".join(text_of(p) for p in files if _is_program(p)))
        sequence = [*words(self._prose), *words(programs)]
        self.words = frozenset(sequence)
        self._sequence = f" {' '.join(sequence)} "

    @cached_property
    def tokens(self) -> set[str]:
        return tokens(self._prose)

    @cached_property
    def shingles(self) -> set[str]:
        return shingles(plain_words(self._prose))

    @cached_property
    def _dates(self) -> set[tuple[str, str, str]]:
        return {found for token in self.tokens if (found := date(token))}

    def has(self, value: str) -> bool:
        """Whether it contains a value, in any spelling of a number or a date."""
        found = date(value)
        if found is not None and found in self._dates:
            return True
        return all(each in self.shingles or self._has_run(each) for each in keys(value))

    def _has_run(self, run: str) -> bool:
        return self.words.issuperset(run.split()) and f" {run} " in self._sequence


def _answers(expected: Iterable[tuple[str, bool]], given: _Given) -> tuple[set[str], set[str]]:
    """Expected values: those that cannot be guessed and are not given, and the common ones."""
    answers: set[str] = set()
    small: set[str] = set()
    for value, secret in islice(dict.fromkeys(expected), MAX_VALUES):
        if not secret:
            small.add(value)
        elif not given.has(value):
            answers.add(value)
    return answers, {value for value in small if key(value)}


def _rounded(value: str) -> Iterator[str]:
    """A number with many decimals as people write it, where enough digits are left to tell."""
    if _DECIMALS.fullmatch(value):
        for decimals in (2, 3, 4):
            short = f"{float(value):.{decimals}f}"
            if significant(short.lstrip("-")) >= 4:
                yield short


def _is_tellable(value: str) -> bool:
    plain = key(value)
    return len(plain) > 1 and not is_common(plain)


def _is_sure(value: str) -> bool:
    """Whether a rule cannot contain a declared answer by chance: more than ``42`` or ``yes``."""
    return distinctive(value) or (_is_tellable(value) and sum(map(str.isalpha, value)) >= 5)


def _expected(folder: Path, programs: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """The values of tests and solution, as written, and whether nobody could guess them."""
    for path in _data_files(folder, "solution", "tests"):
        yield from ((value, distinctive(value)) for value in _of_data(path))
    for value, compared in programs:
        # A name in a program is no value; a code, which has digits, is one.
        if not _PATH.fullmatch(value) and (not _identifier(value) or distinctive(value)):
            yield value, _is_secret(value, compared)
            # The names and codes in a longer text, and the alternatives of a pattern.
            parts = [part for part in _PATTERN.split(value) if part != value and part.isalpha()]
            yield from ((part, True) for part in parts if _is_secret(part, compared))
            yield from ((part, True) for part in _parts(value) if " " in value)
            yield from ((word, True) for word in _measures(value) if word != value)


def _data_files(folder: Path, *parts: str) -> list[Path]:
    """The files in parts of a task that are no programs."""
    found = (path for part in parts for path in files_in(folder / part))
    return [path for path in found if not (_is_program(path) or _of_evals(path))]


def _of_evals(path: Path) -> bool:
    """Whether it is the program that runs the checks of an eval file, which is the same for all
    tasks, or their list: what they look for there is what a skill should teach."""
    return path.name in EVAL_FILES and (path.parent / CHECKS).is_file()


def _is_program(path: PurePath) -> bool:
    return path.suffix.lower() in _PROGRAMS or path.name.lower() in _BUILD_FILES


def _programs(folder: Path, writes: bool = False) -> Iterator[tuple[str, bool]]:
    """The values in the programs of a folder, and whether something is compared with them."""
    for path in files_in(folder):
        if path.suffix.lower() in _PROGRAMS and not _of_evals(path) and (text := text_of(path)):
            yield from values(text, path.suffix.lower(), writes=writes)


def _is_secret(value: str, compared: bool) -> bool:
    """Whether a value in a program can hardly come from anywhere else."""
    found = words(fold(value))
    if len(found) == 1 and found[0].isalpha() and not value.istitle():
        return len(value) >= (5 if compared else 7) and not is_known(found[0])
    if _NUMBERED.fullmatch(value):
        return compared and not _LOCAL.match(value)
    if not compared:
        # A longer text is a message, a whole number of three digits a size or a limit.
        size = len(found) == 1 and significant(found[0]) == 3 and "." not in found[0]
        return len(found) <= 4 and not size and distinctive(value)
    # Of three words one has to be unusual: the run may be one that any text has.
    odd = len("".join(found)) > 4 and any(not is_known(word) for word in found)
    return distinctive(value) or len(found) >= 4 or (len(found) == 3 and odd)


def _of_data(path: Path) -> Iterator[str]:
    """The values of a data file, as written."""
    is_data = path.suffix.lower() in READERS
    for piece in pieces_of(path):
        value = " ".join(piece.split())
        if not is_data:
            value = value.lstrip("#>*+- ")
        if value and (is_data or "|" not in value):
            yield value
        if not is_data or " " in value:
            yield from _parts(value)


def _parts(line: str) -> Iterator[str]:
    """The cells, numbers and identifiers of a line of text."""
    if "|" in line:
        yield from (cell for raw in line.split("|") if (cell := raw.strip(" *`:-")))
    for raw in line.split():
        part = raw.strip(PUNCTUATION)
        # Within a line, a number of three digits is too often a count or a size.
        telling_ones = [word for word in words(fold(part)) if len(word) >= 4 and telling(word)]
        if telling_ones:
            yield part
            # In a longer part, such as bytes=15359, the code itself.
            yield from (word for word in telling_ones if word.isdecimal() and "." not in part)


def _measures(value: str) -> Iterator[str]:
    """The exact numbers in a value that is no path: ``rate=1.000417``."""
    if " " not in value and not _NUMBERED.search(value):
        found = words(fold(value))
        yield from (word for word in found if "." in word and significant(word) >= 5)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _declared(table: dict[str, Any]) -> list[str]:
    metadata = table.get("metadata")
    if not isinstance(metadata, dict):
        return []
    found = [metadata.get(name) for name in ("answer", "answers", "expected")]
    return [value for each in found for leaf in leaves(each) if (value := leaf.strip())]


def _names(name: str, table: dict[str, Any]) -> frozenset[str]:
    head = table.get("task")
    full = head.get("name") if isinstance(head, dict) else None
    names = {name, full, full.rpartition("/")[2]} if isinstance(full, str) else {name}
    # A name that is a word ("reconcile") would forbid the word.
    return frozenset(n for each in names if len(n := fold(each)) >= 4 and not n.isalpha())


def _own_names(task: Task, programs: Sequence[tuple[str, bool]]) -> frozenset[str]:
    """Names of a task's files and in its programs that one who has not seen it would not guess."""
    folders = (task.folder / part for part in ("environment", "tests", "solution"))
    there = {path.name for folder in folders for path in files_in(folder)}
    told = {name for text in task.instruction.split() for name in _named(text)}
    spaced = {PurePosixPath(text).name for text in _TICKS.findall(task.instruction)}
    spaced = {name for name in spaced if _has_type(name) and not _COMMAND.match(name)}
    tested = {name for value, _ in programs if len(value) < 200 for name in _named(value)}
    called = set(_CALLED.findall(task.instruction)) | set(_PLACED.findall(task.instruction))
    odd = {name for name in map(str.lower, called) if not is_usual(name)}
    odd |= {fold(name) for name in tested if _is_glued(name)}
    # What an instruction only mentions may be anybody's, if it is made of ordinary words.
    odd |= {fold(name) for name in told if _is_glued(name) and reach(name) is not Reach.CODED}
    names = {fold(each).strip() for each in there | told | spaced | tested}
    return frozenset(odd | {name for name in names if _is_own(name)})


def _named(text: str) -> Iterator[str]:
    """The file names and identifiers in a piece of code: a name, a path or a command."""
    for part in text.split():
        part = part.strip("\"'`*()[]{}<>,;:=.!?").partition("(")[0]
        name = PurePosixPath(part).name if _PATH.fullmatch(part) else part
        if _identifier(name) or _has_type(name):
            yield name


def _has_type(name: str) -> bool:
    stem, _, ending = name.rpartition(".")
    return bool(stem) and ending.lower() in FILE_TYPES


def _identifier(text: str) -> bool:
    """Whether a text is a name of several parts, as in programs: ``true_area``, ``trueArea``."""
    return _IDENTIFIER.fullmatch(text) is not None and _COMPOUND.search(text) is not None


def _is_glued(name: str) -> bool:
    """Whether a name is made of words by capitals alone, of which only three are its task's."""
    return name.isalpha() and len(_CAPITALS.findall(name)) >= 3 and not is_known(name.lower())


def _is_own(name: str) -> bool:
    stem, dot, _ = name.rpartition(".")
    if len(name) < 5 or name in _BUILD_FILES or (dot and not stem):
        return False
    # Without a suffix, only names that cannot be taken for a word: "notes" would forbid the word.
    return not is_usual(name) and (bool(dot) or not name.isalpha())
