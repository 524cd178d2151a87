import base64
import json
import zipfile

import pytest
from sb3_contrib import RecurrentPPO

from tests.compat.algorithms import make_model
from velora_sb3 import RecurrentMaskablePPO


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [
        (RecurrentPPO, "velora_sb3.policies.recurrent LiquidRecurrentActorCriticPolicy"),
        (RecurrentMaskablePPO, "velora_sb3.policies.recurrent LiquidRecurrentMaskableActorCriticPolicy"),
    ],
)
def test_a_model_saved_by_0_1_says_what_to_do(algorithm, policy, tmp_path):
    make_model(algorithm).save(tmp_path / "new")
    pickled = "c{}\n{}\n.".format(*policy.split())
    with zipfile.ZipFile(tmp_path / "new.zip") as new, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "data":
                data = json.loads(content)
                data["policy_class"][":serialized:"] = base64.b64encode(pickled.encode()).decode()
                content = json.dumps(data).encode()
            old.writestr(name, content)
    with pytest.raises(ImportError, match=r"saved by velora-sb3 0\.1, .*: train the model again, or load it with"):
        algorithm.load(tmp_path / "old")
