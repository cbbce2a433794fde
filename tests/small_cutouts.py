"""Small stores of cutouts that tests write, in their own process and in ones that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from morphospace._parts import PartWriter
from morphospace.sky.cutouts import Cutout, CutoutsWriter


class SmallParts(PartWriter):
    """Writes a store of few rows in many parts and row groups."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, part_bytes=200_000, group_bytes=40_000)


def small_parts(path: Path, columns: dict[str, Any], **options: Any) -> CutoutsWriter:
    with mock.patch("morphospace.sky.cutouts.PartWriter", SmallParts):
        return CutoutsWriter(path, columns=columns, **options)


def cutout(i: int, side: int = 8, **known: Any) -> Cutout:
    image = np.random.default_rng(i).normal(size=(1, side, side)).astype("f4")
    return Cutout(f"obj-{i:04d}", image, source=f"f{i // 3}.fits", **known)
