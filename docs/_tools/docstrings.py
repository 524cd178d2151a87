"""Griffe extension: converts the reStructuredText in Google-style docstrings to Markdown for MkDocs.

Converts roles (``:class:`name```, ``:math:`x```), double backticks, ``.. math::`` blocks and simple tables.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:mod|class|func|meth|attr):`~?([^`]+)`")
_MATH_ROLE = re.compile(r":math:`([^`]+)`")
_MATH_BLOCK = re.compile(r"^\.\. math::\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_TABLE = re.compile(r"^(=+(?: +=+)+)\n(.+\n)\1\n((?:.+\n)+?)\1$", re.MULTILINE)


def to_markdown(text: str) -> str:
    """Convert one docstring."""
    text = _TABLE.sub(_table, text)
    text = _MATH_BLOCK.sub(lambda block: f"\n$$\n{' '.join(block[1].split())}\n$$\n\n", text)
    text = _MATH_ROLE.sub(r"$\1$", text)
    text = _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', text)  # a link where a page exists
    return text.replace("``", "`")


def _table(match: re.Match[str]) -> str:
    columns = [column.span() for column in re.finditer("=+", match[1])]
    starts = [start for start, _ in columns]
    ends = [*starts[1:], None]
    rows: list[list[str]] = []
    for line in (match[2] + match[3]).splitlines():
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # an empty first column continues the previous row
            rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells, strict=True)]
    rows.insert(1, ["---"] * len(starts))
    rows = [[cell.replace("|", r"\vert ") for cell in row] for row in rows]  # a bar in a formula would end the cell
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


class MarkdownDocstrings(Extension):
    """Converts the docstring of every object."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Convert the object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
