"""Standard output that may disappear: a closed pipe or a full disk must not end a training run."""

from __future__ import annotations

import os
from typing import Any, TextIO


class ForgivingStream:
    """A stream that ignores failing writes: after the first one, nothing more is written."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless a write has failed."""
        try:
            if self._stream is not None:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:  # such as the ± of results where the locale knows ASCII only
                    encoding = self._stream.encoding
                    self._stream.write(text.encode(encoding, "replace").decode(encoding))
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush, unless a write has failed."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            self._give_up()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def _give_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:  # what is still buffered would fail again when the interpreter ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except OSError:  # no file behind it
            pass

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the stream."""
        return getattr(self._stream, name)
