"""Options of a verb, made from the signature of the function behind it, so that help and code cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from morphospace.cli.output import messages_on_stderr
from morphospace.cli.pipeline import TABLES
from morphospace.cli.signatures import REQUIRED, Kind, Parameter, signature_of
from morphospace.config import NONE, parse_value

__all__ = ["SOURCE", "State", "Verb", "options_from", "state", "table_of", "verb"]

F = TypeVar("F", bound=Callable[..., Any])

#: Joins the names of tables and keys in the name of a click parameter: "train__loop__clip" is train.loop.clip.
JOINT = "__"
#: Where the keys of a config came from, in messages, when no file was given.
SOURCE = "the command line"


@dataclass
class State:
    """What holds for the whole call of the program."""

    debug: bool = False
    json: bool = False
    quiet: bool = False
    #: What to tell who presses Ctrl-C: what is safe and how to go on.
    interrupted: str = "nothing half written is left behind; start again when you like"


def state() -> State:
    """Return the state of the call that runs."""
    return click.get_current_context().ensure_object(State)


class Verb(click.Command):
    """A command whose options become a config: ``config["train"]["epochs"]``, only those that were given."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Gather the options given and call the verb with them."""
        config: dict[str, Any] = {}
        for name in [name for name in ctx.params if JOINT in name]:
            value = ctx.params.pop(name)
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                _put(config, name.split(JOINT), value)
        with messages_on_stderr(quiet=ctx.ensure_object(State).quiet):
            return ctx.invoke(self.callback, config=config, **ctx.params) if self.callback else None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by the table of the config that each belongs to."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                table = table_of(param)
                sections.setdefault(f"Options of [{table}]" if table else "Options", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def table_of(param: click.Parameter) -> str:
    """Return the table of a config file in which the option is a key; empty where there is none."""
    *tables, _ = (param.name or "").split(JOINT)
    return ".".join(tables) if tables and tables[0] in TABLES else ""


def _put(config: dict[str, Any], names: Sequence[str], value: Any) -> None:  # noqa: ANN401
    """Set a key of nested tables; ``--detect`` alone is true, beside ``--detect-snr`` it adds nothing."""
    for name in names[:-1]:
        inner = config.get(name)
        config[name] = inner if isinstance(inner, dict) else {}
        config = config[name]
    if not isinstance(config.get(names[-1]), dict):
        config[names[-1]] = list(value) if isinstance(value, tuple) else value


def verb(where: str, *, examples: Sequence[str] = ()) -> Callable[[Callable[..., None]], Verb]:
    """Make a command of the function that carries it out, with the help of the function of the library behind it.

    Parameters
    ----------
    where : str
        Module and name, as of `signature_of`; its docstring is the help.
    examples : sequence of str
        Command lines shown under the help.

    Returns
    -------
    callable
        Decorator; the function gets ``config`` and the click arguments.
    """

    def decorate(function: Callable[..., None]) -> Verb:
        signature = signature_of(where)
        for option in reversed(_COMMON):
            function = option(function)
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
        text = signature.text.replace("``", "").replace("`", "")
        return click.command(cls=Verb, help=f"{signature.summary}\n\n{text}".strip(), epilog=epilog)(function)

    return decorate


def options_from(
    where: str,
    table: str,
    *,
    skip: Collection[str] = (),
    flatten: Collection[str] = (),
    rename: Mapping[str, str] | None = None,
    required: bool = True,
) -> Callable[[F], F]:
    """Add an option for each parameter of a function.

    Parameters
    ----------
    where : str
        Module and name of the function, as of `signature_of`.
    table : str
        Table of the config that the options fill.
    skip : collection of str
        Parameters that are arguments of the command, or objects.
    flatten : collection of str
        Dataclass parameters whose fields become options of their own name: ``--clip`` and not ``--loop-clip``.
    rename : mapping, optional
        Names of options that differ from the parameter's: ``{"name": "encoder"}``.
    required : bool
        Whether a parameter without default must be given; a config file may hold it otherwise.

    Returns
    -------
    callable
        Decorator.
    """
    signature = signature_of(where)
    wanted = [parameter for parameter in signature.parameters if parameter.name not in skip]
    options = [option for each in wanted for option in _options(each, table, "", flatten, rename or {}, required)]

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _options(
    parameter: Parameter,
    table: str,
    prefix: str,
    flatten: Collection[str],
    rename: Mapping[str, str],
    required: bool,
) -> list[Callable[[F], F]]:
    """Return the options of one parameter: one, or those of the fields of a dataclass."""
    name = f"{table}{JOINT}{parameter.name}"
    flag = prefix + rename.get(parameter.name, parameter.name)
    if not parameter.kind.fields:
        return [] if parameter.kind.base == "object" else [_option(parameter, name, flag, parameter.kind, required)]
    flat = parameter.name in flatten
    fields = {field.name: field for field in parameter.kind.fields}
    alone = parameter.default is None and not flat and "kind" not in fields
    options = [_option(parameter, name, flag, Kind("bool"), required)] if alone else []
    for field in fields.values():
        if field.name == "kind" and not flat:  # --stretch asinh, and not --stretch-kind
            options.append(_option(field, f"{name}{JOINT}kind", flag, field.kind, required=False))
        else:
            options.extend(_options(field, name, prefix if flat else f"{flag}-", flatten, {}, required=False))
    return options


def _option(parameter: Parameter, name: str, flag: str, kind: Kind, required: bool) -> Callable[[F], F]:
    """Return the click option of one parameter."""
    default = None if parameter.default is REQUIRED else parameter.default
    spelled = f"-{flag}" if len(flag) == 1 else "--" + flag.replace("_", "-")
    settings: dict[str, Any] = {"help": parameter.help, "required": required and parameter.default is REQUIRED}
    if kind.base == "bool":
        if default is True:
            spelled += f"/--no-{spelled[2:]}"
        settings |= {"is_flag": True, "default": default is True, "show_default": default is True}
    else:
        settings |= _type(kind, default) | {"multiple": kind.many and not kind.length}
        settings["help"] += " Give it once for each." if settings["multiple"] else ""
        settings |= {"metavar": f"[{'|'.join(parameter.listed)}]"} if kind.base == "str" and parameter.listed else {}
        settings |= {"type": click.IntRange(min=0), "metavar": "INTEGER"} if parameter.name == "seed" else {}
        settings |= {"nargs": kind.length} if kind.many and kind.length else {}
        settings |= {"default": default, "show_default": True} if default not in (None, ()) else {}
    return click.option(spelled, name, **settings)


def _type(kind: Kind, default: object) -> dict[str, Any]:
    """Return click's settings for what an option takes."""
    if kind.choices:
        plain: Any = click.Choice(kind.choices, case_sensitive=False)
    else:
        plain = {"int": click.INT, "float": click.FLOAT, "str": click.STRING, "path": click.Path()}.get(kind.base)
    if plain is None:
        return {"type": parse_value, "metavar": "VALUE"}
    if not kind.optional or default is None:
        return {"type": plain}

    def or_none(value: Any) -> Any:  # noqa: ANN401
        return NONE if value == NONE else plain(value)

    return {"type": or_none, "metavar": f"{plain.name.upper()}|{NONE}"}


def _noted(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        setattr(ctx.ensure_object(State), str(param.name), True)


def _flag(name: str, words: str) -> Callable[[F], F]:
    return click.option(f"--{name}", name, is_flag=True, is_eager=True, expose_value=False, callback=_noted, help=words)


_COMMON = (
    _flag("json", "Print the result as one JSON object."),
    _flag("quiet", "No progress, only warnings and errors."),
    _flag("debug", "Show the traceback of an error."),
)
