"""Reading the components of a trained mixture: who belongs to which, how surely, and how well they are apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_samples

from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.density import Gaussians, check_components
from morphospace.space.generating.path import typical_members
from morphospace.space.kept import keep

__all__ = ["CUTS", "Components", "assign", "components"]

CUTS = (0.5, 0.8, 0.9, 0.95, 0.99)
_MOST_FOR_SILHOUETTES = 5000  # all pairs are compared


@dataclass(frozen=True, eq=False)
class Components:
    """The probability of each component for each object.

    Attributes
    ----------
    ids : tuple of str
    probabilities : array of float32, (N, k)
        Rows sum to 1; NaN where there is no vector. 0 for a component that is ignored, the others made to sum to 1.
    vectors : array of float32, (N, d)
        Latents, the means of the posteriors.
    mixture : Gaussians
    ignored : tuple of int
    """

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    vectors: NDArray[np.float32]
    mixture: Gaussians
    ignored: tuple[int, ...] = ()

    @property
    def k(self) -> int:
        """Number of components, those ignored too."""
        return self.mixture.k

    @property
    def labels(self) -> NDArray[np.int64]:
        """Most probable component of each object, (N,); -1 without a vector."""
        return self._ranked(0)

    @property
    def second(self) -> NDArray[np.int64]:
        """Next most probable component, (N,); -1 without a vector, or where only one is left."""
        return self._ranked(1)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of objects most probably in each component, (k,)."""
        labels = self.labels
        return np.bincount(labels[labels >= 0], minlength=self.k)

    def _ranked(self, rank: int) -> NDArray[np.int64]:
        left = self.k - len(self.ignored)
        if rank >= left:
            return np.full(len(self.ids), -1)
        p = np.nan_to_num(self.probabilities, nan=-1.0).astype(np.float64)
        p[:, list(self.ignored)] = -2.0
        order = np.argsort(-p, axis=1, kind="stable")[:, rank]
        return np.where(np.isfinite(self.probabilities).all(axis=1), order, -1)

    def ignoring(self, numbers: Sequence[int]) -> Components:
        """Leave out some components, so that their objects get their second-best label.

        Parameters
        ----------
        numbers : sequence of int
            From 0; those ignored before stay so.

        Raises
        ------
        ConfigError
            If one is not there, or none would be left.
        """
        out = check_components([*numbers, *self.ignored], self.k)
        left = np.setdiff1d(np.arange(self.k), out)
        if not len(left):
            msg = f"all {self.k} components are ignored; leave one at least."
            raise ConfigError(msg)
        p = self.probabilities.astype(np.float64)
        p[:, out] = 0.0
        total = p.sum(axis=1)
        rare = np.flatnonzero(total < 1e-6)  # of what float32 rounded to nothing only the density still knows
        if len(rare):
            p[rare] = self.mixture.only(left.tolist()).responsibilities(self.vectors[rare])
        fine = np.setdiff1d(np.arange(len(p)), rare)
        p[fine] /= total[fine, None]
        return Components(self.ids, p.astype(np.float32), self.vectors, self.mixture, tuple(out.tolist()))

    def counts(self, cuts: Sequence[float] = CUTS) -> NDArray[np.int64]:
        """Count the objects of each component that belong to it with at least given probabilities.

        Parameters
        ----------
        cuts : sequence of float, 0 to 1

        Returns
        -------
        array of int64, (k, len(cuts))

        Raises
        ------
        ConfigError
            If a cut is no probability.
        """
        wrong = [cut for cut in cuts if not 0 <= cut <= 1]
        if wrong:
            msg = f"a cut must be a probability from 0 to 1; got {wrong[0]}."
            raise ConfigError(msg)
        labels = self.labels
        best = np.nan_to_num(self.probabilities.max(axis=1, initial=0.0), nan=-1.0)
        found = [np.bincount(labels[(labels >= 0) & (best >= cut)], minlength=self.k) for cut in cuts]
        return np.stack(found, axis=1) if found else np.empty((self.k, 0), np.int64)

    def confusion(self) -> NDArray[np.float64]:
        """Give the mean probability of each component among the members of each, (k, k); NaN rows without members."""
        labels = self.labels
        rows = [
            self.probabilities[labels == c].mean(axis=0, dtype=np.float64) if n else np.full(self.k, np.nan)
            for c, n in enumerate(self.sizes)
        ]
        return np.stack(rows)

    def silhouettes(self, *, seed: int = 0) -> NDArray[np.float64]:
        """Compute the mean silhouette of the members of each component, (k,), -1 to 1; NaN for fewer than two members.

        Notes
        -----
        Rousseeuw 1987, in Euclidean distances of latents, through scikit-learn; over 5,000 random objects where there are more.
        """
        rows = np.flatnonzero(self.labels >= 0)
        if len(rows) > _MOST_FOR_SILHOUETTES:
            rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_FOR_SILHOUETTES, replace=False))
        labels = self.labels[rows]
        n_used = len(np.unique(labels))
        found = np.full(self.k, np.nan)
        if not 2 <= n_used < len(rows):
            return found
        values = silhouette_samples(self.vectors[rows].astype(np.float64), labels)
        for c in range(self.k):
            own = values[labels == c]
            found[c] = own.mean() if len(own) > 1 else np.nan
        return found

    def summary(self, cuts: Sequence[float] = CUTS) -> pa.Table:
        """Give a table of the components: number, weight, n, counts above cuts, silhouette, what it overlaps most, a member."""
        counts, overlaps = self.counts(cuts), self.mixture.overlaps()
        np.fill_diagonal(overlaps, -1.0)
        other = overlaps.argmax(axis=1)
        typical = typical_members(self.mixture, self.vectors) if self.k else np.empty(0, np.int64)
        return pa.table(
            {
                "component": np.arange(self.k),
                "ignored": np.isin(np.arange(self.k), self.ignored),
                "weight": self.mixture.weights,
                "n": self.sizes,
                **{f"n_{cut:g}": counts[:, i] for i, cut in enumerate(cuts)},
                "silhouette": self.silhouettes(),
                "overlaps": other if self.k > 1 else np.full(self.k, -1),
                "overlap": overlaps[np.arange(self.k), other] if self.k > 1 else np.zeros(self.k),
                "typical": pa.array([None if row < 0 else self.ids[row] for row in typical], pa.string()),
            }
        )

    def table(self) -> pa.Table:
        """Give a table of the objects: id, label, probability, second, second_probability, and p_0 to p_{k-1}."""
        p, labels, second = self.probabilities, self.labels, self.second
        at = np.arange(len(self.ids))
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "label": labels.astype(np.int32),
                "probability": np.where(labels >= 0, p[at, labels], np.nan).astype(np.float32),
                "second": second.astype(np.int32),
                "second_probability": np.where(second >= 0, p[at, second], np.nan).astype(np.float32),
                **{f"p_{c}": p[:, c] for c in range(self.k)},
            }
        )

    def keep(self, emb: Embeddings, name: str, *, overwrite: bool = False) -> Path:
        """Keep labels and probabilities beside the embeddings, for ``explore``.

        Raises
        ------
        DataError
            If these are of other objects, the embeddings are in memory only, or a result of that name is there and not to
            be replaced.
        """
        told = {"method": "mixture of the run", "k": self.k, "ignored": list(self.ignored), "sizes": self.sizes}
        table = self.table().select(["id", "label", *(f"p_{c}" for c in range(self.k))])
        return keep(emb, "clusters", name, table, told, overwrite=overwrite)


def components(
    run: Run | str | Path | Decoder, emb: Embeddings, *, density: Gaussians | None = None, ignore: Sequence[int] = ()
) -> Components:
    """Say for each object how probably it belongs to each component of a trained mixture.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a mixture (VaDE).
    emb : Embeddings
        Latents of that run, with the probabilities that it gave them (columns ``p_0``, ``p_1`` and so on).
    density : Gaussians, optional
        Mixture to use instead of the run's own; probabilities are then taken at the means of the posteriors.
    ignore : sequence of int
        Components that no object shall be in.

    Returns
    -------
    Components

    Raises
    ------
    ConfigError
        If the run has no mixture, or a component is not there.
    DataError
        If the embeddings are of another run.
    """
    decoder = opened(run)
    decoder.check_space(emb)
    mixture = density or decoder.mixture()
    _check_several(mixture, decoder)
    p = _recorded(emb, mixture.k) if density is None else None
    if p is None:
        p = _responsibilities(mixture, emb.vectors)
    found = Components(tuple(emb.ids), p, emb.vectors, mixture)
    return found.ignoring(ignore) if len(ignore) else found


def assign(run: Run | str | Path | Decoder, cutouts: Cutouts, *, ignore: Sequence[int] = ()) -> Components:
    """Say of new images how probably each belongs to each component; they need no embeddings.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a mixture (VaDE).
    cutouts : Cutouts
    ignore : sequence of int
        Components that no object shall be in.

    Returns
    -------
    Components
        With the probabilities that the method gives, which take the width of each posterior into account.

    Raises
    ------
    ConfigError
        If the run has no mixture, or a component is not there.
    DataError
        If there is no image.
    """
    decoder = opened(run)
    _check_several(decoder.mixture(), decoder)
    if not len(cutouts):
        msg = f"'{cutouts.path}' has no image to assign."
        raise DataError(msg)
    ids, means, found = [], [], []
    for piece, probability in _assigned(decoder, cutouts):
        ids += piece
        means.append(probability[0])
        found.append(probability[1])
    all_of = Components(tuple(ids), np.concatenate(found), np.concatenate(means), decoder.mixture())
    return all_of.ignoring(ignore) if len(ignore) else all_of


def _assigned(
    decoder: Decoder, cutouts: Cutouts
) -> Iterator[tuple[list[str], tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    for piece in decoder.encode(cutouts):
        probability = decoder.probabilities(piece).float().cpu().numpy()
        yield piece.ids, (piece.mean.cpu().numpy(), probability)


def _check_several(mixture: Gaussians, decoder: Decoder) -> None:
    if mixture.k < 2:
        msg = f"{decoder.name} has no mixture of several components ({type(decoder.method).__name__}); VaDE learns one."
        raise ConfigError(msg)


def _recorded(emb: Embeddings, k: int) -> NDArray[np.float32] | None:
    """Return the probabilities that the method gave when it embedded, which know how wide each posterior is."""
    names = [f"p_{c}" for c in range(k)]
    if not set(names) <= set(emb.schema.names):
        return None
    columns = [emb.table([name])[name].to_numpy(zero_copy_only=False) for name in names]
    return np.stack(columns, axis=1).astype(np.float32)


def _responsibilities(mixture: Gaussians, vectors: ArrayLike) -> NDArray[np.float32]:
    z = np.asarray(vectors, np.float32)
    out = np.full((len(z), mixture.k), np.nan, np.float32)
    valid = np.isfinite(z).all(axis=1)
    out[valid] = mixture.responsibilities(z[valid])
    return out
