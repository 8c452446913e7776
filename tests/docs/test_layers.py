"""Imports go one way; heavy or foreign libraries stay in their rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent.parent / "src"
FILES = sorted((SOURCE / "booth").rglob("*.py"))

# What each room may import. Files in the package's root are rooms of their own.
NOUNS = {"core"}
NAMES = NOUNS | {"registry", "choices", "config", "events"}
PARTS = NAMES | {"concept", "data", "families"}
DRAWING = PARTS | {"session", "generate"}
TRAINING = DRAWING | {"train"}
OUTWARD = {"export", "importing", "foreign_configs", "hub"}
WORKS = {"world", "evaluate", "augment", "compare", "executor", "fleet"}
ALLOWED = {
    "core": NOUNS,
    "options": set(),
    "trackers": NOUNS | {"events"},
    "events": NOUNS | {"events"},
    "session": NAMES | {"families"},
    "executor": NOUNS | {"events", "executor"},
    "registry": NOUNS,
    "choices": NOUNS | {"registry"},
    "config": NAMES,
    "data": NAMES | {"data"},
    "families": NAMES | {"families"},
    "methods": NOUNS | {"methods"},
    "controls": NOUNS | {"controls"},
    "generate": DRAWING,
    "concept": DRAWING,  # its convenience of drawing itself, imported when it is called
    "train": TRAINING | {"importing"},  # for a run may start from another trainer's file
    "export": DRAWING | {"export"},
    "importing": DRAWING | {"export", "importing"},
    "foreign_configs": NAMES | {"foreign_configs"},
    "hub": DRAWING | {"hub"},
    "world": TRAINING | {"world", "imagenet"},
    "evaluate": TRAINING | {"world", "evaluate", "imagenet"},
    "catalogue": TRAINING,
    "machine": PARTS,
    "imagenet": NOUNS,
    "augment": TRAINING | {"world", "evaluate", "imagenet", "augment", "executor"},
    "compare": TRAINING | {"evaluate", "catalogue", "compare", "executor"},
    "fleet": TRAINING | {"executor", "evaluate", "fleet"},
    "bench": TRAINING | {"world", "machine", "bench"},
    "testing": TRAINING | {"world", "testing", "export", "importing"},
    "web": TRAINING | OUTWARD | {"world", "evaluate", "augment", "compare", "catalogue", "machine", "web"},
    "cli": TRAINING | OUTWARD | WORKS | {"catalogue", "machine", "bench", "web", "cli"},
    "api": TRAINING | {"options", "evaluate", "compare", "catalogue"},
    "__main__": {"cli"},
}
LIBRARIES = {
    "diffusers": {"families", "world", "testing"},
    "transformers": {"families", "world", "controls", "evaluate", "augment", "testing", "bench"},
    "sklearn": {"augment"},
    "torchmetrics": {"augment"},
    "cv2": {"controls"},
    "tokenizers": {"world"},
    "peft": {"methods"},
    "typer": {"cli"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "jinja2": {"web"},
    "uvicorn": {"web"},
    "mcp": {"web"},
    "tqdm": {"cli"},
    "fsspec": {"fleet"},
    "ray": {"executor"},
}


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return [*module.split("."), "booth"][1]


def imports(file: Path) -> Iterator[str]:
    """Every module a file imports, wherever the import stands; a name taken from a package is a module if it is one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            if node.module == "booth":
                yield from (f"booth.{alias.name}" for alias in node.names if alias.name != "__version__")
            elif node.module:
                yield node.module


def breaches(files: list[Path]) -> list[str]:
    found: list[str] = []
    for file in files:
        module = name_of(file)
        room = room_of(module)
        if module == "booth":
            continue  # the door: it names what a user may call
        for imported in imports(file):
            library = imported.split(".")[0]
            if library == "booth" and room_of(imported) not in ALLOWED[room]:
                found.append(f"{module} imports {imported}")
            if room not in LIBRARIES.get(library, {room}):
                found.append(f"{module} imports {imported}")
    return found


def test_every_room_has_a_rule() -> None:
    assert {room_of(name_of(file)) for file in FILES} - {"booth"} <= ALLOWED.keys()


@pytest.mark.essential
def test_imports_go_one_way() -> None:
    assert breaches(FILES) == []


MOST_LINES = 300
MOST_LINES_OF_A_BODY = 60


def test_every_file_is_short_enough_to_be_read_at_once() -> None:
    lines = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert [f"{name}: {count}" for name, count in lines.items() if count > MOST_LINES] == []


@pytest.mark.essential
def test_every_function_is_short_enough_to_be_understood() -> None:
    """A command's parameters with their help do not count."""
    long = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                if (node.end_lineno or 0) - first.lineno + 1 > MOST_LINES_OF_A_BODY:
                    long.append(f"{name_of(file)}.{node.name}")
    assert long == []


def test_the_rules_have_no_cycle_but_that_of_drawing() -> None:
    for room, allowed in ALLOWED.items():
        for other in allowed - {room}:
            assert room not in ALLOWED[other] or {room, other} == {"concept", "generate"}


def test_a_breach_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    wrong = tmp_path / "booth" / "methods" / "wrong.py"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("def f():\n    from booth.families import loading\n    import diffusers.utils\n")
    assert breaches([wrong]) == [
        "booth.methods.wrong imports booth.families",
        "booth.methods.wrong imports diffusers.utils",
    ]


@pytest.mark.parametrize("module", ["booth", "booth.cli.app", "booth.config", "booth.registry", "booth.core.errors"])
def test_light_modules_import_no_torch(module: str) -> None:
    probe = (
        f"import sys, {module}; print([m for m in ('torch', 'diffusers', 'transformers', 'peft') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def test_nothing_needs_torchvision_or_timm() -> None:
    """Every module imports while a hook refuses what no part of the package may need."""
    probe = f"""
import importlib, importlib.util, sys

def refused(name):
    return name.split(".")[0] in {{"torchvision", "timm", "scipy", "cv2", "open_clip", "sklearn", "torchmetrics"}}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if refused(name):
            raise ImportError(f"refused: {{name}}")

look = importlib.util.find_spec  # to be asked whether a library is there is no import of it
importlib.util.find_spec = lambda name, package=None: None if refused(name) else look(name, package)
sys.meta_path.insert(0, Refuse())
for module in {[name_of(file) for file in FILES]!r}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Calls by which reading a file runs code, or words run as commands.
FORBIDDEN = re.compile(
    r"torch\.(load|save)\b|(?<![\w-])pickle\b|allow_pickle=(?!False)|trust_remote_code|custom_pipeline|shelve|marshal|shell=True|os\.system"
    r"|(?<![\w.])(eval|exec)\("
)


def code_of(file: Path) -> str:
    """A file without its comments, docstrings and other strings that stand alone or hold prose."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            node.value = ""
    return ast.unparse(tree)


# AUTOMATIC1111 knows hypernetworks as `.pt` only: one module writes them, and a child process reads tensors of them.
EXCEPTIONS = {
    "booth.export.torch_files": "torch.save(values, file, _use_new_zipfile_serialization=False)",
    "booth.export.torch_child": "torch.load(file, map_location='cpu', weights_only=True)",
}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_unpickled_and_no_foreign_code_runs(file: Path) -> None:
    code, exception = code_of(file), EXCEPTIONS.get(name_of(file))
    if exception is not None:
        assert code.count(exception) == 1
        code = code.replace(exception, "")
    assert not FORBIDDEN.findall(code)


def test_only_the_child_process_imports_the_reader_of_pt_files() -> None:
    assert [name_of(file) for file in FILES if "booth.export.torch_child" in set(imports(file))] == []


@pytest.mark.parametrize(
    "line", ["torch.load(f)", "import pickle", "np.load(f, allow_pickle=True)", "x(trust_remote_code=True)", "eval(a)"]
)
def test_what_runs_code_would_be_found(line: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(line)
    assert FORBIDDEN.search(code_of(file))


def imported_by(module: str) -> set[str]:
    """All modules of the package that a module imports, by way of others too."""
    files = {name_of(file): file for file in FILES}
    found, wanted = set[str](), [module]
    while wanted:
        name = wanted.pop()
        names = {i for i in imports(files[name]) if i in files} if name in files else set()
        # A name taken from a package may be a module of it.
        tree = ast.parse(files[name].read_text(encoding="utf-8")) if name in files else ast.parse("")
        taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        names |= {f"{n.module}.{a.name}" for n in taken for a in n.names if f"{n.module}.{a.name}" in files}
        wanted += sorted(names - found)
        found |= names
    return found


PROOFS = [name_of(file) for file in FILES if file.stem.endswith("proof")]
WRITERS = {name_of(file) for file in FILES if file.stem.startswith("write") and "export" in file.parts}


@pytest.mark.parametrize("proof", PROOFS)
def test_no_proof_imports_a_writer(proof: str) -> None:
    assert imported_by(proof) & WRITERS == set()


def test_a_writer_imports_proofs_and_that_would_be_seen() -> None:
    assert len(PROOFS) >= 7
    assert {"booth.export.lora.write", "booth.export.checkpoint.write"} <= WRITERS
    assert "booth.export.lora.proof" in imported_by("booth.export.lora.write")
    assert "booth.export.lora.write" in imported_by("booth.export.bundle.write")
