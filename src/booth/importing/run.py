"""Files of other trainers become concepts: recognised by their content, fitted to a base, tried, put in place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.concept import Concept
from booth.core.errors import BadDataError, UnsafeFileError, UsageError
from booth.core.method import Subject
from booth.core.safe_file import is_pickle, read_tensors, shown
from booth.export import torch_files
from booth.export.base_files import BaseFiles, Shapes
from booth.export.exporter import Exporter, TwoWay
from booth.export.parts import Parts
from booth.families.loading import resolve_base
from booth.importing.fit import differing, require_fit, unknown_trainer
from booth.importing.new_concept import write_concept
from booth.importing.peft_config import with_config
from booth.registry import CONTROLS, EXPORTERS


@dataclass(frozen=True)
class Content:
    """What a file holds, before anyone knows what it is."""

    values: Mapping[Any, Any]
    metadata: Mapping[str, str]

    @property
    def plain(self) -> dict[str, Tensor] | None:
        """The tensors, if there is nothing else."""
        whole = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in self.values.items())
        return dict(self.values) if whole and self.values else None


def import_file(
    file: Path,
    *,
    base: str = "embedded",
    noun: str | None = None,
    token: str | None = None,
    control: str | None = None,
    out: Path | None = None,
    pickles: bool = False,
    lossy: bool = False,
) -> Concept:
    """Make a concept of a LoRA or one of its relatives, an embedding, hypernetwork, ControlNet or checkpoint.

    Subject and token, or what a ControlNet follows, come from the file where they are not given. `pickles` allows a
    `.pt` or `.ckpt`, read by a child process that runs no code of it; `lossy` leaves out what booth cannot hold. Raises
    UnsafeFileError, DamagedFileError or BadDataError, and writes nothing then.
    """
    content = open_content(file, pickles)
    files = BaseFiles(resolve_base(base))
    name, parts, unknown = read_parts(file, content, files.shapes)
    require_fit(file, parts, unknown, files.shapes, base, lossy)
    left_out = differing(file, parts, files, lossy)
    about: dict[str, Any] = {"format": name, "sha256": _sha256(file), "steps": _steps(content.metadata)}
    if unknown:
        left_out.append(f"{len(unknown)} tensors that find no place there, such as {shown(sorted(unknown)[0])}")
    about |= {"left_out": left_out, "notes": parts.notes}
    if parts.control is not None:
        subject = Subject("", "")
        about["control"] = control or followed(file, content.metadata)
    else:
        subject = _subject(file, content.metadata, noun, token, parts)
    place = out or Path("concepts") / _folder_name(subject, file)
    if place.exists():
        raise UsageError(
            f"{place} is there already.",
            "Name another folder with `out`, or delete it first.",
            code="out.taken",
            field="out",
        )
    return write_concept(place, base, subject, parts, about, lossy)


def open_content(file: Path, pickles: bool) -> Content:
    """Read a safetensors file; a pickle only where that is allowed, and then in a child process."""
    if not is_pickle(file):
        tensors, metadata = read_tensors(file)
        return Content(tensors, with_config(file, tensors, metadata))
    if not pickles:
        name = f"{file} is a pickle" + (" that calls itself .safetensors" if file.suffix == ".safetensors" else "")
        raise UnsafeFileError(
            f"{name}, a kind of file that can run code.",
            "Get its .safetensors version; if you trust where it came "
            "from, `pickles` reads it in a process of its own that runs none of it.",
            code="file.runs_code",
            field="pickles",
        )
    values = torch_files.load(file)
    if not isinstance(values, dict):
        raise BadDataError(
            f"{file} holds a {type(values).__name__}, which is no concept of any kind.",
            code="file.other_kind",
            field="file",
        )
    return Content(values.get("state_dict", values), {})


def read_parts(file: Path, content: Content, shapes: Shapes) -> tuple[str, Parts, list[str]]:
    """The format that recognises the content, what of it fits a base of these shapes, and the keys that do not."""
    plain = content.plain
    for name in EXPORTERS:
        exporter: Exporter = EXPORTERS[name]()
        values = content.values if exporter.suffix == ".pt" else plain
        if values and isinstance(exporter, TwoWay) and exporter.recognises(values):
            try:
                return name, *exporter.read(values, content.metadata, shapes)
            except BadDataError as error:
                raise error.about(f"{file}:") from error
    raise unknown_trainer(file, [str(key) for key in content.values])


def _subject(file: Path, metadata: Mapping[str, str], noun: str | None, token: str | None, parts: Parts) -> Subject:
    """Token and class noun as given, or from the trigger phrase in the header; an embedding's file name is its word."""
    words = metadata.get("modelspec.trigger_phrase", "").split(",")[0].split()
    word = token or (words[0] if words else file.stem if parts.kinds == {"rows"} else None)
    kind = noun or (" ".join(words[1:]) or None)
    missing = [option for option, value in (("`token`", word), ("`noun`", kind)) if not value]
    if word is None or kind is None:
        raise UsageError(
            f"{file} does not say what it was taught.",
            f"Add {' and '.join(missing)}.",
            code="import.subject_unknown",
            field="token",
        )
    _require_word(word, "a token", "token", "/\\ ")
    _require_word(kind, "a class noun", "noun")
    return Subject(word, kind)


def _require_word(text: str, what: str, field: str, never: str = "/\\") -> None:
    """UsageError for a word that no terminal should show or no folder be called; it may come from a file's header."""
    if not text.isprintable() or any(c in text for c in never):
        raise UsageError(
            f"{shown(text)} cannot be {what}.",
            f"Give another with `{field}`.",
            code="import.word_unusable",
            field=field,
        )


def _folder_name(subject: Subject, file: Path) -> str:
    """TOKEN-NOUN-FILE of such characters alone as cannot lead to another folder; a ControlNet has no subject."""
    words = (re.sub(r"[^\w-]+", "-", word).strip("-") for word in (subject.token, subject.noun))
    return "-".join([*filter(None, words), file.stem])


def followed(file: Path, metadata: Mapping[str, str]) -> str:
    """What a ControlNet follows, by the header that booth writes, or by the file's name."""
    told = metadata.get("booth.control") or next((kind for kind in CONTROLS if kind in file.stem.lower()), None)
    if told is None:
        raise UsageError(
            f"{file} does not say what it follows.",
            f"Add `control`: {', '.join(CONTROLS)}.",
            code="import.control_unknown",
            field="control",
        )
    _require_word(told, "what a ControlNet follows", "control")
    return told


def _steps(metadata: Mapping[str, str]) -> int:
    told = metadata.get("ss_steps", "0").strip()
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else 0


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
