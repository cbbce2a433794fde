"""The habits of the house: budgets, light imports, docs that are true of the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import morphospace
from morphospace._optional import optional_import
from morphospace.cli import VERBS, program
from morphospace.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").glob("bench_*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MOST_LINES = 500
MOST_FUNCTION_LINES = 60
MOST_PARAMETERS = 7
MOST_PARAMETERS_OF_A_DOOR = 10  # constructors and public verbs
#: Hosts that source text may name: papers and namespaces, which nothing connects to.
CITED_HOSTS = {"www.w3.org", "doi.org", "arxiv.org", "ui.adsabs.harvard.edu", "www.ivoa.net"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def trees(paths: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    for path in paths:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def docstring_lines(node: ast.AST) -> set[int]:
    """Return the lines of a docstring, none where there is none."""
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


# budgets


def test_files_stay_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES + BENCHMARKS}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_functions_stay_short() -> None:
    long = {}
    for name, tree in trees(SOURCES + BENCHMARKS):
        for node in functions(tree):
            n_lines = (node.end_lineno or node.lineno) - node.lineno + 1 - len(docstring_lines(node))
            if n_lines > MOST_FUNCTION_LINES:
                long[f"{name}::{node.name}"] = n_lines
    assert long == {}


def test_functions_take_few_parameters() -> None:
    many = {}
    for name, tree in trees(SOURCES):
        for node in functions(tree):
            args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = () if node.name == "__init__" else ("self", "cls")  # a constructor's self counts
            n_parameters = len([arg for arg in args if arg.arg not in own])
            door = node.name == "__init__" or node.name in morphospace.__all__
            if n_parameters > (MOST_PARAMETERS_OF_A_DOOR if door else MOST_PARAMETERS):
                many[f"{name}::{node.name}"] = n_parameters
    assert many == {}


def test_public_functions_take_at_most_two_positional_arguments_and_no_open_keywords() -> None:
    wrong = {}
    for name in morphospace.__all__:
        thing = getattr(morphospace, name)
        if not inspect.isfunction(thing):
            continue
        parameters = inspect.signature(thing).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(positional) > 2 or any(p.kind is p.VAR_KEYWORD for p in parameters):
            wrong[name] = [str(p) for p in parameters]
    assert wrong == {}


def test_imports_inside_functions_only_in_the_two_doors() -> None:
    found = [
        f"{name}:{inner.lineno}"
        for name, tree in trees(SOURCES)
        if "/cli/" not in name and not name.endswith("_optional.py")
        for node in functions(tree)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def test_no_asserts_and_no_prints_in_the_library() -> None:
    found = []
    for name, tree in trees(SOURCES):
        for node in ast.walk(tree):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if isinstance(node, ast.Assert) or is_print:
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_nothing_inside_imports_the_root() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees(SOURCES)
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "morphospace")
        or (isinstance(node, ast.Import) and any(alias.name == "morphospace" for alias in node.names))
    ]
    assert found == []


def test_open_work_has_an_issue_number() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"\b(TODO|FIXME|XXX)\b", line) and not re.search(r"#\d+", line)
    ]
    assert found == []


def test_source_names_no_host_and_opens_no_connection() -> None:
    hosts, imports = {}, []
    excused = {
        "src/morphospace/explore/serve.py",  # listens on this machine, for the page
        "src/morphospace/sky/archives/web.py",  # asks servers, and only when the user does
        "src/morphospace/_pool.py",  # pairs of sockets between processes of this machine
    }
    network = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "socket"}
    for name, tree in trees(SOURCES):
        text = (ROOT / name).read_text(encoding="utf-8")
        if strange := set(re.findall(r"https?://([\w.-]+)", text)) - CITED_HOSTS:
            hosts[name] = strange
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            imports += [f"{name}: {each}" for each in names if each in network and name not in excused]
    assert hosts == {}
    assert imports == []


def test_no_file_names_a_path_of_a_machine() -> None:
    pattern = re.compile(r"(?<![\w/])/(?:work|home|root|Users)/\w")
    files = SOURCES + BENCHMARKS + PAGES + [ROOT / "Makefile", ROOT / "pyproject.toml"]
    assert [str(p.relative_to(ROOT)) for p in files if pattern.search(p.read_text(encoding="utf-8"))] == []


def code_lines(path: Path) -> int:
    """Count the lines that hold code: no blank ones, comments or docstrings."""
    text = path.read_text(encoding="utf-8")
    skipped = set().union(*(docstring_lines(node) for node in ast.walk(ast.parse(text))))
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - skipped)


def test_tests_weigh_at_least_four_fifths_of_the_code() -> None:
    code = sum(map(code_lines, SOURCES))
    tests = sum(map(code_lines, (ROOT / "tests").rglob("*.py")))
    assert tests >= 0.8 * code, f"{tests} lines of tests for {code} lines of code"


# light imports


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def least_work(code: str) -> float:
    """Return the least processor time, in seconds, of three fresh processes: what they take on a quiet machine."""
    timed = f"{code}\nimport time; print(time.process_time())"
    return min(float(run_python(timed).split()[-1]) for _ in range(3))


def test_import_is_light() -> None:
    assert least_work("import morphospace") <= 0.2
    heavy = run_python("import sys, morphospace; print({'torch', 'numpy', 'astropy'} & set(sys.modules))")
    assert heavy.strip() == "set()"


def test_help_is_light() -> None:
    assert least_work("from morphospace.cli import main; main(['--help'])") <= 0.5


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_does_not_import_torch(verb: str) -> None:
    words = [verb, "--help"] if verb else ["--help"]
    code = f"import sys; from morphospace.cli import main; main({words!r}); print('torch' in sys.modules)"
    assert run_python(code).split()[-1] == "False"


# public names


def test_public_names_are_what_they_say() -> None:
    for name in morphospace.__all__:
        assert getattr(morphospace, name).__doc__, name
    assert set(morphospace.__all__) <= set(dir(morphospace))
    assert sorted(morphospace.__all__) == list(morphospace.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        morphospace.absent  # noqa: B018


def test_the_type_checker_sees_the_same_public_names() -> None:
    tree = ast.parse((ROOT / "src/morphospace/__init__.py").read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for block in guarded
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == morphospace._PUBLIC


def test_version_is_told_once() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {morphospace.__version__}\n" in citation
    assert re.search(rf"^## \[?{re.escape(morphospace.__version__)}\b", changelog, re.MULTILINE)


def test_missing_extra_gives_its_install_line() -> None:
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'morphospace[tensorboard]'")):
        optional_import("absent_package", extra="tensorboard", purpose="The history")


def test_extras_named_in_the_source_exist() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    named = {
        keyword.value.value
        for _, tree in trees(SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "optional_import"
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert named <= set(extras)


# docs


def blocks(language: str) -> list[Any]:
    """Return the code blocks of one language in the docs, one test case each."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_docs_names_real_things(code: str) -> None:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("morphospace"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ms":
            assert node.attr in morphospace.__all__, f"ms.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "ms":
            target = getattr(morphospace, node.func.attr)
            if inspect.ismodule(target):  # a room with the name of its verb
                target = getattr(importlib.import_module(f"{target.__name__}.{node.func.attr}"), node.func.attr)
            known = set(inspect.signature(target).parameters)
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert given <= known, f"ms.{node.func.attr} takes no {given - known}"


@pytest.mark.parametrize("code", blocks("(?:bash|console|sh)"))
def test_commands_in_docs_exist(code: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    joined = code.replace("\\\n", " ")
    for line in joined.splitlines():
        words = line.removeprefix("$ ").partition(" #")[0].split()
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets, line
        if words[:1] == ["morphospace"] and len(words) > 1 and not words[1].startswith("-"):
            command = program.get_command(click.Context(program), words[1])
            assert command is not None, line
            known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
            given = {word.partition("=")[0] for word in words[2:] if re.match(r"-{1,2}[a-z]", word)}
            assert given <= known | {"--help"}, line


@pytest.mark.parametrize("code", blocks("toml"))
def test_configs_in_docs_are_read(code: str) -> None:
    from morphospace.cli.pipeline import check

    check(tomllib.loads(code), "the docs")


def test_every_public_name_is_in_the_api_page() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert [name for name in morphospace.__all__ if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize("script", ["make_cli.py", "make_api.py"])
def test_written_pages_are_current(script: str) -> None:
    words = [sys.executable, str(ROOT / "docs" / script), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_every_option_is_in_the_command_line_page() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for verb in VERBS:
        command = program.get_command(click.Context(program), verb)
        assert command is not None
        section = page.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
        missing = [
            option
            for param in command.params
            for option in param.opts
            if option.startswith("-") and option not in section
        ]
        assert missing == [], verb


def test_formats_page_names_every_flag_and_column() -> None:
    from morphospace.sky.flags import DEFINITIONS
    from morphospace.sky.store_schema import COLUMNS

    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = [f"| {int(each.flag)} | {each.flag.name} | {each.rule} |" for each in DEFINITIONS]
    assert [row for row in rows if row not in page] == []
    assert [name for name in COLUMNS.names if f"`{name}`" not in page] == []


def test_health_page_names_every_verdict() -> None:
    from morphospace.learn.health import Verdict

    page = (ROOT / "docs/health.md").read_text(encoding="utf-8")
    assert [verdict for verdict in Verdict if f"| {verdict} |" not in page] == []


def test_links_between_pages_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
    linked = [(page, target) for page in PAGES for target in link.findall(page.read_text(encoding="utf-8"))]
    inside = [(page, target) for page, target in linked if "://" not in target]
    assert [f"{page.name}: {target}" for page, target in inside if not (page.parent / target).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES[1:] if "```python" in page.read_text()], ids=lambda p: p.stem)
def test_python_in_docs_runs(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    words = [sys.executable, "-W", "error::FutureWarning", str(script)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# benchmarks


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_explain_themselves(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_run_quickly(script: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(script), "--quick", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
