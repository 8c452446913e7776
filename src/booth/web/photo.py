"""One photo of a set: its file, its mask and its caption."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from booth.core.errors import BadDataError, UsageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MASK = "-masklabel"
MAX_CAPTION = 2000
CAPTION = ".txt"


class ChangedMeanwhile(UsageError):
    """A caption is another one on the disk than it was when it was read."""

    def __init__(self, text: str, version: str) -> None:
        told = "This caption was changed on the disk meanwhile."
        super().__init__(told, "Look at it, then save again.", code="caption.changed", field="text")
        self.text, self.version = text, version


@dataclass(frozen=True)
class Photo:
    """One photo's file."""

    id: str
    file: Path

    @property
    def mask(self) -> Path:
        """Where its mask lies, or would."""
        return self.file.with_name(f"{self.file.stem}{MASK}.png")

    @property
    def caption_file(self) -> Path:
        """Where its caption lies, or would."""
        return self.file.with_suffix(CAPTION)

    def caption(self) -> tuple[str, str]:
        """Its caption and the version of that, by which a change from outside is noticed."""
        try:
            data = b"" if self.caption_file.is_symlink() else self.caption_file.read_bytes()[: 4 * MAX_CAPTION]
        except OSError:
            return "", "none"
        return " ".join(data.decode("utf-8-sig", "replace").split()), hashlib.sha256(data).hexdigest()[:16]

    def write_caption(self, text: str, version: str) -> str:
        """Keep a caption and return its version; ChangedMeanwhile rather than write over another one."""
        there, now = self.caption()
        if now != version:
            raise ChangedMeanwhile(there, now)
        line = " ".join(text.split())
        if any(not c.isprintable() for c in line):
            raise BadDataError(
                "A caption has no control characters.", "Take them out.", code="caption.control_characters"
            )
        if len(line) > MAX_CAPTION:
            raise BadDataError(
                f"A caption has at most {MAX_CAPTION} characters.", "Make it shorter.", code="caption.too_long"
            )
        if not line:
            self.caption_file.unlink(missing_ok=True)
            return "none"
        work = self.caption_file.with_name(f".{self.file.stem[:40]}.tmp-{os.getpid()}-{threading.get_ident()}")
        work.write_text(line + "\n", encoding="utf-8")
        os.replace(work, self.caption_file)
        return self.caption()[1]
