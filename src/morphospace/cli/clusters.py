"""The verb cluster: groups, their figures, and pages of their members."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.config import call_from

if TYPE_CHECKING:
    from morphospace.space.clustering.result import Clusters
    from morphospace.space.clustering.tables import Comparison
    from morphospace.space.embeddings import Embeddings

__all__ = ["cluster_command"]

_CLUSTER = "morphospace.space.cluster:cluster"


@verb(
    _CLUSTER,
    examples=[
        "morphospace cluster disks.emb",
        "morphospace cluster disks.emb --method gmm -k auto --labels kind",
        "morphospace cluster disks.emb --method gmm -k 8 --cutouts disks.cutouts --gallery page.html --atlas atlas.pdf",
        "morphospace cluster disks.emb --method gmm -k 8 --ignore 3 --name clean --cutouts disks.cutouts --zooniverse sets",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.option("--name", help="Name under which the result is kept with the embeddings; default: the method.")
@click.option("--labels", metavar="COLUMN", help="Compare with the values of this column.")
@click.option("--cutouts", type=click.Path(), help="Store that the embeddings come from; the pictures need it.")
@click.option("--gallery", type=click.Path(), help="Write a page with members of each cluster and all figures (.html).")
@click.option("--atlas", type=click.Path(), help="Draw exemplars of each cluster on one page (.pdf, .svg or .png).")
@click.option("--zooniverse", type=click.Path(), help="Write a subject set for Zooniverse of each cluster here.")
@click.option("--only", type=int, multiple=True, help="Cluster for --zooniverse; default all. Give it once for each.")
@click.option("--overwrite", is_flag=True, help="Replace a result of that name, pages and subject sets that are there.")
@options_from(_CLUSTER, "cluster", skip=("emb",))
def cluster_command(
    config: dict[str, Any],
    embeddings: str,
    name: str | None,
    labels: str | None,
    **pages: Any,  # noqa: ANN401
) -> None:
    """Group what looks alike."""
    from morphospace.space.cluster import METHODS, cluster
    from morphospace.space.clustering.tables import compare
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.kept import place_of

    _check_pages(pages)
    emb = Embeddings.open(embeddings)
    truth = None if labels is None else emb.table([labels])[labels].to_pylist()
    given, overwrite = config.get("cluster", {}), pages["overwrite"]
    place_of(emb, "clusters", name or given.get("method", METHODS[0]), overwrite=overwrite)
    if truth is not None:
        compare(np.full(len(emb), -1), truth)  # refuses what clusters cannot be compared with, before the work
    found = call_from(given, partial(cluster, emb), "cluster", source=SOURCE)
    comparison = None if truth is None else compare(found.labels, truth)
    kept = found.save(emb, name, overwrite=overwrite)
    result: dict[str, Any] = {"kept": kept, **found.about()}
    if comparison is not None:
        result["labels"] = {"column": labels, **comparison.figures()}
    written = _write_pages(emb, found, pages, comparison, labels or "")
    lines = [_told(found, comparison, labels or ""), f"kept in '{kept}'", *(f"written to '{path}'" for path in written)]
    emit({**result, "written": written}, "\n".join(lines), as_json=state().json)


def _check_pages(pages: dict[str, Any]) -> None:
    asked = [option for option in ("gallery", "atlas", "zooniverse") if pages[option] is not None]
    if asked and pages["cutouts"] is None:
        msg = f"--{asked[0]} needs --cutouts STORE, where the pictures are"
        raise click.UsageError(msg)
    if pages["only"] and pages["zooniverse"] is None:
        msg = "--only chooses clusters for --zooniverse FOLDER"
        raise click.UsageError(msg)
    for option in ("gallery", "atlas"):
        if pages[option] is not None:
            refuse_existing(pages[option], overwrite=pages["overwrite"])
    for one in (
        sorted(Path(pages["zooniverse"]).glob("cluster-*/manifest.csv")) if pages["zooniverse"] is not None else ()
    ):
        refuse_existing(one.parent, overwrite=pages["overwrite"])


def _write_pages(
    emb: Embeddings, found: Clusters, pages: dict[str, Any], comparison: Comparison | None, labels: str
) -> list[Path]:
    """Write what was asked for."""
    if pages["cutouts"] is None:
        return []
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.clustering.atlas import write_atlas
    from morphospace.space.clustering.gallery import write_gallery
    from morphospace.space.clustering.zooniverse import write_subject_sets

    cuts = Cutouts.open(pages["cutouts"])
    written: list[Path] = []
    if pages["gallery"] is not None:
        written.append(write_gallery(emb, found, cuts, pages["gallery"], comparison=comparison, label=labels))
    if pages["atlas"] is not None:
        written.append(write_atlas(emb, found, cuts, pages["atlas"]))
    if pages["zooniverse"] is not None:
        written += write_subject_sets(
            emb, found, cuts, pages["zooniverse"], only=pages["only"], overwrite=pages["overwrite"]
        )
    return written


def _told(found: Clusters, comparison: Comparison | None, labels: str) -> str:
    """Put the figures into a table for people."""
    none = int((found.labels < 0).sum())
    lines = [f"{found.k} clusters of {int(found.sizes.sum()):,} objects" + (f", {none:,} in none" if none else "")]
    if found.k:
        lines.append(f"{'cluster':>7} {'objects':>8} {'membership':>10} {'stability':>9} {'silhouette':>10}")
    for c in range(found.k):
        figures = (found.overlap[c, c], found.stability.jaccards[c], found.validity.silhouettes[c])
        own, stable, apart = (_number(value) for value in figures)
        lines.append(f"{c:>7} {found.sizes[c]:>8,} {own:>10} {stable:>9} {apart:>10}")
    validity = found.validity
    lines.append(
        f"silhouette {_number(validity.silhouette)} ({_number(validity.simplified_silhouette)} to centroids), "
        f"Calinski-Harabasz {_number(validity.calinski_harabasz)}, "
        f"adjusted Rand over {found.stability.n_resamples} resamples {_number(found.stability.rand)}"
    )
    if comparison is not None:
        lines.append(
            f"against '{labels}' ({comparison.n:,} objects, {len(comparison.classes)} classes): purity "
            f"{_number(comparison.purity)}, AMI {_number(comparison.ami)}, accuracy {_number(comparison.accuracy)}"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
