"""MkDocs hook: the notebooks come along with the site, and links to them work there as in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "notebooks"


def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks, as they are."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the repository they stand beside ``docs``, on the site below it."""
    return markdown.replace("](../notebooks/", "](notebooks/")
