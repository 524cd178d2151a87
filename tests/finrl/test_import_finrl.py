import subprocess
import sys
from importlib.util import find_spec

import pytest

from velora_sb3.finrl import import_finrl

PROGRAM = """
from velora_sb3.finrl import import_finrl
finrl = import_finrl()
assert import_finrl() is finrl
import finrl.config
from finrl.agents import answer
assert (finrl.config.INDICATORS, answer, finrl.__name__) == (["macd"], 42, "finrl")
from importlib.util import find_spec
assert find_spec("finrl") is finrl.__spec__
"""


def test_modules_are_importable_where_the_package_is_not(tmp_path):
    """A package like FinRL, whose top module asks for what is not installed."""
    (tmp_path / "finrl" / "agents").mkdir(parents=True)
    (tmp_path / "finrl" / "__init__.py").write_text("import a_broker_that_is_not_installed\n")
    (tmp_path / "finrl" / "config.py").write_text('INDICATORS = ["macd"]\n')
    (tmp_path / "finrl" / "agents" / "__init__.py").write_text("answer = 42\n")
    for name in ("stockstats", "yfinance"):
        (tmp_path / f"{name}.py").touch()
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(find_spec("finrl") is not None, reason="finrl is installed")
def test_the_extra_is_named_where_finrl_is_not_installed():
    with pytest.raises(ImportError, match="import_finrl needs finrl.*velora-sb3.finrl."):
        import_finrl()
