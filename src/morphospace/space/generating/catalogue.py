"""A whole synthetic catalogue on disk: a store of cutouts that any other verb reads."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from morphospace._manifest import replacing
from morphospace.errors import ConfigError, StoreError
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.density import Gaussians
from morphospace.space.generating.native import Donor, Survey, unit_of, unstretched, with_units
from morphospace.space.generating.sample import Drawn, check_count, draw

__all__ = ["RECIPE", "generate"]

RECIPE = "_generated.json"


class _Recipe(NamedTuple):
    """What decides each row of a catalogue, but how many there are."""

    decoder: Decoder
    density: Gaussians
    survey: Survey | None
    noise: bool
    seed: int

    def told(self) -> dict[str, Any]:
        d = self.density
        return {
            "run": "" if self.decoder.run is None else str(self.decoder.run.path),
            "space_id": self.decoder.space_id,
            "numbers": str(self.decoder.dtype).removeprefix("torch."),
            "components": np.flatnonzero(d.weights).tolist(),
            "density": hashlib.sha256(b"".join(a.tobytes() for a in (d.weights, d.means, d.sigmas))).hexdigest()[:16],
            "survey": None if self.survey is None else self.survey.cutouts.fingerprint,
            "noise": self.noise,
            "seed": self.seed,
        }


def generate(
    run: Run | str | Path | Decoder,
    out: str | Path,
    *,
    n: int = 1000,
    components: Sequence[int] | None = None,
    density: Gaussians | None = None,
    survey: Cutouts | None = None,
    noise: bool = False,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> Cutouts:
    """Write a synthetic catalogue: images drawn from the density that a run has learned.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder and a density (VAE, VaDE).
    out : path
        Folder of cutouts to write, by custom ``NAME.cutouts``.
    n : int, >= 1
        Number of images; written as they come, so that 10^6 fit.
    components : sequence of int
        Draw from these components alone, their weights made to sum to 1; all if none is given.
    density : Gaussians, optional
        To draw from instead of the run's own.
    survey : Cutouts, optional
        Real images, as a rule those of the training. Each synthetic one then takes units, brightness and background of one
        drawn at random, whose id is in column ``donor``.
    noise : bool
        Add white noise as strong as that of the donor. Without a survey only where the run works in units of sigma.
    seed : int, >= 0
        Same seed, same catalogue; a larger n adds rows and changes none.
    resume : bool
        Go on with an interrupted catalogue, or make one longer.
    overwrite : bool
        Replace a catalogue that is there.

    Returns
    -------
    Cutouts
        Images float32, the stretch undone where it can be (``unit`` says in what they are), the latents in columns
        ``z_0``, ``z_1`` and so on, and ``component`` where the density has several.

    Raises
    ------
    ConfigError
        If the run has no decoder or no density, a component is not there, or there is no noise to add.
    StoreError
        If `out` is there and neither `resume` nor `overwrite` is set, or holds a catalogue made otherwise.

    Notes
    -----
    The brightness of a donor has nothing to do with the shape drawn; where the run divides by the brightest pixel, fluxes of
    the catalogue are those of the survey as a whole, not object by object.
    """
    check_count(n, seed)
    decoder = opened(run)
    chosen = (density or decoder.mixture()).only(components)
    source = None if survey is None else Survey(survey, decoder.preparation)
    recipe = _Recipe(decoder, chosen, source, noise, seed)
    _check_noise(recipe)
    folder = Path(out)
    with CutoutsWriter(folder, columns=_columns(recipe), resume=resume, overwrite=overwrite) as writer:
        done = len(writer.done)
        _remember(folder / RECIPE, recipe.told(), done)
        bar = tqdm(total=max(n, done), initial=done, unit="image", desc="generate", disable=not sys.stderr.isatty())
        with bar:
            for drawn in draw(decoder, max(0, n - done), density=chosen, seed=seed, start=done):
                for cutout in _cutouts(recipe, drawn, done):
                    writer.append(cutout)
                done += len(drawn.latents)
                bar.update(len(drawn.latents))
    return Cutouts.open(folder)


def _columns(recipe: _Recipe) -> dict[str, pa.DataType]:
    columns: dict[str, pa.DataType] = {f"z_{i}": pa.float32() for i in range(recipe.density.dim)}
    columns |= {"component": pa.int32()} if recipe.density.k > 1 else {}
    return columns | ({"donor": pa.string()} if recipe.survey is not None else {})


def _cutouts(recipe: _Recipe, drawn: Drawn, first: int) -> list[Cutout]:
    preparation = recipe.decoder.preparation
    images = unstretched(drawn.images.float().cpu().numpy(), preparation)
    n = len(images)
    donors = None if recipe.survey is None else recipe.survey.donors(n, seed=recipe.seed, start=first)
    made = []
    for i, (image, z, component) in enumerate(zip(images, drawn.latents, drawn.components, strict=True)):
        columns: dict[str, Any] = {f"z_{j}": value for j, value in enumerate(z)}
        if recipe.density.k > 1:
            columns["component"] = component
        noise = _noise(image.shape, recipe.seed, first + i) if recipe.noise else None
        name = f"synthetic-{first + i:09d}"
        if donors is not None:
            made.append(_of_donor(recipe, name, with_units(image, donors[i], noise), donors[i], columns))
        else:
            image = image if noise is None else image + noise
            made.append(_plain(recipe, name, image.astype(np.float32), columns))
    return made


def _noise(shape: tuple[int, ...], seed: int, row: int) -> NDArray[np.float32]:
    """Draw standard normal numbers that belong to a row, whatever was drawn before it."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, row)))
    return rng.standard_normal(shape, dtype=np.float32)


def _plain(recipe: _Recipe, name: str, image: NDArray[np.float32], columns: Mapping[str, Any]) -> Cutout:
    p = recipe.decoder.preparation
    bands = len(image)
    sigma = (1.0,) * bands if recipe.noise else (0.0,) * bands
    return Cutout(
        name,
        image,
        level=(0.0,) * bands,
        sigma=sigma,
        unit=unit_of(p),
        pixel_scale_arcsec=p.scale_value or np.nan if p.scale == "sky" else np.nan,
        object=name,
        source=_source(recipe),
        columns=columns,
    )


def _of_donor(
    recipe: _Recipe, name: str, image: NDArray[np.float32], donor: Donor, columns: Mapping[str, Any]
) -> Cutout:
    p, real = recipe.decoder.preparation, donor.cutout
    scale = {"pixel": real.pixel_scale_arcsec, "sky": p.scale_value or np.nan}.get(p.scale, np.nan)
    return Cutout(
        name,
        image,
        level=tuple(donor.level.tolist()),
        sigma=tuple(donor.sigma.tolist()) if recipe.noise else (0.0,) * len(image),
        unit=real.unit,
        bands=real.bands,
        wavelength_nm=real.wavelength_nm,
        pixel_scale_arcsec=scale,
        object=name,
        source=_source(recipe),
        hdu=real.hdu,
        columns={**columns, "donor": real.id},
    )


def _source(recipe: _Recipe) -> str:
    run = "a method" if recipe.decoder.run is None else recipe.decoder.run.path.name
    return f"{run}, seed {recipe.seed}"


def _check_noise(recipe: _Recipe) -> None:
    p = recipe.decoder.preparation
    if not p.stretch.invertible and (recipe.noise or recipe.survey is not None):
        msg = (
            f"the stretch '{p.stretch.kind}' of {recipe.decoder.name} cannot be undone, so its images take neither noise nor "
            "the units of a survey; generate without noise and survey."
        )
        raise ConfigError(msg)
    if recipe.noise and recipe.survey is None and p.units != "noise":
        msg = (
            f"{recipe.decoder.name} works in units '{p.units}', in which noise has no known strength; give survey=, the "
            "cutouts whose noise shall be added."
        )
        raise ConfigError(msg)


def _remember(path: Path, told: dict[str, Any], done: int) -> None:
    """Write the recipe beside a new catalogue, and compare it with that of one to go on with.

    Raises
    ------
    StoreError
        If they differ.
    """
    if done:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"'{path.parent}' is no catalogue that generate() wrote ({error}); choose another out=."
            raise StoreError(msg) from None
        for key in told:
            if key != "run" and before.get(key) != told[key]:
                msg = f"'{path.parent}' was made with {key} = {before.get(key)}, this call has {told[key]}; give another out=."
                raise StoreError(msg)
        return
    with replacing(path) as beside:
        beside.write_text(json.dumps(told, indent=1), encoding="utf-8")
