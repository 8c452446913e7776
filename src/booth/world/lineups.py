"""Pictures of individuals beside others of their noun: what an identity judge learns from and is tested on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np

from booth.world.identity import Identity, near_identities, sample_identity
from booth.world.judges import NOUN_NAMES, SIDE
from booth.world.render import Factors, render
from booth.world.sampling import sample_factors

RIVALS = 7  # near-identical individuals of the same noun beside each one: the hard negatives
VIEWS = 2  # pictures of each individual


def _group(task: tuple[int, int, bool]) -> tuple[np.ndarray, list[Identity]]:
    seed, index, held_out = task
    rng = np.random.default_rng([seed, index])
    first = sample_identity(rng, NOUN_NAMES[int(rng.integers(len(NOUN_NAMES)))], held_out=held_out)
    individuals = [first, *near_identities(first, rng, RIVALS)]
    return _views(rng, individuals, held_out), individuals


def _lineup(task: tuple[int, int]) -> np.ndarray:
    """Two pictures each of a held-out individual and of ten others of its noun: (11, 2, 64, 64, 3) uint8."""
    rng = np.random.default_rng(task)
    noun = NOUN_NAMES[int(rng.integers(len(NOUN_NAMES)))]
    individuals: list[Identity] = []
    while len(individuals) < 11:
        other = sample_identity(rng, noun, held_out=True)
        if other not in individuals:
            individuals.append(other)
    return _views(rng, individuals, held_out=True)


def _views(rng: np.random.Generator, individuals: list[Identity], held_out: bool) -> np.ndarray:
    split = "new_identity" if held_out else "train"
    return np.stack(
        [np.stack([render(sample_view(rng, split, i), SIDE).image for _ in range(VIEWS)]) for i in individuals]
    )


def sample_view(rng: np.random.Generator, split: str, identity: object) -> Factors:
    """A picture of one individual alone, in its own colours."""
    while True:
        factors = sample_factors(rng, split, identity=identity, two_share=0.0)  # type: ignore[arg-type]
        if factors.objects[0].colour is None and factors.objects[0].material is None:
            return factors


def identity_groups(count: int, seed: int, held_out: bool, workers: int) -> tuple[np.ndarray, list[list[Identity]]]:
    """Groups of eight near-identical individuals in two pictures each: uint8 (count, 8, 2, 64, 64, 3)."""
    tasks = [(seed, i, held_out) for i in range(count)]
    with ProcessPoolExecutor(workers) as pool:
        pictures, individuals = zip(*pool.map(_group, tasks, chunksize=16), strict=True)
    return np.stack(pictures), list(individuals)


def lineups(count: int, seed: int, workers: int) -> np.ndarray:
    """Held-out individuals, each first among ten others of its noun, in two pictures: (count, 11, 2, 64, 64, 3)."""
    with ProcessPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(_lineup, [(seed, i) for i in range(count)], chunksize=16)))
