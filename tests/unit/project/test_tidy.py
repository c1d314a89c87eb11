"""The house rules that no linter knows, each proved by a deliberate violation.

Owns the rules about what the pure packages may touch, where the environment is read, how long things grow and what
they are called. Layers and imports are import-linter's (see `test_checks.py`). A rule reads one file and yields what it
finds there.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
PURE = ("schemas", "stream")
PACKAGES = ("account_vitals", "agents", *PURE)
FOLDERS = (*PACKAGES, "tests", "deploy")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_FOLDER_FILES = 20
# Folders that are still too large; they may not grow.
FILES_THAT_ARE_A_FOLDER = 3
VAGUE_NAMES = frozenset({"part", "one", "some", "found", "place", "at", "given", "kept"})
REASON = re.compile(r"#\s*long because: \S")
FORBIDDEN_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "misc"})

IO_BUILTINS = frozenset({"open", "print", "input", "breakpoint"})
IO_METHODS = frozenset({"open", "read_text", "read_bytes", "write_text", "write_bytes", "fromfile", "tofile", "memmap"})
STANDARD_STREAMS = frozenset({"stdin", "stdout", "stderr"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
CLOCK_OWNERS = frozenset({"datetime", "date", "dt"})
TIME_FUNCTIONS = re.compile(r"(time|monotonic|perf_counter|process_time)(_ns)?|localtime|gmtime|ctime|sleep")
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb"})
PICKLES = frozenset({"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"})


class Source(NamedTuple):
    """One Python file: its path from the root of the project, its text and all nodes of its tree."""

    path: PurePosixPath
    text: str
    nodes: list[ast.AST]

    @property
    def folder(self) -> str:
        """The folder at the top that holds the file."""
        return self.path.parts[0]


Finding = tuple[int, str]
FolderFinding = tuple[PurePosixPath, str]
FolderRule = Callable[[list[PurePosixPath]], Iterator[FolderFinding]]
Rule = Callable[[Source], Iterator[Finding]]


def source_of(path: str, text: str) -> Source:
    return Source(PurePosixPath(path), text, [*ast.walk(ast.parse(text, path))])


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """Every Python file of the project."""
    files = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    return [source_of(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def last_name(node: ast.expr) -> str:
    """`c` of `a.b.c` and of `c`, else nothing."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What an import statement names, as (module, name in it or nothing)."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((node.module or "", alias.name) for alias in node.names)


def no_input_or_output(source: Source) -> Iterator[Finding]:
    if source.folder not in PURE:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call):
            function = node.func
            bare = isinstance(function, ast.Name) and function.id in IO_BUILTINS
            method = isinstance(function, ast.Attribute) and function.attr in IO_METHODS
            if bare or method:
                yield node.lineno, f"{last_name(function)}() is input or output: let agents/ do it and pass the data"
        elif isinstance(node, ast.Attribute) and node.attr in STANDARD_STREAMS and last_name(node.value) == "sys":
            yield node.lineno, f"sys.{node.attr} is input or output: return the data, agents/ shows it"


def no_clock(source: Source) -> Iterator[Finding]:
    if source.folder not in PURE:
        return
    for node in source.nodes:
        if reads_clock(node):
            yield getattr(node, "lineno", 0), "reads a clock: take the time as an argument"


def reads_clock(node: ast.AST) -> bool:
    if any(module == "time" for module, _ in imported(node)):
        return True
    if isinstance(node, ast.Attribute):  # also where it is only passed on, as in default_factory=datetime.now
        owner = last_name(node.value)
        if owner == "time" and TIME_FUNCTIONS.fullmatch(node.attr):
            return True
        return owner in CLOCK_OWNERS and node.attr in CLOCK_METHODS
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_METHODS:
        return True
    words = {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return last_name(node.func) == "datetime64" and not words.isdisjoint({"now", "today"})


def environment_is_read_in_settings(source: Source) -> Iterator[Finding]:
    if source.folder not in PACKAGES or source.path == PurePosixPath("agents/settings/settings.py"):
        return
    advice = "only agents/settings/settings.py reads the environment: take the value from the settings"
    for node in source.nodes:
        names = {name for module, name in imported(node) if module == "os"} & ENVIRONMENT
        settings = any(module.partition(".")[0] == "pydantic_settings" for module, _ in imported(node))
        attribute = isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT
        option = isinstance(node, ast.keyword) and node.arg == "envvar"
        if names or settings or attribute or option:
            yield getattr(node, "lineno", 0), advice


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def functions(nodes: list[ast.AST]) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    return range(function.lineno, (function.end_lineno or function.lineno) + 1)


def long_things_give_a_reason(source: Source) -> Iterator[Finding]:
    """A reason is a comment line `# long because: …`: in the function itself, or for a file outside every function."""
    written = comments(source.text) if "long because" in source.text else ()  # reading all comments takes seconds
    reasons = [line for line, comment in written if REASON.match(comment)]
    every = functions(source.nodes)
    for function in every:
        lines = lines_of(function)
        inner = [lines_of(other) for other in every if other is not function and other.lineno in lines]
        own = [line for line in reasons if line in lines and not any(line in other for other in inner)]
        if len(lines) > MAX_FUNCTION_LINES and not own:
            yield function.lineno, f"{function.name} has {len(lines)} lines: split it, or say why in it"
    count = len(source.text.splitlines())
    outside = [line for line in reasons if not any(line in lines_of(function) for function in every)]
    if count > MAX_FILE_LINES and not outside:
        yield 1, f"{count} lines: split it, or say why by a line `# long because: …` at the top"


def names_say_what_is_inside(source: Source) -> Iterator[Finding]:
    for name in (*source.path.parts[:-1], source.path.stem):
        if name in FORBIDDEN_NAMES:
            yield 1, f"{name} says nothing: name the file or folder after what it owns"


def names_of(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """The variables and arguments that a file binds, with their lines; fields of classes are no variables."""
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    fields = {id(line.target) for node in classes for line in node.body if isinstance(line, ast.AnnAssign)}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name is not None:
            yield node.lineno, node.name


def variables_are_nouns(source: Source) -> Iterator[Finding]:
    for line, name in names_of(source.nodes):
        if name in VAGUE_NAMES:
            yield line, f"{name} says nothing: name the variable after what it holds"


def no_pickle(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        modules = {module.partition(".")[0] for module, _ in imported(node)}
        if modules & PICKLES:
            yield getattr(node, "lineno", 0), "runs code when it is read, and breaks by version: lay the bytes out"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield node.value.lineno, "allow_pickle runs code when it is read: leave it False"


RULES: tuple[Rule, ...] = (
    no_input_or_output,
    no_clock,
    environment_is_read_in_settings,
    long_things_give_a_reason,
    names_say_what_is_inside,
    variables_are_nouns,
    no_pickle,
)


def folders_are_small(paths: list[PurePosixPath]) -> Iterator[FolderFinding]:
    counts: Counter[PurePosixPath] = Counter(path.parent for path in paths if path.parts[0] in PACKAGES)
    for folder, count in counts.items():
        if count > MAX_FOLDER_FILES:
            yield folder, f"{count} files: group those that belong together into folders"


def a_prefix_is_a_folder(paths: list[PurePosixPath]) -> Iterator[FolderFinding]:
    """Files such as `policy_lines.py`, `policy_table.py` and `policy.py` belong into a folder `policy`."""
    words: Counter[tuple[PurePosixPath, str]] = Counter(
        (path.parent, path.stem.partition("_")[0])
        for path in paths
        if path.parts[0] in PACKAGES and path.stem[0] != "_"
    )
    for (folder, word), count in words.items():
        if count >= FILES_THAT_ARE_A_FOLDER:
            yield folder, f"{count} files are called {word}_…: put them into a folder {word}"


FOLDER_RULES: tuple[FolderRule, ...] = (folders_are_small, a_prefix_is_a_folder)
FOLDER_VIOLATIONS: list[tuple[FolderRule, list[str]]] = [
    (folders_are_small, [f"stream/{chr(ord('a') + number)}.py" for number in range(MAX_FOLDER_FILES + 1)]),
    (folders_are_small, [f"agents/worker/{number}.py" for number in range(29)]),
    (folders_are_small, [f"agents/cli/{chr(ord('a') + number)}.py" for number in range(MAX_FOLDER_FILES + 1)]),
    (a_prefix_is_a_folder, ["stream/policy_table.py", "stream/policy_lines.py", "stream/policy.py"]),
    (a_prefix_is_a_folder, ["agents/board/a.py", *(f"agents/board/alert_{name}.py" for name in "abc")]),
]
FOLDER_NEAR_MISSES: list[tuple[FolderRule, list[str]]] = [
    (folders_are_small, [f"stream/{chr(ord('a') + number)}.py" for number in range(MAX_FOLDER_FILES)]),
    (folders_are_small, [f"stream/{'xy'[number % 2]}/{number}.py" for number in range(2 * MAX_FOLDER_FILES)]),
    (a_prefix_is_a_folder, ["stream/policy_table.py", "stream/policy_lines.py", "stream/policies.py"]),
    (a_prefix_is_a_folder, ["stream/a/row_schema.py", "stream/b/row_store.py", "stream/c/row.py"]),
    (a_prefix_is_a_folder, ["stream/__init__.py", "stream/__main__.py", "stream/__about__.py"]),
]

LONG_FUNCTION = "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
LONG_FILE = "x = 1\n" * (MAX_FILE_LINES + 1)
INNER_REASON = "def f():\n    def g():\n        # long because: g\n        pass\n" + "    x = 1\n" * MAX_FUNCTION_LINES

VIOLATIONS: list[tuple[Rule, str, str]] = [
    (no_input_or_output, "stream/a.py", "open('x')"),
    (no_input_or_output, "stream/measures/a.py", "print(1)"),
    (no_input_or_output, "schemas/a.py", "path.read_text()"),
    (no_input_or_output, "schemas/a.py", "np.fromfile('x')"),
    (no_input_or_output, "stream/a.py", "import sys\nsys.stderr.write('x')"),
    (no_clock, "stream/a.py", "import time"),
    (no_clock, "stream/a.py", "from time import monotonic"),
    (no_clock, "stream/a.py", "x = time.perf_counter_ns()"),
    (no_clock, "stream/a.py", "from datetime import datetime\ndatetime.now()"),
    (no_clock, "schemas/a.py", "import datetime as dt\ndt.datetime.utcnow()"),
    (no_clock, "schemas/a.py", "import datetime\ndatetime.date.today()"),
    (no_clock, "schemas/a.py", "field(default_factory=datetime.now)"),
    (no_clock, "stream/a.py", "clock.now()"),
    (no_clock, "stream/a.py", "np.datetime64('now')"),
    (environment_is_read_in_settings, "agents/a.py", "import os\nos.environ['X']"),
    (environment_is_read_in_settings, "agents/demo/a.py", "import os as o\no.getenv('X')"),
    (environment_is_read_in_settings, "stream/a.py", "from os import environ"),
    (environment_is_read_in_settings, "agents/a.py", "from pydantic_settings import BaseSettings"),
    (environment_is_read_in_settings, "agents/cli/main.py", "typer.Option(envvar='X')"),
    (long_things_give_a_reason, "agents/a.py", LONG_FUNCTION),
    (long_things_give_a_reason, "agents/a.py", f"async {LONG_FUNCTION}"),
    (long_things_give_a_reason, "tests/a.py", LONG_FUNCTION + "    '# long because: a string is no comment'\n"),
    (long_things_give_a_reason, "stream/a.py", LONG_FUNCTION + "    # long because:\n    x = 1\n"),
    (long_things_give_a_reason, "stream/a.py", INNER_REASON),
    (long_things_give_a_reason, "stream/a.py", LONG_FILE),
    (long_things_give_a_reason, "stream/a.py", "def f():\n    # long because: f\n    pass\n" + LONG_FILE),
    (names_say_what_is_inside, "stream/utils/a.py", ""),
    (names_say_what_is_inside, "agents/helpers.py", ""),
    (names_say_what_is_inside, "tests/common/a.py", ""),
    (names_say_what_is_inside, "deploy/misc/a.py", ""),
    (variables_are_nouns, "tests/oracle/a.py", "found = 1"),
    (variables_are_nouns, "tests/oracle/a.py", "for one, other in pairs: pass"),
    (variables_are_nouns, "tests/oracle/a.py", "def f(*, at): pass"),
    (variables_are_nouns, "tests/oracle/a.py", "[part for part in parts]"),
    (variables_are_nouns, "tests/oracle/a.py", "if (kept := f()): pass"),
    (variables_are_nouns, "tests/oracle/a.py", "match x:\n    case [*some]: pass"),
    (no_pickle, "agents/a.py", "import pickle"),
    (no_pickle, "tests/a.py", "from cloudpickle import dumps"),
    (no_pickle, "stream/a.py", "np.load(x, allow_pickle=True)"),
]

NEAR_MISSES: list[tuple[Rule, str, str]] = [
    (no_input_or_output, "agents/a.py", "open('x')"),
    (no_input_or_output, "stream/a.py", "open_alerts(rows)\nstate.open"),
    (no_clock, "agents/a.py", "import time\ntime.time()"),
    (no_clock, "stream/a.py", "datetime.fromtimestamp(0, UTC)\nevent.time\nstate.now"),
    (no_clock, "stream/a.py", "np.datetime64('2025-01-01')"),
    (environment_is_read_in_settings, "agents/settings/settings.py", "import os\nos.environ['X']"),
    (environment_is_read_in_settings, "tests/a.py", "import os\nos.environ['X']"),
    (long_things_give_a_reason, "agents/a.py", "def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)),
    (long_things_give_a_reason, "agents/a.py", LONG_FUNCTION + "    # long because: one state machine\n    x = 1\n"),
    (long_things_give_a_reason, "agents/a.py", "# long because: one table\n" + LONG_FILE),
    (names_say_what_is_inside, "stream/commons.py", ""),
    (variables_are_nouns, "tests/oracle/a.py", "step.at\nf(at=1)\nparts = one_day\nclass Step:\n    at: int"),
    (no_pickle, "stream/a.py", "np.load(x, allow_pickle=False)"),
]


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_project_keeps_the_rule(rule: Rule, sources: list[Source]) -> None:
    findings = [f"{source.path}:{line}: {what}" for source in sources for line, what in rule(source)]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("rule", FOLDER_RULES, ids=name_of)
def test_the_folders_keep_the_rule(rule: FolderRule, sources: list[Source]) -> None:
    findings = [f"{folder}: {what}" for folder, what in rule([source.path for source in sources])]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(("rule", "paths"), FOLDER_VIOLATIONS)
def test_a_folder_that_breaks_a_rule_is_caught(rule: FolderRule, paths: list[str]) -> None:
    assert list(rule([PurePosixPath(path) for path in paths]))


@pytest.mark.parametrize(("rule", "paths"), FOLDER_NEAR_MISSES)
def test_a_folder_within_the_rules_is_left_alone(rule: FolderRule, paths: list[str]) -> None:
    assert not list(rule([PurePosixPath(path) for path in paths]))


@pytest.mark.parametrize(("rule", "path", "text"), VIOLATIONS)
def test_a_violation_is_caught(rule: Rule, path: str, text: str) -> None:
    assert list(rule(source_of(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), NEAR_MISSES)
def test_what_only_looks_like_a_violation_is_left_alone(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(source_of(path, text)))


def test_every_rule_has_a_violation() -> None:
    assert {rule for rule, _, _ in VIOLATIONS} == set(RULES)
    assert {rule for rule, _ in FOLDER_VIOLATIONS} == set(FOLDER_RULES)


def test_all_packages_are_read(sources: list[Source]) -> None:
    assert {source.folder for source in sources} >= {*PACKAGES, "tests"}
