import json

import pytest

from velora_sb3.callbacks.whole_files import write_json


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"größe": [1, None, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": [1, None, 2.5]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": [1, None, 2.5]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
