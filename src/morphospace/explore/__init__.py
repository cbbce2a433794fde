"""The door to look through: a page in the browser, its server, and the same map in a notebook.

The room has the name of its verb: once anything of it has been imported, ``morphospace.explore`` is this module, so it
can be called as the verb.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Door(ModuleType):
    """A module that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - those of the verb
        return importlib.import_module(f"{__name__}.explore").explore(*args, **options)


sys.modules[__name__].__class__ = _Door
