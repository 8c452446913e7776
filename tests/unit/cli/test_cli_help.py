"""Help answers without loading anything heavy."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

pytestmark = pytest.mark.xdist_group("help")  # all verbs are asked at once

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


# The same for many commands: each in a process of its own, forked from one that has imported the command line and what
# draws its help.
PROBES = """
import json, os, sys
import typer.rich_utils
from booth.cli.app import main
for words in json.loads(sys.argv[1]):
    if os.fork() == 0:
        sys.argv, code = ["booth", *words], None
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
        print(chr(0) + json.dumps([code, sorted(sys.modules)]), end=chr(0), flush=True)
        os._exit(0)
    os.wait()
"""
Answer = tuple[int, list[str], str]  # exit code, modules, what was shown


def run(words: list[str]) -> Answer:
    probe = subprocess.run([sys.executable, "-c", PROBE.format(words=words)], capture_output=True, text=True)
    assert probe.returncode == 0, probe.stderr
    shown, _, last = probe.stdout.rstrip().rpartition("\n")
    code, modules = json.loads(last)
    return code, modules, shown


@cache
def answers() -> dict[str, Answer]:
    """What `--help` of each verb answers."""
    asked = [[*verb, "--help"] for verb in VERBS]
    if not hasattr(os, "fork"):
        return {" ".join(verb): run(words) for verb, words in zip(VERBS, asked, strict=True)}
    probe = subprocess.run([sys.executable, "-c", PROBES, json.dumps(asked)], capture_output=True, text=True)
    parts = probe.stdout.split(chr(0))
    assert len(parts) == 2 * len(asked) + 1, probe.stderr
    told = zip(VERBS, parts[::2], parts[1::2], strict=False)
    return {" ".join(verb): (*json.loads(values), shown) for verb, shown, values in told}


@pytest.mark.essential
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_imports_nothing_heavy(verb: list[str]) -> None:
    code, modules, shown = answers()[" ".join(verb)]
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
