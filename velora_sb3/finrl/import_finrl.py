"""FinRL without its brokers."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType

from velora_sb3._optional import require


def import_finrl() -> ModuleType:
    """Make FinRL's modules importable without the broker packages that ``import finrl`` asks for.

    FinRL's top module runs scripts that import Alpaca, WRDS and others, which the extra ``finrl`` does not install.
    This registers the package without running that module. After it, ``from finrl.agents.stablebaselines3.models import
    DRLAgent`` and FinRL's environments, preprocessors and configuration work; ``finrl.train``, ``test`` and ``trade``
    still need the broker packages. If FinRL has been imported already, that import stays.

    Returns:
        The package ``finrl``.

    Raises:
        ImportError: If FinRL, stockstats or yfinance is not installed.
    """
    if "finrl" not in sys.modules:
        require("finrl", "import_finrl")
        spec = find_spec("finrl")
        assert spec is not None  # require has found it
        sys.modules["finrl"] = module_from_spec(spec)  # its __init__.py is not executed
    return sys.modules["finrl"]
