"""What the axes of a space mean: its principal components against everything that was measured or tabled."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from sklearn.decomposition import PCA

from morphospace._manifest import replacing, software_versions
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.compare import folds
from morphospace.science.association import (
    canonical,
    knn_r2,
    linear_r2_clipped,
    mean_by_group,
    spearman_tests,
)
from morphospace.science.axial import doubled_angles
from morphospace.science.photometry import Tabled, join
from morphospace.science.relate_page import Axis, Page, write_page
from morphospace.science.splits import object_groups
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.sources.rows import IDS
from morphospace.space.embeddings import Embeddings
from morphospace.space.tiles import thumbs_of

__all__ = ["Related", "relate"]

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Int = NDArray[np.intp]

_ABOUT = b"morphospace"
_VERSION = 1
_MOST = 10_000  # objects that the tests are made on
_FEWEST = 30  # objects of which a quantity must be known
_FOLDS = 5
_CANONICAL = 32  # components of the embedding that canonical correlations see, at most
_WHOLE = 0.9  # a quantity must be known of this fraction of objects to be among the canonical correlations
_EXTREMES = 5  # objects at each end of an axis
#: Columns of a store that are no properties of the object.
_OURS = (
    "x",
    "y",
    "hdu",
    "flags",
    "pixel_scale_arcsec",
    "match_rows",
    "match_arcsec",
    "ra",
    "dec",
    "table_ra",
    "table_dec",
)


@dataclass(frozen=True, eq=False)
class Related:
    """What the principal components of a space have to do with quantities of the objects.

    Attributes
    ----------
    table : pyarrow.Table
        A row for each pair: ``component`` (from 1), ``quantity``, ``n`` (distinct objects), ``spearman``, ``low``, ``high``
        (95 % bootstrap interval), ``p`` (permutation), ``q`` (corrected), ``stands`` (q at most the level).
    quantities : pyarrow.Table
        A row for each quantity: ``quantity``, ``n``, ``linear_r2``, ``knn_r2`` (from the whole vector, by
        cross-validation), ``strongest`` (its largest |spearman|).
    canonical : pyarrow.Table
        A row for each canonical pair: ``pair``, ``correlation`` (on objects that were not fitted on), ``fitted`` (on those
        that were), ``quantities`` (those that go with it most, and how). Empty where too few quantities are known.
    components : ndarray of float64, (N, C)
        Place of each object along the components; NaN without a vector.
    explained : ndarray of float64, (C,)
        Share of the variance of the vectors.
    about : dict
        How it was made, and what was left out and why.
    path : Path or None
        The page.
    """

    table: pa.Table
    quantities: pa.Table
    canonical: pa.Table
    components: Float
    explained: Float
    about: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __repr__(self) -> str:
        stand = int(np.sum(self.table["stands"].to_numpy()))
        return f"<Related: {len(self.explained)} components, {len(self.quantities)} quantities, {stand} pairs stand>"


def relate(
    emb: Embeddings,
    tables: Tabled | Sequence[Tabled] = (),
    *,
    columns: Sequence[str] | None = None,
    cutouts: Cutouts | None = None,
    out: str | Path | None = None,
    components: int = 6,
    level: float = 0.05,
    permutations: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
) -> Related:
    """Find out what the axes of a space mean.

    Principal components of the vectors are held against every quantity: rank correlation with its permutation p and bootstrap
    interval, how well the whole vector tells the quantity, and canonical correlations of vector and table.

    Parameters
    ----------
    emb : Embeddings
        Rows whose vector holds NaN are left out.
    tables : tables, shapes of `measure` or paths, one or several
        Joined by id, or else by position within 2 arcsec; ambiguous matches are left out.
    columns : sequence of str, optional
        Quantities wanted, out of the tables and the columns of the embeddings. Default: all columns of numbers in the
        tables, and without tables those of the embeddings.
    cutouts : Cutouts, optional
        Give the pictures of the page.
    out : path, optional
        Page to write, e.g. ``relate.html``; the table goes beside it as ``relate.parquet`` and ``relate.csv``.
    components : int, >= 1
        Number of principal components C; fewer where the vectors have fewer dimensions.
    level : float, 0 to 1
        False discovery rate: the expected fraction of chance among the pairs that stand.
    permutations : int, >= 100
        Permutations of each quantity, at least; more are made where the number of tests asks for it.
    seed : int
        Seed of permutations, resamples and folds.
    overwrite : bool
        Replace a page that is there.

    Returns
    -------
    Related

    Raises
    ------
    DataError
        If no quantity can be related, or too few objects have a vector.
    ConfigError
        If an option is out of range or a column unknown.
    StoreError
        If `out` is there and `overwrite` is not given, or it cannot be written.

    Notes
    -----
    Spearman 1904; the null of a pair is that of permuted values against all components, whose ranks have no ties, so that C
    permutations are had for one. p = (1 + number at least as extreme) / (1 + number), corrected for the number of tests
    after Benjamini & Hochberg 1995. Rows that show one object (`object_groups`) are averaged for the tests, so that values are
    permuted and resampled among objects, and share a fold. Position angles (`is_axial`) enter as cos and sin of twice the
    angle. Quantities known of fewer than 30 objects, constant, or made of text are left out. At most 10,000 rows, drawn by
    chance, are used.
    """
    _check(components, level, permutations)
    paths = _free(out, overwrite=overwrite)
    several = [tables] if not isinstance(tables, Sequence) or isinstance(tables, str) else list(tables)
    values, left_out = _quantities(emb, several, columns)
    good = np.flatnonzero(np.isfinite(emb.vectors).all(1))
    if len(good) < _FEWEST:
        msg = f"relate needs at least {_FEWEST} objects with a vector; embeddings {emb.name} have {len(good)}."
        raise DataError(msg)
    rng = np.random.default_rng(seed)
    used = np.sort(rng.choice(good, _MOST, replace=False)) if len(good) > _MOST else good
    z = np.asarray(emb.vectors[used], dtype=np.float64)
    axes, explained, place = _components(emb, good, z, components)
    values = {name: v[used] for name, v in values.items()}
    values, angles = doubled_angles(values)
    group = np.unique(object_groups(emb)[used], return_inverse=True)[1]
    # rows that show one object are no more objects: each is tested once, by its mean
    once = _usable({name: mean_by_group(v, group) for name, v in values.items()}, left_out)
    values = {name: values[name] for name in once}
    tests, order = _tests(mean_by_group(axes, group), once, level, permutations, rng)
    n_objects = int(group.max()) + 1
    fold = folds(np.zeros(len(used)), n_folds=_FOLDS, group=group if n_objects >= _FOLDS else None, seed=seed)
    found = Related(
        tests,
        _read_out(z, values, fold, tests),
        _canonical(z, values, fold),
        place * order,
        explained,
        {
            **_about(emb, len(good), len(used), level, left_out, seed),
            "distinct": n_objects,
            "angles": angles,
        },
        paths[0] if paths else None,
    )
    if paths:
        _write(found, emb, cutouts, paths)
    return found


def _check(components: int, level: float, permutations: int) -> None:
    for name, value, ok, asked in (
        ("components", components, components >= 1, "at least 1"),
        ("level", level, 0 < level < 1, "between 0 and 1, both excluded"),
        ("permutations", permutations, permutations >= 100, "at least 100"),
    ):
        if not ok:
            msg = f"{name} of relate must be {asked}; got {value}."
            raise ConfigError(msg)


def _free(out: str | Path | None, *, overwrite: bool) -> tuple[Path, ...]:
    """Give the files to write: page, Parquet, CSV."""
    if out is None:
        return ()
    page = Path(out)
    if page.suffix.lower() not in (".html", ".htm"):
        msg = f"out of relate must be the name of a page, e.g. relate.html; got '{page}'."
        raise ConfigError(msg)
    paths = (page, page.with_suffix(".parquet"), page.with_suffix(".csv"))
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        msg = f"'{there[0]}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    return paths


def _quantities(
    emb: Embeddings, tables: Sequence[Tabled], columns: Sequence[str] | None
) -> tuple[dict[str, Float], dict[str, str]]:
    """Gather all columns of numbers in the order of the embeddings, and say what was left out."""
    left_out: dict[str, str] = {}
    values = {}
    for name, column in _columns(emb, tables, columns).items():
        kind = column.type
        if columns is None and (name.lower() in (*_OURS, *IDS) or name.endswith("flags")):
            continue
        if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            values[name] = np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        elif columns is not None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            left_out[name] = f"no numbers ({kind})"
    return values, left_out


def _columns(emb: Embeddings, tables: Sequence[Tabled], columns: Sequence[str] | None) -> dict[str, pa.ChunkedArray]:
    """Give the columns wanted, of numbers or not; the first table that has a name gives it."""
    found: dict[str, pa.ChunkedArray] = {}
    for table in (join(emb, table) for table in tables):
        sure = np.isin(table["match"].to_pylist(), ("one", "shared"))
        for name in table.column_names[4:]:  # after id, match, match_rows and match_arcsec
            found.setdefault(name, _only(table[name], sure))
    if columns is not None or not tables:
        own = emb.table()
        found |= {name: own[name] for name in own.column_names if name not in found}
    if columns is None:
        return found
    for name in columns:
        if name not in found:
            msg = f"unknown column '{name}'{nearest(name, list(found))}"
            raise ConfigError(msg)
    return {name: found[name] for name in columns}


def _only(column: pa.ChunkedArray, sure: NDArray[np.bool_]) -> pa.ChunkedArray:
    """Leave out values of rows that do not surely belong to their object."""
    return column if sure.all() else column.take(pa.array(np.arange(len(sure)), mask=~sure))


def _usable(values: dict[str, Float], left_out: dict[str, str]) -> dict[str, Float]:
    kept = {}
    for name, v in values.items():
        v = np.where(np.isfinite(v), v, np.nan)
        known = v[np.isfinite(v)]
        if len(known) < _FEWEST:
            left_out[name] = f"known of {len(known)} objects only"
        elif np.ptp(known) == 0:
            left_out[name] = "constant"
        else:
            kept[name] = v
    if not kept:
        told = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:5]) or "no column of numbers"
        msg = f"there is nothing to relate the space to ({told}); give a table of numbers, e.g. that of measure."
        raise DataError(msg)
    return kept


def _components(emb: Embeddings, good: Int, z: Float, n: int) -> tuple[Float, Float, Float]:
    """Give the components of the objects used, their share of the variance, and the place of all objects."""
    if not np.ptp(z, axis=0).any():
        msg = f"all vectors of embeddings {emb.name} are equal; there are no axes to relate."
        raise DataError(msg)
    n = min(n, z.shape[1], len(z) - 1)
    model = PCA(n, svd_solver="full").fit(z)
    place = np.full((len(emb), n), np.nan)
    for start in range(0, len(good), _MOST):
        rows = good[start : start + _MOST]
        place[rows] = model.transform(np.asarray(emb.vectors[rows], dtype=np.float64))
    return model.transform(z), model.explained_variance_ratio_, place


def _tests(
    axes: Float, values: Mapping[str, Float], level: float, permutations: int, rng: np.random.Generator
) -> tuple[pa.Table, Float]:
    """Test every component against every quantity; components are turned so that their strongest correlation is positive."""
    n_tests = axes.shape[1] * len(values)
    # With one true pair among all the smallest corrected p is n_tests / number of null values: half the level.
    wanted = max(permutations, int(np.ceil(2 * n_tests / level / axes.shape[1])))
    found = {name: spearman_tests(axes, v, permutations=wanted, rng=rng) for name, v in values.items()}
    rho = np.array([f.rho for f in found.values()])  # (Q, C)
    strongest = rho[np.abs(rho).argmax(0), np.arange(rho.shape[1])]
    sign = np.where(strongest < 0, -1.0, 1.0)
    p = np.array([f.p for f in found.values()])
    q = false_discovery_control(p.ravel(), method="bh").reshape(p.shape)
    rows = []
    for i, (name, f) in enumerate(found.items()):
        for c in range(axes.shape[1]):
            ends = sorted((sign[c] * f.low[c], sign[c] * f.high[c]))
            told = {"component": c + 1, "quantity": name, "n": f.n, "spearman": float(sign[c] * f.rho[c])}
            told |= {"low": float(ends[0]), "high": float(ends[1]), "p": float(p[i, c]), "q": float(q[i, c])}
            rows.append(told | {"stands": bool(q[i, c] <= level)})
    return pa.Table.from_pylist(rows), sign


def _read_out(z: Float, values: Mapping[str, Float], fold: Int, tests: pa.Table) -> pa.Table:
    rho = np.abs(tests["spearman"].to_numpy())
    names = np.array(tests["quantity"].to_pylist())
    rows: list[dict[str, Any]] = []
    for name, v in values.items():
        known = np.isfinite(v)
        linear, near = linear_r2_clipped(z[known], v[known], fold[known]), knn_r2(z[known], v[known], fold[known])
        told = {"quantity": name, "n": int(known.sum()), "linear_r2": linear, "knn_r2": near}
        rows.append(told | {"strongest": float(rho[names == name].max())})
    return pa.Table.from_pylist(sorted(rows, key=lambda row: -row["strongest"]))


def _canonical(z: Float, values: Mapping[str, Float], fold: Int) -> pa.Table:
    schema = pa.schema(
        {"pair": pa.int64(), "correlation": pa.float64(), "fitted": pa.float64(), "quantities": pa.string()}
    )
    names = [name for name, v in values.items() if np.isfinite(v).mean() >= _WHOLE]
    if not names:
        return schema.empty_table()
    y = np.column_stack([values[name] for name in names])
    whole = np.isfinite(y).all(1)
    x = PCA(min(_CANONICAL, z.shape[1], len(z) - 1), svd_solver="full").fit_transform(z)[whole]
    if whole.sum() < 5 * (len(names) + x.shape[1]):
        logger.info("canonical correlations left out: %d objects know all of %d quantities", whole.sum(), len(names))
        return schema.empty_table()
    found = canonical(x, y[whole], fold[whole])
    rows = []
    for i, (held, fitted) in enumerate(zip(found.held_out, found.fitted, strict=True)):
        most = np.argsort(-np.abs(found.loadings[:, i]))[:4]
        said = ", ".join(f"{names[j]} ({found.loadings[j, i]:+.2f})" for j in most)
        rows.append({"pair": i + 1, "correlation": float(held), "fitted": float(fitted), "quantities": said})
    return pa.Table.from_pylist(rows, schema=schema)


def _about(emb: Embeddings, n: int, used: int, level: float, left_out: Mapping[str, str], seed: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "embeddings": emb.name,
        "objects": n,
        "used": used,
        "dimensions": emb.dim,
        "level": level,
        "seed": seed,
        "left_out": dict(left_out),
        "software": software_versions(),
    }


def _write(found: Related, emb: Embeddings, cutouts: Cutouts | None, paths: Sequence[Path]) -> None:
    thumbs = None if cutouts is None else thumbs_of(cutouts, emb)
    axes = []
    for c in range(len(found.explained)):
        known = np.flatnonzero(np.isfinite(found.components[:, c]))
        order = known[np.argsort(found.components[known, c], kind="stable")]
        n = min(_EXTREMES, len(order) // 2)
        axes.append(Axis(c + 1, float(found.explained[c]), order[:n].tolist(), order[::-1][:n][::-1].tolist()))
    page = Page(found.table, found.quantities, found.canonical, axes, emb.ids, thumbs, found.about)
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        with replacing(paths[0]) as beside:
            write_page(page, beside)
        told = found.table.replace_schema_metadata({_ABOUT: json.dumps(found.about)})
        with replacing(paths[1]) as beside:
            pq.write_table(told, beside)
        with replacing(paths[2]) as beside:
            pacsv.write_csv(found.table, beside)
    except OSError as error:
        msg = f"'{paths[0]}' cannot be written ({error})."
        raise StoreError(msg) from error
