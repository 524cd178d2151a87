import numpy as np
import pytest

from velora_sb3.plotting.episode_video import open_encoder
from velora_sb3.plotting.read_video import read_video


def test_what_was_written_is_read(tmp_path):
    written = np.stack([np.full((32, 48, 3), grey, np.uint8) for grey in (0, 80, 160, 240)])
    encoder = open_encoder(tmp_path / "grey.mp4", written[0], fps=10)
    for frame in written:
        encoder.send(frame)
    encoder.close()
    read = read_video(tmp_path / "grey.mp4")
    assert read.shape == written.shape
    assert np.abs(read.astype(int) - written).max() < 12


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(ValueError, match="holds no video"):
            read_video(tmp_path / name)
