"""Write docs/cli.md from the commands themselves; ``--check`` says whether it is current."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import click

from morphospace.cli import VERBS, program
from morphospace.cli.options import table_of

PAGE = Path(__file__).parent / "cli.md"
HEAD = """\
# Command line

<!-- Written by docs/make_cli.py; edit the docstrings of the functions, then run it. -->

One verb each, and the same verbs in Python. `morphospace VERB --help` shows what is below. Results go to stdout (`--json`
for machines), progress and warnings to stderr. Exit status: 0 fine, 1 an error told in one line (`--debug` shows its
traceback), 2 a mistyped command, 130 interrupted with Ctrl-C: the last line then says what is safe and how to go on.
Nothing is overwritten without `--overwrite`. An option shown as `FLOAT|none` takes the word `none` too, for None.

Options under a title such as **[train.loop]** are keys of that table in a config file, where `-` is `_`; see
[Config files](config.md).

| verb | |
|---|---|
"""


def page() -> str:
    """Return the page as it should be."""
    rows = [f"| [{verb}](#{verb}) | {words} |" for verb, (_, words) in VERBS.items()]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(section(verb) for verb in VERBS)


def section(verb: str) -> str:
    """Return the section on one verb."""
    context = click.Context(program, info_name="morphospace")
    command = program.get_command(context, verb)
    if command is None:
        raise LookupError(verb)
    context = click.Context(command, info_name=verb, parent=context)
    examples = (command.epilog or "").partition("Examples:\n")[2]
    lines = [f"## {verb}", "", "```", command.get_usage(context).removeprefix("Usage: "), "```", ""]
    lines += [escaped(command.help or ""), ""]
    if examples:
        lines += ["```bash", *(line.strip() for line in examples.splitlines()), "```", ""]
    for title, records in tables(command, context).items():
        lines += [f"**{title}**" if title else "**Options**", ""]
        lines += [f"- `{names}`: {escaped(words)}" if words else f"- `{names}`" for names, words in records]
        lines.append("")
    return "\n".join(lines)


def tables(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return the options of a command by the table of the config that they belong to."""
    found: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and isinstance(param, click.Option):
            table = table_of(param)
            found.setdefault(f"[{table}]" if table else "", []).append((record[0], " ".join(record[1].split())))
    return found


def escaped(text: str) -> str:
    """Return text in which nothing is taken for markup."""
    text = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return re.sub(r"([*_\[\]<>|])", r"\\\1", text)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/cli.md is not current; run: .venv/bin/python docs/make_cli.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
