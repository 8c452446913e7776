"""What this machine has and what is missing, for `booth doctor`. Reads only; downloads nothing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from booth.core.errors import BoothError
from booth.core.json_values import Json
from booth.core.resources import available_memory, cores, machine_memory

if TYPE_CHECKING:
    from booth.families.memory import Task

PACKAGES = (
    "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pydantic", "typer", "pillow", "numpy"
)  # fmt: skip
OPTIONAL = {
    "bitsandbytes": (
        "8-bit AdamW (`optimizer=adamw8bit`) and bases in 8 or 4 bits",
        'pip install "booth[gpu]"',
    ),
    "prodigyopt": ("Prodigy (`optimizer=prodigy`)", 'pip install "booth[prodigy]"'),
}
ROOM = 2 * 10**9  # bytes of free disk below which even the embedded base's runs may fail


def examine(base: str | None = None) -> dict[str, Json]:
    """Everything that decides whether booth works here and how fast; with a base, how it can be taught here."""
    from booth import __version__

    embedded = embedded_base()
    versions = {name: _version(name) for name in PACKAGES}
    optional = {name: _version(name) for name in OPTIONAL}
    total, available = machine_memory()
    findings: dict[str, Any] = {
        "booth": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_device(versions["torch"]),
        "cores": cores(),
        "memory_bytes": total,
        "memory_available_bytes": available,
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "versions": versions,
        "optional": optional,
        "embedded_base": embedded,
    }
    if base is not None:
        findings["base"] = _taught_here(base, findings["device"])
    findings["plugins"] = plugins = _plugins()
    missing = [f"{name} is not installed: pip install {name}" for name, found in versions.items() if found is None]
    missing += [f"{name} for {OPTIONAL[name][0]}: {OPTIONAL[name][1]}" for name, found in optional.items() if not found]
    missing += [plugin["problem"] for plugin in plugins if plugin["problem"]]
    if not embedded["found"]:
        missing.append("the embedded base: reinstall booth, or train one with `booth world pretrain`")
    if findings["disk_free_bytes"] < ROOM:
        missing.append(f"free disk: {findings['disk_free_bytes'] / 1e9:.1f} GB are left here; free at least 2 GB")
    return {**findings, "missing": missing}


def _plugins() -> list[dict[str, Any]]:
    """What installed packages bring, and why something of it cannot be used or not by its name."""
    from booth.registry import REGISTRIES

    found: list[dict[str, Any]] = []
    for registry in REGISTRIES:
        for plugin in registry.plugins.values():
            try:
                _, problem = registry[plugin.name], None
            except BoothError as error:
                problem = str(error)
            found.append({"kind": registry.kind, **asdict(plugin), "problem": problem})
        for plugin in registry.conflicts:
            problem = (
                f"the {registry.kind} {plugin.name!r} of the package {plugin.package}, whose name another has: it is "
                f"reached as {plugin.target}"
            )
            found.append({"kind": registry.kind, **asdict(plugin), "problem": problem})
    return found


def embedded_base() -> dict[str, Json]:
    """Whether the base in the package is there, its content hash, how many values it holds and its bytes."""
    from booth.families.loading import EMBEDDED_FOLDER, base_hash
    from booth.families.memory import values_of_parts

    folder = EMBEDDED_FOLDER
    if not (folder / "model_index.json").is_file():
        return {"found": False, "folder": str(folder), "hash": None, "parameters": None, "bytes": None}
    return {
        "found": True,
        "folder": str(folder),
        "hash": base_hash(folder),
        "parameters": sum(values_of_parts(folder).values()),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    }


def _taught_here(base: str, device: str) -> dict[str, Any]:
    """What a base is, and by which plans it can be taught and drawn here; NotAvailableError if it is not here.

    The plans are those of one photo a step at the base's own resolution. Methods that take the same are told together.
    """
    from booth.core.precision import choose_precision
    from booth.families.loading import resolve_base
    from booth.families.memory import choose, choose_offload, drawing_bytes, memory_plans, native_side, values_of_parts
    from booth.families.recognition import advice_on_base, recognise

    folder, available = resolve_base(base, download=False), available_memory(device)
    precision = choose_precision(None, device)
    tasks = _tasks(recognise(folder), native_side(folder), device, precision)
    found = [(methods, memory_plans(folder, task, available)) for task, methods in tasks.items()]
    return {
        "name": base,
        "family": recognise(folder),
        "parameters": values_of_parts(folder),
        "room_bytes": available,
        "plans": [
            {
                "methods": methods,
                "chosen": choose(plans).name,
                "plans": [{"name": plan.name, **asdict(plan)} for plan in plans],
            }
            for methods, plans in found
        ],
        "drawing": drawing_bytes(folder, precision),
        "offload": choose_offload(folder, available, precision) if device == "cuda" else "none",
        "advice": advice_on_base(base, folder),
    }


def _tasks(family: str, side: int, device: str, precision: str) -> dict[Task, list[str]]:
    """What the methods that work on a family take with their own settings, one photo a step."""
    from booth.core.method import Subject
    from booth.families.memory import task_of
    from booth.registry import FAMILIES, METHODS

    tasks: dict[Task, list[str]] = {}
    for name, kind in METHODS.usable().items():
        if set(kind.needs) <= set(FAMILIES[family].offers):
            method = kind(kind.Config.model_validate(kind.defaults("full") | {"batch_size": 1}), Subject("sks", "dog"))
            how: dict[str, Any] = {"activation": 4} if precision == "fp32" else {"activation": 2, "half": precision}
            task = task_of(method, [], side=side, device=device, **how)
            tasks.setdefault(task, []).append(name)
    return tasks


def _device(torch_version: str | None) -> dict[str, Any]:
    if torch_version is None:
        return {"device": "cpu", "device_name": "torch is not installed", "device_memory_bytes": None}
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return {"device": "cuda", "device_name": properties.name, "device_memory_bytes": properties.total_memory}
    return {"device": "cpu", "device_name": platform.processor() or platform.machine(), "device_memory_bytes": None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None if importlib.util.find_spec(package) is None else "unknown"
