"""Textual Inversion: new rows of the token table, everything else frozen (Gal et al., 2208.01618)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.file_names import EMBEDDING as FILE
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.rng import derived_seed
from booth.core.sites import TokenTable
from booth.methods.templates import OBJECT_TEMPLATES, STYLE_TEMPLATES


class TextualInversionConfig(MethodConfig):
    """Settings of Textual Inversion. Its rows are never decayed, whatever `weight_decay` says.

    The full-size steps and rate are those of diffusers' guide: 3000 steps of 4 photos at 4 times 5e-4.
    """

    steps: int = Field(3000, ge=1, description="optimiser steps")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of the rows")
    batch_size: int = Field(4, ge=1, description="photos a step")
    vectors: int = Field(1, ge=1, le=64, description="rows a token: more hold more detail and obey prompts less")
    init_word: str | None = Field(None, description="word whose row is the start; none = the class noun")
    keep_norm: bool = Field(True, description="pull each row towards the table's median norm (as PTI does)")
    templates: Literal["object", "plain"] = Field(
        "object", description="prompts: the published templates for objects (or for a style), or the plain one alone"
    )


class ExtendedTable(nn.Module):
    """A token table followed by new rows, which are its only trainable tensor.

    It gives what F.embedding gives on cat([table, rows]) without building that sum of both: ids below `first` are
    looked up in the untouched table, which therefore cannot move, and the others in `rows` (n, dim). A table that
    scales what it gives has its rows scaled alike.
    """

    def __init__(self, table: nn.Module, first: int, rows: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.table = table
        self.first = first
        self.scale = scale
        self.rows = nn.Parameter(rows)

    @property
    def weight(self) -> Tensor:
        """All rows, old and new, in the order of their ids."""
        old: Any = self.table.weight
        return torch.cat([old[: self.first], self.rows.detach().to(old)])

    def forward(self, ids: Tensor) -> Tensor:
        old = self.table(ids.clamp(max=self.first - 1))
        new = F.embedding((ids - self.first).clamp(min=0), self.rows) * self.scale
        return torch.where((ids >= self.first).unsqueeze(-1), new.to(old.dtype), old)


@dataclass(frozen=True)
class _Extension:
    """One extended table, and what stood in its place."""

    site: TokenTable
    table: nn.Module
    tokenizer: Any
    extended: ExtendedTable
    norm: float  # the table's median row norm


class TextualInversion(Method):
    """Learns the meaning of a new token; the model itself does not change."""

    name = "textual_inversion"
    title = "Textual Inversion"
    trains = "the new token's rows in the token table of each text encoder"
    needs = ("token_tables",)
    learns_word = True
    over_quantised = True
    files = (FILE,)
    Config = TextualInversionConfig
    tiny = {
        "steps": 500,
        "learning_rate": 5e-3,
        "batch_size": 4,
        "vectors": 8,
        "keep_norm": False,
        "schedule": "linear",
        "templates": "plain",
    }

    config: TextualInversionConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._extensions: list[_Extension] = []

    def prompts(self) -> list[str]:
        """Published templates with the noun kept beside the token, and the one prompt that all methods share."""
        shared = super().prompts()
        if self.config.templates == "plain":
            return shared
        templates = STYLE_TEMPLATES if self.subject.kind == "style" else OBJECT_TEMPLATES
        return shared + [template.format(self.subject.name) for template in templates]

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        model.sites.require(self.title, model.title, self.needs)
        rows = {
            site.name: [self._initial_rows(site, seed, subject) for subject in self.subject.all]
            for site in model.sites.token_tables
        }
        self._extend(model, rows)
        return [self.moving(self.config.learning_rate)]

    def moving(self, learning_rate: float) -> ParameterGroup:
        """The attached rows, receiving the gradient (again)."""
        parameters = {f"{e.site.name}.rows": e.extended.rows for e in self._extensions}
        for p in parameters.values():
            p.requires_grad_(True)
        # The rows are a point in the space of words, not weights: decay would pull them towards the origin.
        return ParameterGroup("rows", parameters, learning_rate, weight_decay=0.0)

    def detach(self, model: Family) -> None:
        for extension in reversed(self._extensions):
            extension.site.set_embedding(extension.table)
            extension.site.set_tokenizer(extension.tokenizer)
        self._extensions = []
        model.remember_embeddings(False)

    def together(self) -> bool:
        return True

    def constrain(self) -> None:
        """Norm control of PTI (cloneofsimo/lora): v <- v/|v| (|v| + lambda (norm - |v|)), lambda = min(1, 100 lr).

        PTI's norm is 0.4, about that of CLIP-L's rows; here it is the median of the table at hand. The rate is the
        peak rate of the settings.
        """
        if not self.config.keep_norm:
            return
        pull = min(1.0, 100 * self.config.learning_rate)
        with torch.no_grad():
            for e in self._extensions:
                norm = e.extended.rows.norm(dim=1, keepdim=True)
                e.extended.rows.mul_((norm + pull * (e.norm - norm)) / norm.clamp(min=1e-12))

    def learned(self) -> Mapping[str, Tensor]:
        return {f"{e.site.name}.rows": e.extended.rows for e in self._extensions}

    def write(self, model: Family, folder: Path) -> None:
        """A file a token, with one tensor (n, dim) a table: under the token, as diffusers reads it, or tables' keys.

        With keys such as clip_l and clip_g, A1111, ComfyUI and kohya's trainers read the one file for SDXL.
        """
        subjects = self.subject.all
        for i, subject in enumerate(subjects):
            keys = self._keys([e.site for e in self._extensions], subject)
            tensors = {
                keys[e.site.name]: e.extended.rows.detach().chunk(len(subjects))[i].cpu().contiguous()
                for e in self._extensions
            }
            save_file(tensors, folder / _file(i), metadata={"format": "pt"})

    def restore(self, model: Family, folder: Path) -> None:
        model.sites.require(self.title, model.title, self.needs)
        rows: dict[str, list[Tensor]] = {site.name: [] for site in model.sites.token_tables}
        for i, subject in enumerate(self.subject.all):
            for site, read in zip(model.sites.token_tables, self._read(model, folder / _file(i), subject), strict=True):
                rows[site.name].append(read)
        self._extend(model, rows)
        for e in self._extensions:
            e.extended.rows.requires_grad_(False)

    def _read(self, model: Family, file: Path, subject: Subject) -> list[Tensor]:
        """One subject's rows of each table."""
        if not file.is_file():
            raise BadDataError(
                f"{file} is missing: this folder holds no Textual Inversion.",
                "Train it again.",
                code="concept.weights_missing",
            )
        tensors, tables = load_file(file), model.sites.token_tables
        found: list[Tensor] = []
        keys = self._keys(tables, subject)
        for site in tables:
            key = keys[site.name]
            if key not in tensors:
                held = ", ".join(map(repr, tensors))
                raise BadDataError(
                    f"{file} holds {held}, not {key!r}.",
                    "Give it the token that it was trained with.",
                    code="token.not_in_file",
                    field="token",
                )
            found.append(torch.atleast_2d(tensors[key]).float())
            width = found[-1].shape[1]
            if width != site.dim:
                raise BadDataError(
                    f"{file} was made for a text encoder of width {width}; this base has {site.dim}.",
                    "Use the base that the concept names.",
                    code="base.other_architecture",
                    field="base",
                )
        return found

    def _keys(self, tables: Sequence[TokenTable], subject: Subject) -> dict[str, str]:
        """The name in the file of each table's rows."""
        if len(tables) == 1:
            return {tables[0].name: subject.token}
        return {table.name: table.key or table.name for table in tables}

    def _initial_rows(self, site: TokenTable, seed: int, subject: Subject) -> Tensor:
        """The mean of the init word's rows; further vectors add small noise, each its own, lest they stay equal."""
        word = self.config.init_word or subject.noun
        table = site.embedding()
        weight: Any = table.weight
        ids = site.tokenizer()(word, add_special_tokens=False).input_ids
        if not ids:
            raise UsageError(
                f"The text encoder knows no word in {word!r}.",
                "Set init_word to an ordinary noun.",
                code="init_word.unknown",
                field="settings.init_word",
            )
        with torch.no_grad():
            start = table(torch.tensor(ids, device=weight.device)).float().mean(0) / site.scale  # (dim,)
            rows = start.repeat(self.config.vectors, 1)
            purpose = (site.name,) if subject is self.subject else (site.name, subject.token)
            generator = torch.Generator().manual_seed(derived_seed(seed, self.name, *purpose))
            noise = torch.randn(rows.shape, generator=generator).to(rows)
            rows[1:] += 0.1 * _median_norm(weight) / site.dim**0.5 * noise[1:]
        return rows

    def _extend(self, model: Family, rows: dict[str, list[Tensor]]) -> None:
        """Swap extended tables and tokenizers in; `rows` are those of each subject, by table."""
        for site in model.sites.token_tables:
            table, tokenizer = site.embedding(), site.tokenizer()
            weight: Any = table.weight
            first = len(tokenizer)
            if first > len(weight):
                raise BadDataError(
                    f"The tokenizer has {first} tokens but {site.name} only {len(weight)} rows.",
                    code="base.table_too_short",
                    field="base",
                )
            extended = ExtendedTable(table, first, torch.cat(rows[site.name]).to(weight.device), site.scale)
            longer = tokenizer
            for subject, own in zip(self.subject.all, rows[site.name], strict=True):
                longer = _with_tokens(longer, subject.token, len(own))
            site.set_embedding(extended)
            site.set_tokenizer(longer)
            self._extensions.append(_Extension(site, table, tokenizer, extended, _median_norm(weight)))
        model.remember_embeddings(False)


def _file(index: int) -> str:
    """The file of a subject by its place in the run."""
    return FILE if index == 0 else f"learned_embeds_{index + 1}.safetensors"


def _median_norm(weight: Tensor) -> float:
    return float(weight.detach().float().norm(dim=1).median())


def _with_tokens(tokenizer: Any, token: str, count: int) -> Any:
    """A copy of the tokenizer with `token`, `token_1`, ... added as diffusers' load_textual_inversion adds them.

    Raises UsageError where that loader would refuse the token.
    """
    tokens = [token, *(f"{token}_{i}" for i in range(1, count))]
    known = tokenizer.get_vocab()
    taken = [t for t in {token, f"{token}_1", *tokens} if t in known]
    if taken:
        raise UsageError(
            f"The tokenizer already has {min(taken)!r}, so that it cannot become a new word.",
            "Choose another with `token`; when drawing several concepts, give each a token of its own.",
            code="token.taken",
            field="token",
        )
    longer = copy.deepcopy(tokenizer)
    longer.add_tokens(tokens)
    return longer
