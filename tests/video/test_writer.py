import gc

import numpy as np
import pytest

from velora_sb3.video.reader import read_video
from velora_sb3.video.writer import VideoWriter, as_frame


def frame(grey=0, size=(32, 48)):
    return np.full((*size, 3), grey, np.uint8)


def test_a_file_has_its_name_once_it_is_complete(tmp_path):
    writer = VideoWriter(tmp_path / "video.mp4", fps=10)
    for grey in (0, 80, 160):
        writer.write(frame(grey))
    assert not (tmp_path / "video.mp4").exists()
    writer.close()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    assert writer.frames == len(read_video(tmp_path / "video.mp4")) == 3


def test_an_older_file_is_replaced(tmp_path):
    for grey, count in ((0, 4), (200, 2)):
        with VideoWriter(tmp_path / "video.mp4") as writer:
            for _ in range(count):
                writer.write(frame(grey))
    frames = read_video(tmp_path / "video.mp4")
    assert (len(frames), round(frames.mean() / 10)) == (2, 20)


def test_a_block_that_raises_leaves_no_file(tmp_path):
    def write_and_fail():
        with VideoWriter(tmp_path / "video.mp4") as writer:
            writer.write(frame())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_no_frame_no_file(tmp_path):
    VideoWriter(tmp_path / "video.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_a_dropped_writer_completes_its_file(tmp_path):
    writer = VideoWriter(tmp_path / "video.mp4")
    writer.write(frame())
    del writer
    gc.collect()
    assert len(read_video(tmp_path / "video.mp4")) == 1


def test_frames_of_another_size_are_refused(tmp_path):
    writer = VideoWriter(tmp_path / "video.mp4")
    writer.write(frame())
    with pytest.raises(ValueError, match=r"the same shape \(32, 48, 3\), got \(16, 16, 3\)"):
        writer.write(frame(size=(16, 16)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="the writer is closed"):
        writer.write(frame())


def test_an_encoder_that_does_nothing_is_told(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\ncat > /dev/null\n")
    script.chmod(0o755)
    monkeypatch.setattr("imageio_ffmpeg._io.get_ffmpeg_exe", lambda: str(script))
    monkeypatch.setattr("imageio_ffmpeg._io.get_first_available_h264_encoder", lambda: "libx264")
    writer = VideoWriter(tmp_path / "video.mp4")
    writer.write(frame())
    with pytest.raises(OSError, match="wrote nothing"):
        writer.close()
    assert list(tmp_path.glob("*.mp4")) == []


def test_odd_sides_lose_a_pixel():
    assert as_frame(frame(size=(33, 47))).shape == (32, 46, 3)
    assert as_frame(np.asfortranarray(frame())).flags.c_contiguous
    assert as_frame(frame().astype(np.int64)).dtype == np.uint8


@pytest.mark.parametrize(
    ("rendered", "told"),
    [
        ("a line", "got str"),
        (None, "got NoneType"),
        (np.zeros((4, 4)), r"got an array \(4, 4\)"),
        (np.zeros((4, 4, 3)), "integers from 0 to 255, got float64"),
    ],
)
def test_what_is_no_picture_is_refused(rendered, told):
    with pytest.raises(ValueError, match=told):
        as_frame(rendered)
