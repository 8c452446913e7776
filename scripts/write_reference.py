"""Write docs/reference and the README's table of methods from the code.

Run it after changing an option, a setting, a method or an exit code:

    python scripts/write_reference.py

A test fails while a page differs from what this script would write.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from booth.catalogue import describe_choices, describe_methods, describe_settings
from booth.cli.app import app
from booth.config import RunConfig
from booth.config.settings import SETTINGS
from booth.core import errors
from booth.core.errors import BoothError, exit_codes
from booth.core.method import MethodConfig
from booth.registry import EXPORTERS, FAMILIES, METHODS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
README = ROOT / "README.md"
TABLE = ("<!-- methods: written by scripts/write_reference.py -->\n", "<!-- end of methods -->")
TICK = "✓"
NOTE = "<!-- Written by scripts/write_reference.py; change the code, not this page. -->\n"


def pages() -> dict[str, str]:
    """Every page of the reference by its file name."""
    return {
        "exit-codes.md": exit_codes_page(),
        "error-codes.md": error_codes_page(),
        "methods.md": methods_page(),
        "settings.md": settings_page(),
        "proof.md": proof_page(),
        "command-line.md": command_line_page(),
    }


def settings_file() -> str:
    """What the command line checks of a method's settings before it loads torch."""
    known = {
        name: {"needs_subject": kind.needs_subject, "settings": list(kind.Config.model_fields)}
        for name, kind in METHODS.items()
    }
    return "{\n" + ",\n".join(f'"{name}": {json.dumps(about)}' for name, about in known.items()) + "\n}\n"


def readme() -> str:
    """The README with its table of methods as it should be."""
    text = README.read_text(encoding="utf-8")
    rows = [[f"`{e['name']}`", e["trains"], ", ".join(e["files"])] for e in methods()]
    before, _, rest = text.partition(TABLE[0])
    _, _, after = rest.partition(TABLE[1])
    drawn = table(["method", "what receives the gradient", "what is saved"], rows)
    return f"{before}{TABLE[0]}\n{drawn}\n\n{TABLE[1]}{after}"


def exit_codes_page() -> str:
    """The table of exit codes."""
    rows = [[str(code), meaning] for code, meaning in exit_codes()]
    text = (
        'With `--json` an error is one object on the last line of stdout: `{"error": ..., "exit_code": ...}`, and what '
        "[its values](error-codes.md) are."
    )
    return page("Exit codes", text, table(["code", "meaning"], rows))


@dataclass(frozen=True)
class Raised:
    """A place of the sources that makes an error."""

    kind: type[BoothError]
    code: str
    field: str
    sentence: str  # with ... for what is put in


@dataclass(frozen=True)
class _Kind:
    """A class of errors as the sources define it, whether or not this process has imported it."""

    kind: type[BoothError]  # the class of the library's own list that it is, or is derived from
    arguments: tuple[str, ...] = ("sentence", "advice")


def raised() -> Iterator[Raised]:
    """Every place in the package that makes an error with a code, in the order of files and lines."""
    files = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "src" / "booth").rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(file)]
    kinds = _kinds(nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            kind = kinds.get(node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
            if kind is None:
                continue
            given = dict(zip(kind.arguments, map(_template, node.args), strict=False))
            given |= {word.arg: _template(word.value) for word in node.keywords if word.arg}
            if given.get("code", "...") != "..." and "sentence" in given:
                yield Raised(kind.kind, given["code"], given.get("field", ""), given["sentence"])


def _kinds(nodes: list[ast.AST]) -> dict[str, _Kind]:
    """The classes of errors by name: those of `booth.core.errors`, and what the sources derive from them."""
    kinds = {name: _Kind(kind) for name, kind in vars(errors).items() if _is_error(kind)}
    derived = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name not in kinds]
    for node in derived:
        above = next((kinds[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in kinds), None)
        if above is not None:
            made = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
            arguments = above.arguments if made is None else tuple(a.arg for a in made.args.args[1:])
            kinds[node.name] = _Kind(above.kind, arguments)
    return kinds


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BoothError)


def _template(node: ast.expr) -> str:
    """A text of the sources, with ... for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else ()
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in parts) or "..."


def error_codes_page() -> str:
    """The codes of errors, each with the fields that may be at fault and a sentence for an example."""
    found: dict[str, list[Raised]] = {}
    for each in raised():
        found.setdefault(each.code, []).append(each)
    rows = [
        [
            f"`{code}`",
            str(several[0].kind.exit_code),
            ", ".join(dict.fromkeys(f"`{each.field}`" for each in several if each.field not in ("", "..."))),
            several[0].sentence.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;"),
        ]
        for code, several in sorted(found.items())
    ]
    return page(
        "Error codes",
        "An error is a value: `sentence` says what is wrong and `advice` what to do; `field` is the path of what is at "
        "fault, such as `noun` or `settings.rank`, an argument of the function that was called, or none; `code` is one "
        "of these, and stays what it is between versions. A class of errors has an [exit code](exit-codes.md). Where "
        "several things are wrong with a configuration, `problems` holds an error for each. A word in backticks is a "
        "field: the command line shows its option, adds the `option` of each problem to what `--json` tells, and the "
        "studio marks the field.",
        table(["code", "exits with", "fields", "such as"], rows),
    )


def methods_page() -> str:
    """What each method trains and saves, and where it works."""
    rows = [[f"`{e['name']}`", e["trains"], ", ".join(e["files"]), ", ".join(e["families"])] for e in methods()]
    text = "A method works on every family that offers the sites it needs; `booth methods` counts sizes for a base."
    return page("Methods", text, table(["method", "trains", "saves", "families"], rows))


def proof_page() -> str:
    """Which method ran on which family and which format holds what of it, as the conformance tests have it."""
    trained = [[f"`{e['name']}`", *(TICK if f in e["families"] else "" for f in FAMILIES)] for e in methods()]
    written = [
        [f"`{name}`", ", ".join(sorted(kind.accepts)), *(TICK if f in kind.families else "" for f in FAMILIES)]
        for name, kind in EXPORTERS.items()
    ]
    families = [f"`{f}`" for f in FAMILIES]
    return page(
        "What is proved",
        "A tick stands where a test runs, on a tiny random base that has the family's own classes and names.",
        "## Methods on families",
        "Trained for some steps, saved, loaded, drawn and taken out again, by `test_families.py` and `test_methods.py` "
        "in `tests/conformance`; where diffusers or peft has a loader for what was saved, its picture is the same to "
        "the bit, and with BOFT, whose rotations peft multiplies in another order, to 1e-4.",
        table(["method", *families], trained),
        "## One step's loss",
        "By booth, and in straight lines of diffusers' own calls (`tests/straight_lines.py`); `test_parity.py` holds "
        "them together to 1e-5. Measured by `benchmarks/parity.py` into [results](../../results/parity.json).",
        table(["family", "prediction", "booth", "diffusers", "relative difference"], losses()),
        "## Formats for families",
        "Written, read back by an independent reading of the target's rules to 1e-6 relative in float32, and, but for "
        "what can only be written, imported, by `tests/conformance/test_exports.py` and `tests/unit/export`.",
        table(["format", "holds", *families], written),
        "## What was not tried",
        "No published weights were opened, and no picture was drawn by another program: the readings are written from "
        "the formats' descriptions, and diffusers' loaders and converters stand beside them where there are such. "
        "[Who reads what](exports.md) tells which programs' own loaders were run on the files, outside of this "
        "repository.",
    )


def losses() -> list[list[str]]:
    """The measured losses of one step, by family."""
    rows = json.loads((ROOT / "results" / "parity.json").read_text(encoding="utf-8"))["losses"]
    return [
        [
            f"`{r['family']}`",
            r["prediction"],
            f"{r['booth']:.7f}",
            f"{r['diffusers']:.7f}",
            f"{r['relative_difference']:.1e}",
        ]
        for r in rows
    ]


def settings_page() -> str:
    """The settings of a run, those that all methods share, and each method's own."""
    shared = [s["name"] for s in describe_settings(MethodConfig)]
    parts = [
        "A run's settings are options of `booth train`, keys of a `--config` file (TOML), and fields of "
        "`booth.config.RunConfig`. A method's settings are given as `--set key=value` or in the file's `[settings]` "
        "table. Where two defaults are given, the first is for the embedded base and the second for a full-size one.",
        "## A run",
        table(
            ["key", "default", "meaning"],
            [[f"`{n}`", _default(f), f.description or ""] for n, f in RunConfig.model_fields.items()],
        ),
    ]
    for entry in methods():
        tiny, full = entry["defaults"]["tiny"], entry["defaults"]["full"]
        described = describe_settings(METHODS[entry["name"]].Config)
        ordered = [s for s in described if s["name"] not in shared] + [s for s in described if s["name"] in shared]
        rows = [[f"`{s['name']}`", both(tiny[s["name"]], full[s["name"]]), meaning(s)] for s in ordered]
        parts += [f"## `{entry['name']}`", table(["setting", "default", "meaning"], rows)]
    parts += ["## Chosen by name", CHOSEN]
    for field, chosen in describe_choices().items():
        rows = [[f"`{c['name']}`", f"{c['title']}: {c['about']}", own_settings(c["settings"])] for c in chosen]
        parts += [f"### `{field}`", table(["name", "what it is", "settings"], rows)]
    return page("Settings", *parts)


CHOSEN = (
    "Optimiser, schedule, weighting, loss and timesteps are settings of every method that name an entry of a registry, "
    "to which [plug-ins](../guides/plug-ins.md) add theirs. An entry's own settings are given as "
    "`--set optimizer.beta1=0.95`, or in a file's `[settings.options.optimizer]` table."
)


def own_settings(settings: list[dict[str, Any]]) -> str:
    """The settings of an entry in one cell of a table."""
    return "; ".join(f"`{s['name']}={shown(s['default'])}` {s['meaning']}" for s in settings)


def meaning(setting: dict[str, Any]) -> str:
    """What a setting means and, where it names something, where to find what there is."""
    return setting["meaning"] + (" ([what there is](#chosen-by-name))" if "choices" in setting else "")


def command_line_page() -> str:
    """Every verb with its options."""
    parts: list[str] = []
    for words, command in verbs(get_command(app), ["booth"]):
        rows = [
            [
                f"`{', '.join(p.opts) if p.param_type_name == 'option' else p.metavar or p.name.upper()}`",
                default_of(p),
                p.help or "",
            ]
            for p in command.params
            if p.name != "help"
        ]
        parts += [f"## `{' '.join(words)}`", command.help or "", table(["option", "default", "meaning"], rows)]
    text = (
        "Results go to stdout and everything else to stderr. With `--json` the last line of stdout is one JSON object."
    )
    return page("Command line", text, *parts)


def verbs(group: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Every command that does something, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, [*words, name])
        else:
            yield [*words, name], command


def default_of(parameter: Any) -> str:
    """What an option is if it is left out."""
    if isinstance(getattr(parameter, "show_default", None), str):
        return parameter.show_default
    return "" if parameter.default in (None, False, "") or parameter.required else shown(parameter.default)


def methods() -> list[dict[str, Any]]:
    """The catalogue without sizes, which depend on a base."""
    return describe_methods(sizes=False)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def both(tiny: Any, full: Any) -> str:
    """One default, or two where the bases differ."""
    return shown(tiny) if tiny == full else f"{shown(tiny)} / {shown(full)}"


def shown(value: Any) -> str:
    """A default as a user would write it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if value == {}:
        return "none"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def page(title: str, *parts: str) -> str:
    """A page under a title."""
    return "\n\n".join([f"# {title}", NOTE + "\n" + parts[0], *parts[1:]]) + "\n"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    return shown(field.get_default(call_default_factory=True)) if field.default_factory is None else "none"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
    SETTINGS.write_text(settings_file(), encoding="utf-8")
