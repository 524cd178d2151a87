"""MkDocs hook: pages load nothing from the network."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError

HOST = r'"?(?:https?:)?//[^">]*'
LOADED = re.compile(
    rf"<(?:script|img|iframe|video|source)\b[^>]*\bsrc={HOST}|<link\b(?![^>]*canonical)[^>]*\bhref={HOST}",
    re.IGNORECASE,
)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Raise for a script, a style, a font or an image of another host; links for readers are fine."""
    found = LOADED.search(output)
    if found is not None:
        raise PluginError(f"{page.file.src_uri} loads from the network: {found[0]}. Ship the file in docs/")
