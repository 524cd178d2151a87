"""Runs the notebooks in full and keeps their outputs: ``python docs/_tools/run_notebooks.py [NAME ...]``.

About a quarter of an hour for all of them on an idle core, with ``.[notebooks,comet]`` installed. Only what a reader
needs is kept: no times of execution, no temporary paths, and frames in place of an embedded video.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

from velora_sb3.video.reader import still_frames

FOLDER = Path(__file__).parents[2] / "notebooks"
VIDEO = re.compile(r'src="data:video/mp4;base64,([^"]+)"')
FRAMES, COLORS = 5, 64


def execute(notebook: Any) -> str:
    """Run a notebook in a temporary folder; the name of the folder."""
    with tempfile.TemporaryDirectory(prefix="velora-") as folder:
        os.environ["TMPDIR"] = folder  # where the notebooks make their folders
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=None, coalesce_streams=True, resources=resources).execute()
    return folder


def clean(notebook: Any, folder: str) -> None:
    """Leave what a reader needs."""
    notebook["metadata"]["language_info"] = {"name": "python"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["metadata"].pop("execution", None)
            cell["outputs"] = [_kept(output, folder) for output in cell["outputs"]]


def write(notebook: Any, path: Path) -> None:
    """Lines of text as lines of the file, keys in order: differences can be read."""
    plain = json.loads(nbformat.writes(nbformat.from_dict(notebook)))
    path.write_text(json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _kept(output: dict[str, Any], folder: str) -> dict[str, Any]:
    if output["output_type"] == "error" or output.get("name") == "stderr":
        raise SystemExit(f"an output that no reader should see: {output}")
    # Paths become relative to the notebook's working directory.
    output = json.loads(re.sub(rf"{re.escape(folder)}/(velora-\w+/)?", "", json.dumps(output)))
    data = output.get("data", {})
    video = VIDEO.search("".join(data.pop("text/html", ""))) if "Video object" in data.get("text/plain", "") else None
    if video is not None:
        data["image/png"] = _as_png(_frames(base64.b64decode(video[1])))
    elif "image/png" in data:
        data["image/png"] = _as_png(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))))
    if "metadata" in output:
        output["metadata"] = {}
    return output


def _frames(video: bytes) -> Image.Image:
    """Some frames of a video, side by side."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video)
        file.flush()
        strip = Image.fromarray(np.concatenate(still_frames(Path(file.name), FRAMES)[:FRAMES], axis=1))
    strip.thumbnail((900, 300))
    return strip


def _as_png(picture: Image.Image) -> str:
    """A small file, in base64."""
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(COLORS).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Run those that are named, or all."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            notebook = nbformat.read(path, as_version=4)
            clean(notebook, execute(notebook))
            write(notebook, path)
            print(path.name, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
