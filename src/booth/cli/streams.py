"""stdout and stderr that outlast their readers: a closed terminal ends no work, and no letter fails a result."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from typing import Any, TextIO

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ESHUTDOWN)
UNWRITABLE = "booth.unwritable"  # how a letter is written that the stream's encoding lacks


class Lasting:
    """A text stream that goes silent when nobody can read it any more.

    Of stderr, whose lines stand beside the result, every failure is taken so: a full disk under a log ends no training.
    """

    def __init__(self, stream: TextIO, whatever_fails: bool) -> None:
        self._stream = stream
        self._whatever_fails = whatever_fails

    def write(self, text: str) -> int:
        """Write, as far as anybody can read it."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what is written."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        """Send everything from now on nowhere, what is still held back included; the interpreter flushes at its end."""
        if isinstance(error, OSError) and error.errno not in GONE and not self._whatever_fails:
            raise error
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            self._stream = open(os.devnull, "w")  # noqa: SIM115

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_lasting() -> None:
    """Put both streams of this process into this form."""
    codecs.register_error(UNWRITABLE, _replaced)
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=UNWRITABLE)
    if sys.stdout is not None:  # a process without a console has none
        sys.stdout = Lasting(sys.stdout, whatever_fails=False)  # type: ignore[assignment]
    if sys.stderr is not None:
        sys.stderr = Lasting(sys.stderr, whatever_fails=True)  # type: ignore[assignment]


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """The very bytes of a file name that is no text, so that a script finds the file; "?" for other letters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return b"".join(bytes([ord(c) - 0xDC00]) if 0xDC80 <= ord(c) <= 0xDCFF else b"?" for c in text), error.end
