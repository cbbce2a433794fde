"""The command line: one command per verb; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence
from importlib.metadata import version

import click

from morphospace.cli.options import State
from morphospace.config import nearest
from morphospace.errors import MorphospaceError
from morphospace.learn.memory import keep_freed_memory

__all__ = ["VERBS", "main", "program"]

#: Each verb: the module that holds its command under the same name, and its line in the list of verbs.
VERBS = {
    "data": ("morphospace.cli.archives", "List public labelled sets, or download one."),
    "fetch": ("morphospace.cli.archives", "Download cut-outs of a survey for the positions of a table."),
    "curate": ("morphospace.cli.sky", "Turn image files into cutouts, with a report on what was left out."),
    "views": ("morphospace.cli.learn", "Draw what the views of a preset do to an image."),
    "train": ("morphospace.cli.learn", "Train an encoder on cutouts, without labels."),
    "doctor": ("morphospace.cli.learn", "Say whether a run is healthy, and why."),
    "embed": ("morphospace.cli.space", "Turn cutouts into vectors with a trained encoder."),
    "search": ("morphospace.cli.space", "Find the objects most similar to one or more."),
    "cluster": ("morphospace.cli.clusters", "Group what looks alike, and judge the groups."),
    "project": ("morphospace.cli.maps", "Make a map: principal components, t-SNE, UMAP; draw it for a paper."),
    "anomalies": ("morphospace.cli.odd", "Rank the odd ones, each with the reason in words."),
    "alike": ("morphospace.cli.odd", "Show which parts make two objects alike."),
    "ask": ("morphospace.cli.odd", "Learn from your labels what interests you, and offer what to look at next."),
    "explore": ("morphospace.cli.explore", "Look at the space in the browser: map, clusters, odd ones, labels."),
    "generate": ("morphospace.cli.generate", "Make images with an autoencoder, and read what it has learned."),
    "measure": ("morphospace.cli.science", "Measure the shape of every object by the classical definitions."),
    "predict": ("morphospace.cli.predict", "Predict classes, values or votes from labels, fused with tables."),
    "finetune": ("morphospace.cli.finetune", "Train an encoder with labels, from a run or from scratch."),
    "relate": ("morphospace.cli.relate", "Say what the axes of a space mean: against shapes and tables, as a page."),
    "segment": ("morphospace.cli.faint", "Find the pixels of every object, and keep them as masks."),
    "export": ("morphospace.cli.space", "Write embeddings for TOPCAT, Excel, TensorBoard and others."),
    "run": ("morphospace.cli.whole", "Curate, train, embed and export from one config file."),
    "demo": ("morphospace.cli.whole", "Go the whole way on the Hubble deep field."),
}


class Program(click.Group):
    """Verbs, imported when they are called; a mistyped one names the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of a verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[cmd_name][0]), f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            msg = f"there is no verb {args[0]!r}{nearest(args[0], VERBS)}"
            raise click.UsageError(msg, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, words) for name, (_, words) in VERBS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"morphospace {version('morphospace')}")
        ctx.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]}, epilog="morphospace VERB --help")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
def program() -> None:
    """morphospace: search, map and understand images of the sky by their shapes.

    Results go to stdout, progress and warnings to stderr. Exit status: 0 fine, 1 an error, 2 a mistyped command, 130
    interrupted. Nothing is overwritten without --overwrite.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``morphospace``; those of the process if not given.

    Returns
    -------
    int
        Exit status: 0 fine, 1 an error told in one line, 2 bad usage, 130 interrupted.
    """
    keep_freed_memory()
    state = State()
    try:
        status = program.main(arguments, prog_name="morphospace", standalone_mode=False, obj=state)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _failed(f"Interrupted: {state.interrupted}", 130, debug=state.debug)
    except MorphospaceError as error:
        return _failed(f"Error: {error}", 1, debug=state.debug)
    except OSError as error:  # full disk, no permission
        where = f"'{error.filename}': " if error.filename else ""
        return _failed(f"Error: {where}{error.strerror or error}", 1, debug=state.debug)
    except Exception as error:  # a bug: it is named, not hidden
        hint = "" if state.debug else "; this is a bug of morphospace: run again with --debug and report it"
        return _failed(f"Error: unexpected {type(error).__name__}: {error}{hint}", 1, debug=state.debug)
    return status if isinstance(status, int) else 0


def _failed(line: str, status: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    click.echo(" ".join(line.split()), err=True)
    return status
