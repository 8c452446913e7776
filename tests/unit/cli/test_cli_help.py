"""Help answers without loading anything heavy."""

import json
import subprocess
import sys

import pytest

VERBS = [
    [],
    ["train"],
    ["reteach"],
    ["generate"],
    ["hint"],
    ["evaluate"],
    ["compare"],
    ["study"],
    ["taste"],
    ["recommend"],
    ["caption"],
    ["mask"],
    ["inspect"],
    ["methods"],
    ["export"],
    ["import"],
    ["import-config"],
    ["prompt-card"],
    ["push"],
    ["demo"],
    ["doctor"],
    ["world"],
    ["world", "render"],
    ["world", "subject"],
    ["world", "pretrain"],
    ["world", "judges"],
    ["world", "score"],
    ["augment"],
    ["augment", "make"],
    ["augment", "prove"],
    ["serve"],
    ["wall"],
    ["bench"],
    ["fleet"],
    ["world", "labelled"],
]
HEAVY = ["torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "PIL", "tokenizers"]
PROBE = """
import json, sys
from booth.cli.app import main
sys.argv = ["booth", *{words!r}]
try:
    main()
except SystemExit as leaving:
    code = leaving.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def run(words: list[str]) -> tuple[int, list[str], str]:
    probe = subprocess.run([sys.executable, "-c", PROBE.format(words=words)], capture_output=True, text=True)
    assert probe.returncode == 0, probe.stderr
    shown, _, last = probe.stdout.rstrip().rpartition("\n")
    code, modules = json.loads(last)
    return code, modules, shown


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_imports_nothing_heavy(verb: list[str]) -> None:
    code, modules, shown = run([*verb, "--help"])
    assert code == 0
    assert "Usage" in shown
    assert not [name for name in HEAVY if name in modules]


def test_every_verb_is_in_the_list_above() -> None:
    from typer.main import get_command

    from booth.cli.app import app

    command = get_command(app)
    verbs = [[name] for name in command.commands]
    verbs += [[group, name] for group in ("augment", "world") for name in command.commands[group].commands]
    assert sorted(verbs) == sorted(VERBS[1:])


def test_the_version_is_the_package_s() -> None:
    import booth

    code, modules, shown = run(["--version"])
    assert (code, shown) == (0, f"booth {booth.__version__}")
    assert "torch" not in modules
