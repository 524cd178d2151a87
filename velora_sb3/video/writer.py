"""A video file, written frame by frame."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from velora_sb3._atomic import replace

DEFAULT_FPS = 30.0


class VideoWriter:
    """Encodes one ``.mp4`` file, in constant memory.

    The file is called ``<name>.partial.mp4`` until it is complete. Leaving a ``with`` block completes it, or removes it
    if the block raised. A writer that is garbage-collected completes its file.

    Args:
        path: The file to write.
        fps: Frames per second.

    Attributes:
        path: The file, absolute.
        frames: Number of frames so far.
    """

    def __init__(self, path: Path, fps: float = DEFAULT_FPS) -> None:
        path = path.absolute()  # the program may change its directory
        self.path, self.fps, self.frames = path, fps, 0
        self._partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self._encoder: Generator[None, np.ndarray | None, None] | None = None
        self._shape: tuple[int, ...] | None = None
        self._closed = False

    def write(self, rendered: object) -> None:
        """Append a frame ``(height, width, 3)`` of 8 bits, in the first one's shape. An error removes the file."""
        if self._closed:
            raise ValueError(f"cannot write a frame to {self.path}: the writer is closed")
        try:
            frame = as_frame(rendered)
            if self._encoder is None:
                self._encoder, self._shape = open_encoder(self._partial, frame, self.fps), frame.shape
            elif frame.shape != self._shape:
                raise ValueError(f"all frames must have the same shape {self._shape}, got {frame.shape}")
            self._encoder.send(frame)
        except BaseException:
            self.discard()
            raise
        self.frames += 1

    def close(self) -> None:
        """Complete the file, if there is a frame. Closing twice is fine."""
        encoder, self._encoder, self._closed = self._encoder, None, True
        if encoder is None:
            return
        encoder.close()
        if not self._partial.exists() or self._partial.stat().st_size == 0:
            self._partial.unlink(missing_ok=True)
            raise OSError(f"the encoder wrote nothing to {self._partial}")
        replace(self._partial, self.path)

    def discard(self) -> None:
        """Stop and remove the file."""
        encoder, self._encoder, self._closed = self._encoder, None, True
        if encoder is not None:
            encoder.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        """Return the writer."""
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


def as_frame(rendered: object) -> np.ndarray:
    """Check what ``render()`` returned, and crop odd sides by a pixel, as H.264 needs even ones.

    Returns:
        The frame ``(height, width, 3)``, 8 bits, contiguous.
    """
    if not isinstance(rendered, np.ndarray) or rendered.ndim != 3 or rendered.shape[2] != 3:
        raise ValueError(f"render() must return an RGB array (height, width, 3), got {_kind(rendered)}")
    if not np.issubdtype(rendered.dtype, np.integer):
        raise ValueError(f"render() must return integers from 0 to 255, got {rendered.dtype}")
    height, width = rendered.shape[:2]
    return np.ascontiguousarray(rendered[: height - height % 2, : width - width % 2], dtype=np.uint8)


def open_encoder(path: Path, frame: np.ndarray, fps: float) -> Generator[None, np.ndarray | None, None]:
    """Start an encoder for frames of the shape ``(height, width, 3)`` of the one given, with even sides."""
    import imageio_ffmpeg  # type: ignore[import-untyped]

    height, width = frame.shape[:2]
    # imageio-ffmpeg's default would stretch frames to multiples of 16.
    encoder: Generator[None, np.ndarray | None, None] = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, macro_block_size=2, quality=8, ffmpeg_log_level="error"
    )
    encoder.send(None)
    return encoder


def _kind(rendered: object) -> str:
    return f"an array {rendered.shape}" if isinstance(rendered, np.ndarray) else type(rendered).__name__
