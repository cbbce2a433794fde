"""The rarer settings of a curation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from morphospace.errors import ConfigError

__all__ = ["Intake"]


@dataclass(frozen=True)
class Intake:
    """The rarer settings of a curation: cubes, bands in several files, planes, tables, grouping, processes.

    Parameters
    ----------
    cube : str
        What becomes of a cube: ``"channels"``, ``"moment0"``, ``"moment1"``, ``"moment2"``, ``"moments"`` (these
        three), ``"peak"`` or ``"pca"``; empty refuses cubes of more than 5 planes and takes fewer as bands.
    cube_sigma : float, >= 0
        Moments count the voxels above this many sigma; 0 counts all.
    cube_components : int, >= 1
        Number of principal channels.
    bands : tuple of str
        Names of the bands of one object, as they stand in file names, or one pattern, ``"hdu:SCI_{band}"``, and the
        names; empty takes each file as one image.
    mask : str
        Plane that marks bad pixels: an HDU, a pattern of its file such as ``"{stem}_mask.fits"``, or a replacement in
        the name of the image, ``"_sci:_mask"``.
    variance : str
        Likewise of the variance of each pixel.
    weight : str
        Likewise of the inverse variance.
    image_column : str
        Column with the images of a Parquet file, or data set of an HDF5 file; found by itself where there is one.
    path_column : str
        Column of a table with the path of an image in each row.
    id_column : str
        Column with the ids; otherwise rows are numbered.
    ra_column, dec_column : str
        Columns of a table with the positions to cut out of `mosaics`, ICRS: numbers in the column's unit, else in degrees, or
        text as 12:30:05.1 (hours) and -5:23:28.
    mosaics : str
        Folder, pattern or list of the images that positions are cut out of.
    companions : {"keep", "blank"}
        Whether the neighbours of a source are left as they are or filled with the background.
    group_radius_arcsec : float, >= 0
        Images from different files whose centres lie within this distance show one object.
    processes : int, >= 0
        Number of processes that read; 0 takes one for each core, up to 16. Few images are read in this process.

    Raises
    ------
    ConfigError
        If a value is out of its range.
    """

    cube: str = ""
    cube_sigma: float = 3.0
    cube_components: int = 3
    bands: tuple[str, ...] = ()
    mask: str = ""
    variance: str = ""
    weight: str = ""
    image_column: str = ""
    path_column: str = ""
    id_column: str = ""
    ra_column: str = ""
    dec_column: str = ""
    mosaics: str = ""
    companions: Literal["keep", "blank"] = "keep"
    group_radius_arcsec: float = 1.0
    processes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", tuple(self.bands))  # a config gives a list
        ranges = {
            "cube_sigma": (self.cube_sigma >= 0, "0 or more"),
            "cube_components": (self.cube_components >= 1, "1 or more"),
            "companions": (self.companions in ("keep", "blank"), "'keep' or 'blank'"),
            "group_radius_arcsec": (self.group_radius_arcsec >= 0, "0 or more"),
            "processes": (self.processes >= 0, "0 or more"),
        }
        for name, (good, wanted) in ranges.items():
            if not good:
                msg = f"intake: '{name}' must be {wanted}; got {getattr(self, name)!r}."
                raise ConfigError(msg)
