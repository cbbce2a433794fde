"""Reading a file as the intake asks: cubes made images, the planes beside an image taken in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from morphospace.errors import DataError
from morphospace.sky.cubes import CubeReading
from morphospace.sky.images import Image, read_image
from morphospace.sky.planes import plane_file, with_planes

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["FileReader", "cube_reading", "file_reader"]


@dataclass(frozen=True)
class FileReader:
    """A reader of image files that can be pickled.

    Parameters
    ----------
    cube : CubeReading, optional
        What becomes of a cube; without it one is refused.
    mask, variance, weight : str
        Planes, as for `with_planes`.
    """

    cube: CubeReading | None = None
    mask: str = ""
    variance: str = ""
    weight: str = ""

    def __call__(self, path: str | Path, *, hdu: str | int | None) -> Image:
        """Read one image.

        Raises
        ------
        DataError
            If the file gives none, or one of its planes is missing or does not fit it.
        """
        image = read_image(path, hdu=hdu, cube=self.cube)
        if not (self.mask or self.variance or self.weight):
            return image
        return with_planes(image, hdu=hdu, mask=self.mask, variance=self.variance, weight=self.weight)

    def without_planes(self, files: Iterable[Path]) -> list[Path]:
        """Leave out the files that are planes of others among them: they are no images of their own."""
        listed = list(files)
        planes = {os.path.abspath(name) for file in listed for name in self._planes_of(file)}
        kept = [file for file in listed if os.path.abspath(file) not in planes]
        return kept or listed

    def _planes_of(self, file: Path) -> Iterable[str]:
        for plane in (self.mask, self.variance, self.weight):
            try:
                name = plane_file(str(file), plane) if plane else None
            except DataError:  # a name that the pattern does not fit: reading it says so
                name = None
            if name is not None:
                yield name


def cube_reading(intake: Intake) -> CubeReading | None:
    """Take what an intake says of cubes; None refuses them."""
    if not intake.cube:
        return None
    return CubeReading(intake.cube, sigma=intake.cube_sigma, components=intake.cube_components)  # type: ignore[arg-type]


def file_reader(intake: Intake) -> FileReader:
    """Make the reader that an intake asks for."""
    return FileReader(cube_reading(intake), intake.mask, intake.variance, intake.weight)
