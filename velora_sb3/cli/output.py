"""Standard output that may go away: a closed pipe or a full disk must not end a training run."""

from __future__ import annotations

import os
from typing import Any, TextIO


class ForgivingStream:
    """A stream whose failing writes are dropped: after the first one nothing is written any more."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if the stream still takes it."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush if the stream still takes it."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            self._give_up()

    def isatty(self) -> bool:
        """Whether somebody sits in front of it."""
        return self._stream is not None and self._stream.isatty()

    def _give_up(self) -> None:
        stream, self._stream = self._stream, None
        assert stream is not None
        try:  # what is still buffered would fail again when the interpreter ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except OSError:  # no file behind it
            pass

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)
