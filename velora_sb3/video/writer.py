"""Frames into a video file, one by one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from velora_sb3._atomic import replace

DEFAULT_FPS = 30.0


class VideoWriter:
    """An encoder for one ``.mp4`` file. A long video takes no more memory than a short one.

    The file has its name only once it is complete; on the way it is called ``<name>.partial.mp4``. At the end of a
    ``with`` block it is complete, or gone if the block raised. A writer that is dropped completes its file.

    Attributes:
        frames: Number of frames so far.
    """

    def __init__(self, path: Path, fps: float = DEFAULT_FPS) -> None:
        self.path, self.fps, self.frames = path, fps, 0
        self._partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self._encoder: Generator[None, np.ndarray | None, None] | None = None
        self._shape: tuple[int, ...] | None = None
        self._closed = False

    def write(self, rendered: object) -> None:
        """Append a frame. Whatever goes wrong here, no file is left."""
        if self._closed:
            raise ValueError(f"{self.path} is closed: write frames before close()")
        try:
            frame = picture(rendered)
            if self._encoder is None:
                self._encoder, self._shape = open_encoder(self._partial, frame, self.fps), frame.shape
            elif frame.shape != self._shape:
                raise ValueError(f"a frame of {frame.shape} in a video of {self._shape}: every frame must be as large")
            self._encoder.send(frame)
        except BaseException:
            self.discard()
            raise
        self.frames += 1

    def close(self) -> None:
        """Complete the file. Without a frame there is none; more than one call does no harm."""
        encoder, self._encoder, self._closed = self._encoder, None, True
        if encoder is None:
            return
        encoder.close()
        if not self._partial.exists() or self._partial.stat().st_size == 0:
            self._partial.unlink(missing_ok=True)
            raise OSError(f"the encoder has written nothing to {self._partial}")
        replace(self._partial, self.path)

    def discard(self) -> None:
        """Stop, and leave no file."""
        encoder, self._encoder, self._closed = self._encoder, None, True
        if encoder is not None:
            encoder.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Complete the file, or remove it after an error."""
        if error is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Complete the file."""
        with suppress(Exception):
            self.close()


def picture(rendered: object) -> np.ndarray:
    """Check a frame, and cut odd sides by a pixel: H.264 wants them even.

    Returns:
        The frame ``(height, width, 3)``, 8 bits, contiguous.
    """
    if not isinstance(rendered, np.ndarray) or rendered.ndim != 3 or rendered.shape[2] != 3:
        raise ValueError(f"render() gave {_told(rendered)}, not a picture (height, width, 3)")
    if not np.issubdtype(rendered.dtype, np.integer):
        raise ValueError(f"render() gave numbers of type {rendered.dtype}, not whole ones from 0 to 255")
    height, width = rendered.shape[:2]
    return np.ascontiguousarray(rendered[: height - height % 2, : width - width % 2], dtype=np.uint8)


def open_encoder(path: Path, frame: np.ndarray, fps: float) -> Generator[None, np.ndarray | None, None]:
    """Start an encoder for frames like the one given.

    Args:
        path: The file to write.
        frame: A frame ``(height, width, 3)``, for its size; both sides even.
        fps: Frames per second.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]

    height, width = frame.shape[:2]
    # imageio-ffmpeg's own choice would stretch frames to multiples of 16.
    encoder: Generator[None, np.ndarray | None, None] = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, macro_block_size=2, quality=8, ffmpeg_log_level="error"
    )
    encoder.send(None)
    return encoder


def _told(rendered: object) -> str:
    return f"an array {rendered.shape}" if isinstance(rendered, np.ndarray) else type(rendered).__name__
