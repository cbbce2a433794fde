"""Write docs/api.md from the docstrings of the public names; ``--check`` says whether it is current."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

import morphospace
from morphospace.cli.signatures import definition, signature_of

PAGE = Path(__file__).parent / "api.md"
HEAD = """\
# Public names

<!-- Written by docs/make_api.py; edit the docstrings, then run it. -->

`import morphospace as ms`, then `ms.curate` and so on; each is imported when it is first asked for. `help(ms.curate)` shows the
whole docstring, with what is returned and raised and the papers behind it.

"""
VERBS = ("curate", "views", "train", "doctor", "embed", "search", "cluster", "project", "export", "demo")


def page() -> str:
    """Return the page as it should be."""
    rest = [name for name in morphospace.__all__ if name not in VERBS]
    functions = [name for name in rest if name[0].islower()]
    classes = [name for name in rest if name[0].isupper()]
    shelves = {"Verbs": VERBS, "Makers and helpers": functions, "Classes": classes}
    parts = [f"## {title}\n\n" + "\n".join(entry(name) for name in names) for title, names in shelves.items()]
    return HEAD + "\n".join(parts)


def entry(name: str) -> str:
    """Return the section on one name."""
    module, node = definition(f"{morphospace._PUBLIC[name]}:{name}")
    told = signature_of(f"{module}:{name}")
    lines = [f"### {name}", "", "```text", call(node), "```", "", f"{prose(told.summary)} *({module})*", ""]
    lines += [f"{prose(part)}\n" for part in told.text.split("\n\n") if part]
    lines += [f"- `{each.name}`: {prose(each.help)}" for each in told.parameters if each.help]
    if isinstance(node, ast.ClassDef):
        lines += [f"- `{each}" for each in methods(node)]
    return "\n".join(lines).rstrip() + "\n"


def call(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return how a function is called or a class constructed, as in the source."""
    found: ast.AST = node
    if isinstance(node, ast.ClassDef):
        found = next(
            (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), node
        )
    if isinstance(found, ast.ClassDef):
        fields = [each for each in found.body if isinstance(each, ast.AnnAssign)]
        return f"{node.name}({', '.join(ast.unparse(each) for each in fields)})"
    if isinstance(found, ast.FunctionDef):
        arguments = re.sub(r"^self(, )?", "", ast.unparse(found.args))
        returned = f" -> {ast.unparse(found.returns)}" if found.returns and node is found else ""
        return f"{node.name}({arguments}){returned}"
    raise LookupError(node.name)


def methods(node: ast.ClassDef) -> list[str]:
    """Return the public methods of a class with their first lines."""
    found = []
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            is_property = any(isinstance(d, ast.Name) and "property" in d.id for d in each.decorator_list)
            arguments = re.sub(
                r"^(self|cls)(, )?", "", ", ".join(arg.arg for arg in [*each.args.args, *each.args.kwonlyargs])
            )
            summary = (ast.get_docstring(each) or "").partition("\n\n")[0]
            found.append(f".{each.name}{'' if is_property else f'({arguments})'}`: {prose(summary)}")
    return found


def prose(text: str) -> str:
    """Return docstring prose as markdown on one line."""
    text = " ".join(text.replace("``", "`").split())
    return re.sub(r"(?<!\\)([<>|*])", r"\\\1", text)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/api.md is not current; run: .venv/bin/python docs/make_api.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
