import base64
import io

import numpy as np
import pytest
from PIL import Image
from stable_baselines3 import PPO

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import LiveMonitor
from velora_sb3.callbacks.plots.live_monitor import in_notebook

CELLS = [
    """
from stable_baselines3 import PPO
from velora_sb3.callbacks import LiveMonitor

model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, device="cpu", seed=0)
monitor = LiveMonitor(100)
""",
    """
print("before")
model.learn(256, callback=monitor)
print(monitor.refreshed)
""",
]


@pytest.mark.filterwarnings("ignore")  # of the notebook's machinery
def test_a_notebook_has_one_picture_that_was_refreshed():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    updates = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            if message["msg_type"] in ("display_data", "update_display_data"):
                updates.append((message["msg_type"], message["content"]["data"]["image/png"]))
            return super().process_message(message, cell, cell_index)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    Client(notebook, timeout=300, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    (picture,) = (output for output in outputs if output.output_type == "display_data")
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert text == "before\n3\n"  # at 100, at 200, at the end; what was printed stays
    assert [kind for kind, _ in updates] == ["display_data", "update_display_data", "update_display_data"]
    assert picture.data["image/png"] == updates[-1][1]
    first, last = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for _, data in (updates[0], updates[-1])
    )
    assert first.shape == last.shape
    assert (first != last).any()


def test_elsewhere_it_says_once_that_there_is_nothing_to_refresh(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    monitor, model = LiveMonitor(8), make_model(PPO, make_env(tmp_path / "records"))
    model.learn(16, callback=monitor)
    model.learn(16, callback=monitor)
    assert capsys.readouterr().out == (
        "LiveMonitor: not in a notebook, so nothing will be shown; use PerformancePlots to write plots to files\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["records"]
    assert (monitor.refreshed, in_notebook()) == (0, False)


@pytest.mark.parametrize("arguments", [{"every_n_timesteps": 0}, {"window": 0}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
        LiveMonitor(**arguments)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'LiveMonitor needs matplotlib: pip install "velora-sb3\[plot\]"'):
        LiveMonitor()
