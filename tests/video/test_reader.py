import numpy as np
import pytest

from velora_sb3.video.reader import read_video
from velora_sb3.video.writer import VideoWriter


def test_what_was_written_is_read(tmp_path):
    written = np.stack([np.full((32, 48, 3), grey, np.uint8) for grey in (0, 80, 160, 240)])
    with VideoWriter(tmp_path / "grey.mp4", fps=10) as writer:
        for frame in written:
            writer.write(frame)
    read = read_video(tmp_path / "grey.mp4")
    assert read.shape == written.shape
    assert np.abs(read.astype(int) - written).max() < 12


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(ValueError, match="is not a video"):
            read_video(tmp_path / name)
