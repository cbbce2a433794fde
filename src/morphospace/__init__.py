"""morphospace: the space of shapes of the sky."""

from __future__ import annotations

__version__ = "0.1.0"
