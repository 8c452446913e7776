"""The page of the study of artefact sizes, made of its result alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TITLES = {
    "embedded": "The embedded base",
    "stable-diffusion-v1-5": "Stable Diffusion 1.5",
    "stable-diffusion-xl-base-1.0": "Stable Diffusion XL",
}
# The settings on which a size depends, where a method has them.
SIZING = ("vectors", "rank", "conv_rank", "factor", "block_size", "layer_structure", "train_text_encoder", "second")
SMALLEST, LARGEST = "textual_inversion", "dreambooth"  # as expected
UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))

Row = dict[str, Any]


def page(result: dict[str, Any]) -> str:
    """The page in Markdown."""
    bases = result["bases"]
    parts = [
        "# How large is what each method saves?",
        "<!-- Written by benchmarks/artefact_sizes.py from results/artefact_sizes.json; not to be changed by hand. -->",
        "**Asked.** How many values does each method train at its defaults, and how many bytes does its artefact take: "
        "on the embedded base, and at the real sizes of Stable Diffusion 1.5 and SDXL?",
        "**Expected.** Textual Inversion has the smallest artefact, full DreamBooth the largest.",
        f"**Found.** {_found(result)}",
        f"**What would change the conclusion.** {_would_change(result)}",
        *(f"## {TITLES[base]}\n\n{_table_of(result, base)}" for base in bases),
        f"## Other settings\n\n{_variants(result)}",
        f"## Against published files\n\n{_checks(result)}",
        f"## How it was done\n\n{_how(result)}",
    ]
    return "\n\n".join(parts) + "\n"


def size(count: float) -> str:
    """Bytes in three digits and decimal units: 3.07 kB, 23.9 MB, 3.44 GB."""
    unit, name = next(((u, n) for u, n in UNITS if count >= u), (1, "B"))
    value = count / unit
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {name}" if unit > 1 else f"{count:.0f} B"


def find(result: dict[str, Any], base: str, method: str, **settings: Any) -> Row:
    """A method's row, or with `settings` the variant that has exactly these."""
    if settings:
        variants = (v for v in result["variants"] if v["settings"] == settings)
        return next(v for v in variants if (v["base"], v["method"]) == (base, method))
    return next(r for r in result["rows"] if (r["base"], r["method"]) == (base, method))


def by_size(result: dict[str, Any], base: str) -> list[Row]:
    """The rows of a base on which the method works, the smallest first."""
    rows = (r for r in result["rows"] if r["base"] == base and "bytes" in r)
    return sorted(rows, key=lambda r: r["parameters"])


def _found(result: dict[str, Any]) -> str:
    ranks = {base: by_size(result, base) for base in result["bases"]}
    ends: list[str] = []
    for base, rows in ranks.items():
        first, second = rows[:2]
        full = find(result, base, LARGEST)
        times = f"{full['parameters'] / first['parameters']:,.0f} times the first"
        ends.append(f"{_fp32(first)}, {_fp32(second)} ({second['title']}) and {_fp32(full)} on {_name(base)}, {times}")
    _, sd15, sdxl = ranks
    tops = {rows[-1]["title"] for rows in ranks.values()}
    beyond = {r["parameters"] - find(result, b, LARGEST)["parameters"] for b, (*_, r) in ranks.items()}
    full, xl = find(result, sd15, LARGEST), find(result, sdxl, LARGEST)
    net, xl_net = find(result, sd15, "controlnet"), find(result, sdxl, "controlnet")
    keys, xl_keys = find(result, sd15, "custom_diffusion"), find(result, sdxl, "custom_diffusion")
    return (
        "The first half holds on all three bases, the second not to the letter. Textual Inversion, the next one and "
        f"DreamBooth take {'; '.join(ends)}. But {' and '.join(sorted(tops))} takes a little more than DreamBooth, by "
        f"the rows of its token ({_listed(sorted(beyond))} values): by default it fine-tunes the whole denoiser too, "
        "after learning a token as Textual Inversion does. Counted as a whole pipeline folder a DreamBooth is "
        f"larger still ({size(full['whole_bytes']['fp32'])} on {_name(sd15)}, {size(xl['whole_bytes']['fp32'])} on "
        f"{_name(sdxl)}), which changes no place.\n\n"
        f"ControlNet comes third from the top everywhere: {_fp32(net)} and {_fp32(xl_net)} at the real sizes. The gap "
        f"is not wide on SDXL, where a DreamBooth in half precision ({size(xl['bytes']['fp16'])}) is only just larger "
        "than a ControlNet in full. And sizes compare on one base only: a ControlNet for SDXL is larger than a "
        f"DreamBooth of {_name(sd15)} ({_fp32(full)}). Between the ends the order is not the same on every base: "
        f"Custom Diffusion grows from {_fp32(keys)} to {_fp32(xl_keys)}, because SDXL has "
        f"{xl_keys['parameters'] / keys['parameters']:.0f} times as many values in the layers through which the prompt "
        "enters, and passes HyperNetwork and rank-stabilised LoRA."
    )


def _would_change(result: dict[str, Any]) -> str:
    _, sd15, sdxl = result["bases"]
    tiny = [v for v in result["variants"] if v["method"] == "lokr"]
    lora, full = find(result, sd15, "lora"), find(result, sd15, LARGEST)
    rank = full["parameters"] * lora["settings"]["rank"] // lora["parameters"] + 1
    shown = " and ".join(f"{_fp32(v)} on {_name(v['base'])}" for v in tiny)
    many, second = find(result, sd15, SMALLEST, vectors=64), find(result, sd15, "two_stage", second="lora")
    text = [find(result, b, LARGEST, train_text_encoder=True) for b in (sd15, sdxl)]
    return (
        "Other settings, on the small side. It is no law that a token is smallest: a LoKr of rank 1 on a single layer "
        f"takes {shown}, and a token may have up to 64 vectors ({_fp32(many)}). At such sizes the file's header, not "
        "counted here and some 100 bytes for a token, is no longer nothing. On the large side little would: a LoRA of "
        f"{_name(sd15)} needs rank {rank:,} to outgrow the U-Net, more than any of its layers has. Two-stage with a "
        f"LoRA as its second stage falls to {_fp32(second)}, which leaves DreamBooth largest; with the text encoders "
        f"trained too that takes {_fp32(text[0])} and {_fp32(text[1])}. What does shrink it is another form of the "
        "file: `booth export --to extracted` keeps a low rank of the change, which is about as large as a LoRA."
    )


def _table_of(result: dict[str, Any], base: str) -> str:
    smallest = find(result, base, SMALLEST)["parameters"]
    rows: list[list[str]] = []
    for r in by_size(result, base):
        only = ", what changed" if "replaced" in r else ""
        rows.append(_cells(r, f"{r['title']}{only}", r["parameters"], r["bytes"], smallest))
    for r in (r for r in by_size(result, base) if "replaced" in r):
        rows.append(_cells(r, f"{r['title']}, whole pipeline", r["whole_parameters"], r["whole_bytes"], smallest))
    missing = [r for r in result["rows"] if r["base"] == base and "why_not" in r]
    rows += [[r["title"], f"does not work here: {r['why_not']}", "", "", "", ""] for r in missing]
    return _table(["method", "at", "values", "fp32", "fp16", "times the smallest"], rows)


def _cells(r: Row, title: str, values: int, sizes: dict[str, int], smallest: int) -> list[str]:
    return [
        title,
        _at(r["settings"]),
        f"{values:,}",
        size(sizes["fp32"]),
        size(sizes["fp16"]),
        f"{values / smallest:,.0f}",
    ]


def _variants(result: dict[str, Any]) -> str:
    rows = [
        [v["title"], _name(v["base"]), _said(v["settings"]), f"{v['parameters']:,}", _fp32(v), size(v["bytes"]["fp16"])]
        for v in result["variants"]
    ]
    return _table(["method", "base", "not the default", "values", "fp32", "fp16"], rows)


def _checks(result: dict[str, Any]) -> str:
    rows = [
        [
            c["what"],
            _unit(c, "computed"),
            _unit(c, "published"),
            f"{c['published'] / c['computed'] - 1:+.2%}",
            c["source"],
        ]
        for c in result["checks"]
    ]
    return (
        _table(["what", "computed", "published", "difference", "where"], rows)
        + "\n\nFiles are a little larger than their numbers, by a header or by what pickling adds, and some figures "
        "are published rounded."
    )


def _how(result: dict[str, Any]) -> str:
    bases = result["bases"]
    written = [r for r in result["rows"] if "written" in r]
    headers = sorted(r["written"]["headers"] for r in written)
    subject, versions = result["subject"], result["versions"]
    whole = find(result, "embedded", LARGEST)
    return (
        "`python benchmarks/artefact_sizes.py` attaches every method of the registry with its defaults for the base's "
        "scale and counts the tensors that receive the gradient in any stage, each once. fp32 is what booth writes, 4 "
        "bytes a value; fp16 is the same tensors in half precision, as `booth export --precision fp16` writes them, "
        "where some formats add a number a layer. Bytes are decimal, and without the headers of the files.\n\n"
        f"On the embedded base the {len(written)} methods also wrote their artefacts, and the tensors in their files "
        f"were exactly as many bytes as counted, for every method; the headers took {headers[0]:,} to {headers[-1]:,} "
        "bytes beside them.\n\n"
        "At the real sizes nothing was loaded: the components are made from the published configurations on torch's "
        "meta device, where a tensor has a shape and no memory. The token tables alone are real, in zeros, because a "
        "token starts from numbers of theirs; and for the same reason methods with a token make their own tensors in "
        "memory. Every count is of tensors that the method itself made; none is a formula.\n\n"
        "Of DreamBooth and the two-stage method, *what changed* is the denoiser (and the token), which is what booth "
        "writes on a large base. *Whole pipeline* adds the other components in the same precision, without Stable "
        "Diffusion's safety checker. On a tiny base booth writes the whole folder, the rest copied as the base has it "
        f"({size(whole['written']['copied'])}, in half precision). See "
        "[what a DreamBooth concept holds](../decisions/dreambooth-files.md).\n\n"
        f'The subject was "{subject["token"]} {subject["noun"]}". Values in the parts of the bases: '
        + "; ".join(
            f"{_name(base)} " + ", ".join(f"{part} {count:,}" for part, count in about["parameters"].items())
            for base, about in bases.items()
        )
        + f". booth {result['booth']} at commit {result['commit'][:12]}"
        + (" with changes" if result["dirty"] else "")
        + ", "
        + ", ".join(f"{name} {versions[name]}" for name in ("torch", "diffusers", "transformers", "peft"))
        + ". All settings stand in [results/artefact_sizes.json](../../results/artefact_sizes.json)."
    )


def _name(base: str) -> str:
    return {"embedded": "the embedded base", "stable-diffusion-v1-5": "Stable Diffusion 1.5"}.get(base, "SDXL")


def _at(settings: dict[str, Any]) -> str:
    """What sets the size, without what the other kind of second stage would take."""
    unused = {"rank"} if settings.get("second") == "full" else set[str]()
    return _said({key: settings[key] for key in SIZING if settings.get(key) and key not in unused})


def _said(settings: dict[str, Any]) -> str:
    told = {
        key: ",".join(f"{x}" for x in value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return ", ".join(f"`{key}={value}`" for key, value in told.items())


def _fp32(r: Row) -> str:
    return size(r["bytes"]["fp32"])


def _listed(values: Sequence[int]) -> str:
    shown = [f"{v:,}" for v in values]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _unit(check: dict[str, Any], key: str) -> str:
    return size(check[key]) if check["unit"] == "bytes" else f"{check[key]:,.0f} values"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = {"values", "fp32", "fp16", "times the smallest", "computed", "published", "difference"}
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('--:' if h in right else '---' for h in head)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
