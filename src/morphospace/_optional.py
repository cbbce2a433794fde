"""Optional packages: imported in one place, named with the line that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from morphospace.errors import MissingDependencyError

__all__ = ["optional_import"]


def optional_import(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a package of an extra, or say how to install it.

    Parameters
    ----------
    module : str
        Name to import, e.g. ``"torch.utils.tensorboard"``.
    extra : str
        Extra of morphospace that brings it.
    purpose : str
        What needs it, in the words of the user, e.g. ``"the TensorBoard history"``.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If it is not installed, or is installed and breaks at import: torchvision without its operators raises
        RuntimeError, so that is caught beside ImportError.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        msg = (
            f"{purpose} needs '{module.split('.')[0]}', which cannot be imported here ({error}); "
            f"install it with: pip install 'morphospace[{extra}]'"
        )
        raise MissingDependencyError(msg) from error
