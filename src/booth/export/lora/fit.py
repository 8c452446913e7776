"""Whether the factors of a layer fit each other and its weight, told by their sides before anything is multiplied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from booth.export.turns import side_of

Sizes = Sequence[int]
WHOLE = {  # the sets of factors that make a layer
    "lora": ({"down", "up"}, {"down", "up", "mid"}),
    "loha": ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"},
             {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}),
    "lokr": tuple(a | b for a in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
                  for b in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2_a", "lokr_w2_b", "lokr_t2"})),
    "glora": ({"a1", "a2", "b1", "b2"},),
    "oft": ({"oft_blocks"}, {"oft_blocks", "rescale"}, {"oft_diag"}, {"oft_r"}),
    "boft": ({"boft_R", "boft_s"},),
    "ia3": ({"ia3", "on_input"}, {"ia3_l"}),
    "vera": ({"vera_lambda_b", "vera_lambda_d", "vera_A", "vera_B"},),
    "diff": ({"diff"},),
    "whole": ({"whole"},),
}  # fmt: skip
# A file of a few kilobytes may hold a core and factors whose product has no end; no trainer has factors so large.
MOST_GROWTH = 64  # times the weight's own size
BUTTERFLIES = 32  # turns at most, by which rows as far apart as any layer has them meet
SMALL = 1 << 22  # values, which are always let pass


class Misfit(Exception):
    """Why factors make no update of a weight; `made` are the sides of their product where only these are wrong."""

    def __init__(self, why: str, made: Sizes | None = None) -> None:
        super().__init__(why)
        self.made = made


def is_whole(kind: str, names: set[str]) -> bool:
    """Whether a layer has all factors of its kind and no other."""
    return names in WHOLE[kind]


def require_fit(kind: str, factors: Mapping[str, Tensor], magnitude: Tensor | None, wanted: Sizes) -> None:
    """Misfit unless the whole factors of a layer, Tucker cores included, make an update of a weight of these sides."""
    sizes = {name: tuple(t.shape) for name, t in factors.items()}
    if any(0 in shape for shape in sizes.values()):
        raise Misfit("have rank 0, so that they hold no numbers")
    out, inner = wanted[0], (wanted[1] if len(wanted) > 1 else 1)
    if kind in {"oft", "boft"} and sizes.keys().isdisjoint({"oft_blocks", "oft_diag"}):
        _require_turned_columns(sizes, wanted)
    elif kind == "oft":
        _require_turns(sizes, out)
    elif kind == "ia3":
        _require_factors(factors, out, inner)
    elif kind == "vera":
        _require_shared(sizes, wanted)
    else:
        made = {"lora": _lora, "loha": _loha, "lokr": _lokr, "glora": _glora}.get(kind, _plain)(sizes)
        if not _same(made, wanted):
            raise Misfit("make another shape", made)
    if magnitude is not None and not _are_lengths(magnitude.shape, out, inner):
        raise Misfit("have lengths of another number than the rows or the columns")
    _require_bounded(sizes, wanted)


def _same(made: Sizes, wanted: Sizes) -> bool:
    """Of two sides the second may hold a kernel's flattened; of more there may be ones that the weight has not."""
    if len(made) < 3:
        return made[0] == wanted[0] and math.prod(made) == math.prod(wanted)
    made, wanted = (tuple(sides[:2]) + tuple(s for s in sides[2:] if s != 1) for sides in (made, wanted))
    return made == wanted


def _lora(s: Mapping[str, Sizes]) -> Sizes:
    up, down, mid = s["up"], s["down"], s.get("mid")
    if len(up) < 2 or len(down) < 2 or math.prod(up[2:]) != 1:
        raise _apart()
    if mid is None:
        if up[1] != down[0]:
            raise _apart()
        return (up[0], *down[1:])
    if len(mid) < 3 or up[1] != mid[0] or mid[1] != down[0] or math.prod(down[2:]) != 1:
        raise _apart()
    return (up[0], down[1], *mid[2:])


def _loha(s: Mapping[str, Sizes]) -> Sizes:
    halves = [_half(s[f"hada_w{i}_a"], s[f"hada_w{i}_b"], s.get(f"hada_t{i}")) for i in (1, 2)]
    if halves[0] != halves[1]:
        raise _apart()
    return halves[0]


def _half(a: Sizes, b: Sizes, core: Sizes | None) -> Sizes:
    """Of the product of two factors: (out, r) (r, in), or with a core (r, out), (r, in) and (r, r, ...)."""
    if len(a) != 2 or len(b) != 2:
        raise _apart()
    if core is None:
        if a[1] != b[0]:
            raise _apart()
        return a[0], b[1]
    if len(core) < 3 or a[0] != core[0] or b[0] != core[1]:
        raise _apart()
    return (a[1], b[1], *core[2:])


def _lokr(s: Mapping[str, Sizes]) -> Sizes:
    first = s["lokr_w1"] if "lokr_w1" in s else _half(s["lokr_w1_a"], s["lokr_w1_b"], None)
    second = s["lokr_w2"] if "lokr_w2" in s else _half(s["lokr_w2_a"], s["lokr_w2_b"], s.get("lokr_t2"))
    if len(first) != 2 or len(second) < 2:
        raise _apart()
    return (first[0] * second[0], first[1] * second[1], *second[2:])


def _glora(s: Mapping[str, Sizes]) -> Sizes:
    a1, a2, b1, b2 = ((shape[0], math.prod(shape[1:])) for shape in (s["a1"], s["a2"], s["b1"], s["b2"]))
    if b1[1] == b2[0] and a1[1] == a2[0] and a1[0] == a2[1]:
        return b1[0], b2[1]
    if b2[1] == b1[0] and a2[1] == a1[0] and a1[1] == a2[0]:
        return b2[0], b1[1]
    raise _apart()


def _require_turns(s: Mapping[str, Sizes], out: int) -> None:
    blocks, turns = s["oft_blocks" if "oft_blocks" in s else "oft_diag"], 1
    if len(blocks) == 4:  # BOFT's, whose last turn mixes rows that lie so far apart
        turns, *blocks = blocks
        if blocks[-1] % 2 or turns > BUTTERFLIES or out % (2**turns * (blocks[-1] // 2)):
            raise _apart()
    if len(blocks) != 3 or blocks[1] != blocks[2] or math.prod(s.get("rescale", (out,))) != out:
        raise _apart()
    if blocks[0] * blocks[1] != out:
        raise Misfit(f"turn {blocks[0] * blocks[1]} rows and not {out}")


def _require_turned_columns(s: Mapping[str, Sizes], wanted: Sizes) -> None:
    """peft's, of linear layers and convolutions of one pixel."""
    width = math.prod(wanted[1:])
    if len(wanted) < 2 or math.prod(wanted[2:]) != 1:
        raise Misfit("turn a convolution's patches, which are not read")
    if "oft_r" in s:
        blocks = s["oft_r"]
        side = side_of(blocks[1]) if len(blocks) == 2 else 0
        if not side or width % side or blocks[0] not in (1, width // side):
            raise Misfit(f"turn other columns than {width}")
        return
    blocks, scale = s["boft_R"], s["boft_s"]
    if len(blocks) != 4 or blocks[2] != blocks[3] or blocks[3] % 2 or math.prod(scale) != wanted[0]:
        raise _apart()
    if blocks[0] > BUTTERFLIES or blocks[1] * blocks[3] != width or width % (blocks[3] * 2 ** (blocks[0] - 1)):
        raise Misfit(f"turn other columns than {width}")


def _require_shared(s: Mapping[str, Sizes], wanted: Sizes) -> None:
    """VeRA's vectors, and the matrices that all layers share."""
    b, d, a, up = (s[name] for name in ("vera_lambda_b", "vera_lambda_d", "vera_A", "vera_B"))
    if len(wanted) != 2 or (len(b), len(d), len(a), len(up)) != (1, 1, 2, 2):
        raise _apart()
    if b[0] != wanted[0] or a[0] != d[0] or up[1] != d[0] or a[1] < wanted[1] or up[0] < wanted[0]:
        raise _apart()


def _require_factors(factors: Mapping[str, Tensor], out: int, inner: int) -> None:
    """IA3's, of which there is one for each row or, where it is told so, for each column."""
    if "ia3_l" in factors:
        if tuple(factors["ia3_l"].shape) not in {(out, 1), (1, inner)}:
            raise Misfit(f"are neither {out} for the rows nor {inner} for the columns")
        return
    if factors["on_input"].numel() != 1:
        raise Misfit("do not say whether they are on the input")
    wanted, what = (inner, "columns") if bool(factors["on_input"].any()) else (out, "rows")
    if factors["ia3"].numel() != wanted:
        raise Misfit(f"scale {factors['ia3'].numel()} {what} and not {wanted}")


def _plain(s: Mapping[str, Sizes]) -> Sizes:
    return next(iter(s.values()))


def _apart() -> Misfit:
    return Misfit("do not fit each other")


def _are_lengths(shape: Sizes, out: int, inner: int) -> bool:
    return math.prod(shape) == out or (shape[0] == 1 and len(shape) > 1 and math.prod(shape) == shape[1] == inner)


def _require_bounded(sizes: Mapping[str, Sizes], wanted: Sizes) -> None:
    """Misfit where a core's product with the factor beside it would outgrow what the weight is."""
    kernel = math.prod(wanted[2:])
    inner = {"mid": "down", "hada_t1": "hada_w1_b", "hada_t2": "hada_w2_b", "lokr_t2": "lokr_w2_b"}
    for core, beside in inner.items():
        if core in sizes:
            grown = sizes[core][0] * sizes[beside][1] * kernel
            if grown > max(SMALL, MOST_GROWTH * math.prod(wanted)):
                raise Misfit(f"have a core of rank {sizes[core][0]}, which no layer of this size has")
