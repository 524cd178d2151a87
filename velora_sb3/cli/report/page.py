"""The HTML page of a report: pieces that are added one by one, rendered by ``report.html.jinja``."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


@dataclass
class Page:
    """A report, piece by piece. The template escapes all text.

    Attributes:
        title: The heading.
        subtitle: The line below it.
        facts: Name, value and small print of the numbers at the top.
        missing: What the run directory lacks or what cannot be shown, in the words of the page.
        pieces: The variables of each piece for the template.
    """

    title: str
    subtitle: str = ""
    facts: list[tuple[str, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def section(self, title: str) -> None:
        """Start a section."""
        self._add("section", title)

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._add("text", text)

    def lacks(self, text: str) -> None:
        """Add a paragraph about something missing."""
        self.missing.append(text)
        self._add("missing", text)

    def table(self, rows: Iterable[Sequence[str]], head: Sequence[str] = (), numbers: bool = False) -> None:
        """Add a table. Without a head, its first column is the heading."""
        self._add("table", rows=list(rows), head=head, numbers=numbers)

    def plot(self, figure: Figure, description: str) -> None:
        """Add a matplotlib figure as vector graphics whose black follows the page's colour scheme."""
        number = 1 + sum(piece["kind"] == "plot" for piece in self.pieces)
        self._add("plot", description, svg=_svg(figure, f"plot{number}", description))

    def stills(self, frames: Sequence[np.ndarray], description: str) -> None:
        """Add images side by side.

        Args:
            frames: ``(height, width, 3)`` each.
            description: The caption.
        """
        from matplotlib.image import imsave

        images = []
        for frame in frames:
            buffer = io.BytesIO()
            imsave(buffer, frame, format="png")
            images.append(_data_url("image/png", buffer.getvalue()))
        self._add("stills", description, images=images)

    def video(self, content: bytes, description: str) -> None:
        """Add a video."""
        self._add("video", description, source=_data_url("video/mp4", content))

    def html(self, footer: str) -> str:
        """The whole page."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        return environment.get_template("report.html.jinja").render(page=self, footer=footer)

    def _add(self, kind: str, text: str = "", **variables: Any) -> None:
        self.pieces.append({"kind": kind, "text": text, **variables})


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _svg(figure: Figure, prefix: str, description: str) -> str:
    """A figure as inline SVG, whose identifiers start with a prefix."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id|clip-path|xlink:href|href)="(url\()?(#?)(?!data:)', rf'\1="\2\3{prefix}-', text)
    text = re.sub(r"url\(#(?!plot)", f"url(#{prefix}-", text)
    text = text.replace("#000000", "currentColor")
    opening = f'<svg role="img" aria-label="{escape(description)}" '
    return re.sub(r'<svg ([^>]*?)width="[^"]*"|<svg ', lambda found: opening + (found[1] or ""), text, count=1)
