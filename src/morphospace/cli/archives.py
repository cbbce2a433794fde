"""The verbs that get data: data, fetch."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from

if TYPE_CHECKING:
    from morphospace.sky.archives.datasets import Dataset

__all__ = ["data_command", "fetch_command"]

_DOWNLOAD = "morphospace.sky.archives.download:download"
_FETCH = "morphospace.sky.archives.fetch:fetch"


@verb(_DOWNLOAD, examples=["morphospace data", "morphospace data galaxy10-sdss --out galaxy10"])
@click.argument("name", required=False)
@options_from(_DOWNLOAD, "data", skip=("name",), required=False)
def data_command(config: dict[str, Any], name: str | None) -> None:
    """List public labelled sets, or download one."""
    from morphospace.sky.archives.datasets import datasets, find_dataset
    from morphospace.sky.archives.download import download

    table = config.get("data", {})
    if name is None:
        if table:
            msg = "--out and --url go with the NAME of a set; without any options the sets are listed"
            raise click.UsageError(msg)
        listed = datasets()
        result = [_described(each) for each in listed]
        emit({"datasets": result}, "\n".join(map(_lines, listed)), as_json=state().json)
        return
    dataset = find_dataset(name)
    if "out" not in table:
        msg = f"give the folder for the files: morphospace data {dataset.name} --out FOLDER"
        raise click.UsageError(msg)
    state().interrupted = f"what came is kept in '{table['out']}'; the same command goes on there"
    files = call_from(table, partial(download, dataset.name), "data", source=SOURCE)
    files_word = "1 file" if len(files) == 1 else f"{len(files)} files"
    text = [f"{files_word} in '{table['out']}', checked", f"go on: {dataset.use}", f"cite: {dataset.citation}"]
    emit({**_described(dataset), "paths": files}, "\n".join(text), as_json=state().json)


def _described(dataset: Dataset) -> dict[str, Any]:
    names = ("name", "title", "images", "pixels", "size", "licence", "citation", "page", "use", "checksums")
    files = [{"name": f.name, "url": f.url, "bytes": f.bytes or None, "checksum": f.checksum} for f in dataset.files]
    return {**{name: getattr(dataset, name) for name in names}, "files": files}


def _lines(dataset: Dataset) -> str:
    return "\n  ".join(
        [
            f"{dataset.name}: {dataset.images:,} images, {dataset.pixels}; download size {dataset.size}",
            dataset.title,
            f"licence: {dataset.licence} ({dataset.page})",
            f"cite: {dataset.citation}",
            f"checksums: {dataset.checksums}",
        ]
    )


@verb(
    _FETCH,
    examples=[
        "morphospace fetch galaxies.csv --survey ls-dr10 --out stamps --size-arcsec 40 --bands grz",
        "morphospace fetch sources.vot --survey CDS/P/PanSTARRS/DR1/r --out stamps --pixels 128",
        "morphospace fetch table.fits --survey sdss --out pictures --columns SPECOBJID PLUG_RA PLUG_DEC",
    ],
)
@click.argument("table", type=click.Path())
@options_from(_FETCH, "fetch", skip=("table",))
def fetch_command(config: dict[str, Any], table: str) -> None:
    """Download cut-outs for the positions of a table."""
    from morphospace.sky.archives.fetch import fetch

    out = config["fetch"]["out"]
    state().interrupted = f"what came is kept in '{out}'; the same command goes on there"
    done = call_from(config["fetch"], partial(fetch, table), "fetch", source=SOURCE)
    there = done.new + done.passed_over
    following = f"morphospace curate {shlex.quote(str(done.table))} --out {shlex.quote(f'{done.folder.name}.cutouts')}"
    result = {
        "folder": done.folder,
        "n": done.n,
        "new": done.new,
        "passed_over": done.passed_over,
        "failed": done.failed,
        "table": done.table,
        "next": following if there else None,
    }
    lines = [f"{done.new:,} cut-outs fetched into '{out}', {done.passed_over:,} were there, {done.failed:,} failed"]
    lines.append(f"what became of each position: {done.table}")
    lines += [f"go on with: {following}"] if there else []
    emit(result, "\n".join(lines), as_json=state().json)
