"""MkDocs hook: turns each notebook, with its outputs, into a page, and adjusts the links to notebooks."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[2] / "notebooks"
DATA_FRAME = re.compile(r"<table.*</table>", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook, its pictures, and the notebook itself."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        page, pictures = as_page(json.loads(path.read_text(encoding="utf-8")), path.stem)
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the repository, links lead to the notebooks next to ``docs``; on the site, to their pages."""
    return re.sub(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", r"](notebooks/\1.md)", markdown)


def as_page(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by file name."""
    parts, pictures = [], {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_linked(source))
            continue
        parts.append(_fenced("python", source.removesuffix(";")))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(data["image/png"])
                parts.append(f"![Output of the cell above]({picture})")
            elif found := DATA_FRAME.search("".join(data.get("text/html", ""))):
                # The site's own style is for tables without a class.
                parts.append(re.sub(r"<(table|tr)\b[^>]*>", r"<\1>", found[0]))
            else:
                text = data.get("text/plain", output.get("text", ""))
                parts.append(_fenced('{ .text .no-copy title="Output" }', "".join(text)))
    parts.insert(1, f"Download [{name}.ipynb]({name}.ipynb) to run and change it.")
    return "\n\n".join(parts), pictures


def _fenced(kind: str, text: str) -> str:
    return f"````{kind}\n{text.rstrip()}\n````"


def _linked(text: str) -> str:
    """Names of pages and notebooks as links."""
    text = re.sub(r"`docs/([\w-]+\.md)`", r"[docs/\1](../\1)", text)
    text = text.replace("`docs/callbacks/`", "[docs/callbacks/](../callbacks/index.md)")
    return re.sub(r"`(\w+)\.ipynb`", r"[\1.ipynb](\1.md)", text)
