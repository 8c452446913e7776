"""What this machine has and what is missing, for `booth doctor`. Reads only; downloads nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pydantic", "typer", "pillow", "numpy"
)  # fmt: skip
OPTIONAL = {
    "bitsandbytes": ("8-bit AdamW (--set optimizer=adamw8bit)", 'pip install "booth[gpu]"'),
    "prodigyopt": ("Prodigy (--set optimizer=prodigy)", 'pip install "booth[prodigy]"'),
}
ROOM = 2 * 10**9  # bytes of free disk below which even the embedded base's runs may fail


def examine(base: str | None = None) -> dict[str, Any]:
    """Everything that decides whether booth works here and how fast; with a base, how it can be taught here."""
    from booth import __version__

    embedded = embedded_base()
    versions = {name: _version(name) for name in PACKAGES}
    optional = {name: _version(name) for name in OPTIONAL}
    total, available = _memory()
    findings: dict[str, Any] = {
        "booth": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_device(versions["torch"]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": total,
        "memory_available_bytes": available,
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "versions": versions,
        "optional": optional,
        "embedded_base": embedded,
    }
    if base is not None:
        findings["base"] = _taught_here(base, findings["device_memory_bytes"] or available)
    missing = [f"{name} is not installed: pip install {name}" for name, found in versions.items() if found is None]
    missing += [f"{name} for {OPTIONAL[name][0]}: {OPTIONAL[name][1]}" for name, found in optional.items() if not found]
    if not embedded["found"]:
        missing.append("the embedded base: reinstall booth, or train one with `booth world pretrain`")
    if findings["disk_free_bytes"] < ROOM:
        missing.append(f"free disk: {findings['disk_free_bytes'] / 1e9:.1f} GB are left here; free at least 2 GB")
    return findings | {"missing": missing}


def embedded_base() -> dict[str, Any]:
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


def _taught_here(base: str, room: int) -> dict[str, Any]:
    """What a base is, and the plans by which it fits into `room` bytes; NotAvailableError if it is not here."""
    from booth.families.loading import resolve_base
    from booth.families.memory import memory_plans, values_of_parts
    from booth.families.recognition import advice_on_base, recognise

    folder = resolve_base(base, download=False)
    return {
        "name": base,
        "family": recognise(folder),
        "parameters": values_of_parts(folder),
        "room_bytes": room,
        "plans": [asdict(plan) for plan in memory_plans(folder, room)],
        "advice": advice_on_base(base, folder),
    }


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


def _memory() -> tuple[int, int]:
    """Bytes of memory in all and free for use; 0 where the system does not tell."""
    if sys.platform == "linux":
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0
    return 0, 0
