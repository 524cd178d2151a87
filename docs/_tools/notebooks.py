"""MkDocs hook: adds the notebooks to the site and adjusts the links to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "notebooks"


def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks unchanged."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the repository, notebooks are next to ``docs``; on the site, they are below it."""
    return markdown.replace("](../notebooks/", "](notebooks/")
