"""morphospace: the space of shapes of the sky."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names as in _PUBLIC, for type checkers and editors
    from morphospace.learn.encoders import encoder
    from morphospace.learn.methods import BYOL, Method, SimCLR, VICReg
    from morphospace.learn.views import Views, views
    from morphospace.runs import Run
    from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
    from morphospace.sky.detect import Detection
    from morphospace.sky.flags import Flag
    from morphospace.sky.stretch import Stretch

#: Public name: the module that holds it. Each is imported when it is first asked for, since torch takes seconds.
_PUBLIC = {
    "BYOL": "morphospace.learn.methods",
    "Cutout": "morphospace.sky.cutouts",
    "Cutouts": "morphospace.sky.cutouts",
    "CutoutsWriter": "morphospace.sky.cutouts",
    "Detection": "morphospace.sky.detect",
    "Flag": "morphospace.sky.flags",
    "Method": "morphospace.learn.methods",
    "Run": "morphospace.runs",
    "SimCLR": "morphospace.learn.methods",
    "Stretch": "morphospace.sky.stretch",
    "VICReg": "morphospace.learn.methods",
    "Views": "morphospace.learn.views",
    "encoder": "morphospace.learn.encoders",
    "views": "morphospace.learn.views",
}

__all__ = [
    "BYOL",
    "Cutout",
    "Cutouts",
    "CutoutsWriter",
    "Detection",
    "Flag",
    "Method",
    "Run",
    "SimCLR",
    "Stretch",
    "VICReg",
    "Views",
    "encoder",
    "views",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public thing
    if name not in _PUBLIC:
        msg = f"module 'morphospace' has no attribute '{name}'"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
