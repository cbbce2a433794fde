"""Sphinx settings: the pages are MyST-Markdown, the reference is written by make_cli.py and make_api.py."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "morphospace"
author = "The morphospace authors"
release = version = installed("morphospace")
extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "The space of shapes of the sky", "fixed_sidebar": True}
