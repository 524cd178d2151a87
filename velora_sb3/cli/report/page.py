"""The pieces of a report's HTML page. Whatever text goes in is escaped here."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# Nothing is fetched and nothing runs, whatever got into the page.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


@dataclass
class Page:
    """A report, piece by piece.

    Attributes:
        title: The heading.
        subtitle: The line below it.
        facts: Name, value and small print of the numbers at the top.
        missing: What the run directory lacks or what could not be shown, as the page says it.
    """

    title: str
    subtitle: str = ""
    facts: list[tuple[str, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)
    _pictures: int = 0

    def section(self, title: str) -> None:
        """Start a section."""
        self._pieces.append(f"<h2>{escape(title)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._pieces.append(f"<p>{escape(text)}</p>")

    def lacks(self, text: str) -> None:
        """Add a paragraph about something missing."""
        self.missing.append(text)
        self._pieces.append(f'<p class="missing">{escape(text)}</p>')

    def table(self, rows: Iterable[Sequence[str]], head: Sequence[str] = (), numbers: bool = False) -> None:
        """Add a table; the first column of one without a head is a heading itself."""
        first = "td" if head else "th"
        lines = [_row(row, first) for row in rows]
        header = f"<thead>{_row(head, 'th', 'th')}</thead>" if head else ""
        kind = ' class="number"' if numbers else ""
        self._pieces.append(f'<div class="scroll"><table{kind}>{header}<tbody>{"".join(lines)}</tbody></table></div>')

    def plot(self, figure: Figure, description: str) -> None:
        """Add a matplotlib figure as vector graphics whose black follows the page's colour scheme."""
        self._pictures += 1
        picture = _svg(figure, f"plot{self._pictures}", description)
        caption = f"<figcaption>{escape(description)}</figcaption>"
        self._pieces.append(f'<figure class="plot"><div class="scroll">{picture}</div>{caption}</figure>')

    def stills(self, frames: Sequence[np.ndarray], description: str) -> None:
        """Add pictures side by side.

        Args:
            frames: ``(height, width, 3)`` each.
            description: The caption.
        """
        from matplotlib.image import imsave

        images = []
        for number, frame in enumerate(frames, start=1):
            buffer = io.BytesIO()
            imsave(buffer, frame, format="png")
            images.append(f'<img alt="frame {number}" src="{_data("image/png", buffer.getvalue())}">')
        caption = f"<figcaption>{escape(description)}</figcaption>"
        self._pieces.append(f'<figure><div class="stills">{"".join(images)}</div>{caption}</figure>')

    def video(self, content: bytes, description: str) -> None:
        """Add a video."""
        tag = f'<video controls muted loop playsinline preload="auto" src="{_data("video/mp4", content)}"></video>'
        self._pieces.append(f"<figure>{tag}<figcaption>{escape(description)}</figcaption></figure>")

    def html(self, footer: str) -> str:
        """The whole page."""
        css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
        facts = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
            for name, value, note in self.facts
        )
        return "\n".join(
            [
                '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>",
                f'<header><h1>{escape(self.title)}</h1><p class="sub">{escape(self.subtitle)}</p></header>',
                f'<dl class="facts">{facts}</dl>' if facts else "",
                *self._pieces,
                f"<footer>{escape(footer)}</footer>\n</body>\n</html>\n",
            ]
        )


def _row(cells: Sequence[str], first: str, others: str = "td") -> str:
    tags = [first, *[others] * (len(cells) - 1)]
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for tag, cell in zip(tags, cells, strict=True)) + "</tr>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _svg(figure: Figure, prefix: str, description: str) -> str:
    """A figure as inline SVG, with identifiers of its own."""
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
    label = escape(description)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"|<svg ', lambda found: _opened(found, label), text, count=1)


def _opened(found: re.Match[str], label: str) -> str:
    return f'<svg role="img" aria-label="{label}" {found[1] or ""}'
