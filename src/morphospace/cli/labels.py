"""Labels on the command line: columns of the data or of a table, of the objects that meet a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morphospace.science.targets import LabelSource
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings

__all__ = ["labels_of"]


def labels_of(data: Embeddings | Cutouts, columns: tuple[str, ...], path: str | None, where: str | None) -> LabelSource:
    """Return labels as `predict` and `finetune` take them.

    Parameters
    ----------
    data : Embeddings or Cutouts
    columns : tuple of str
        The labels; several are votes.
    path : str, optional
        Table that has them, with a column ``id``.
    where : str, optional
        Condition on the columns of the data; labels of objects that do not meet it are left out.
    """
    from morphospace.errors import DataError
    from morphospace.science.targets import read_labels
    from morphospace.space.where import columns_of, rows_where

    wanted = columns[0] if len(columns) == 1 else columns
    if path is not None:
        labels = read_labels(path, wanted)
    elif where is None:
        return wanted
    else:
        table = data.table(list(columns))
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        values = [row[0] if len(columns) == 1 else dict(zip(columns, row, strict=True)) for row in rows]
        labels = dict(zip(data.ids, values, strict=True))
    if where is None:
        return labels
    chosen = rows_where(data.table(sorted(columns_of(where, data.columns))), where)
    if not chosen.any():
        msg = f"no object meets --where '{where}', so there is nothing to learn from."
        raise DataError(msg)
    out = {i for i, keep in zip(data.ids, chosen, strict=True) if not keep}
    return {i: label for i, label in labels.items() if i not in out}
