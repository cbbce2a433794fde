"""Parts of ``cluster``: one file for each concern."""
