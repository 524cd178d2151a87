r"""MkDocs hook: converts formulas to MathML, so that the site works offline and without JavaScript.

Arithmatex leaves ``\(...\)`` and ``\[...\]`` in elements of class ``arithmatex``; browsers render MathML themselves.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_page_content(page_html: str, **_: Any) -> str:
    """Convert every formula on a page."""
    return _FORMULA.sub(_to_mathml, page_html)


def _to_mathml(match: re.Match[str]) -> str:
    element, tex = match.groups()
    return convert(html.unescape(tex).strip(), display="block" if element == "div" else "inline")
