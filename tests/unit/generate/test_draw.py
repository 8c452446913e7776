"""Drawing: what the bytes of a picture depend on."""

import numpy as np
import pytest
import torch
from PIL import Image as Images

from booth.core.cancel import CancelToken, cancellable
from booth.core.errors import Cancelled, NotFiniteError, UsageError
from booth.core.family import Family
from booth.core.threads import computing_with
from booth.generate import draw as drawing
from booth.generate.draw import draw, drawn_at_once
from booth.generate.png import SAMPLERS
from booth.generate.start import Start
from harness import computing_as_we_do


def same(a, b) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


PROMPTS = [
    "a photo of a dog",
    "a cat on the beach",
    "a red teapot",
    "a bus",
    "an owl at night",
    "a boot",
    "a toy",
    "a key",
]


@pytest.mark.parametrize("cores", [1, 2])
def test_the_same_seed_draws_the_same_bytes_whatever_is_drawn_beside_it(toy: Family, cores: int) -> None:
    with computing_with(cores):
        together = draw(toy, PROMPTS, [*range(8)], steps=2)
        for seed, (prompt, image) in enumerate(zip(PROMPTS, together)):
            assert same(draw(toy, [prompt], [seed], steps=2)[0], image)


def rows_of_passes(model: Family, pictures: int, **how) -> list[int]:
    """How many rows the denoiser is given at each step of drawing."""
    rows: list[int] = []
    watching = model.sites.denoiser.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        with computing_with(1):
            draw(model, PROMPTS[:pictures], [*range(pictures)], steps=3, **how)
    finally:
        watching.remove()
    return rows


@pytest.mark.parametrize(
    ("pictures", "proved", "drawn"),
    [(1, [], [1]), (2, [2], [2]), (4, [4], [4]), (5, [2, 3], [3, 2]), (7, [3, 4], [4, 3]), (8, [4], [4, 4])],
)
def test_one_core_draws_several_pictures_in_a_pass(
    toy: Family, pictures: int, proved: list[int], drawn: list[int]
) -> None:
    """Of each number two steps first show that the first and the last of them are what they are alone."""
    proof = [rows for count in proved for rows in (count, count, 1, 1, 1, 1)]
    assert rows_of_passes(toy, pictures) == [2 * n for n in proof + [n for n in drawn for _ in range(3)]]
    assert rows_of_passes(toy, pictures, batch_size=1) == [2] * 3 * pictures


@pytest.mark.parametrize("number", [0, 3])
def test_pictures_that_depend_on_their_neighbours_are_drawn_one_by_one(toy: Family, number: int) -> None:
    """As where a library's product of several rows is not to the bit those of each, at one end of them or the other."""
    alone = [draw(toy, [prompt], [seed], steps=3)[0] for seed, prompt in enumerate(PROMPTS[:4])]

    def drift(_: object, given: tuple, output) -> object:
        if len(given[0]) == 8:
            output[0][[number, 4 + number]] *= 1 + 1e-6
        return output

    drifting = toy.sites.denoiser.register_forward_hook(drift)
    try:
        assert rows_of_passes(toy, 4) == [8, 8, 2, 2, 2, 2] + [2] * 12
        assert all(map(same, draw(toy, PROMPTS[:4], [0, 1, 2, 3], steps=3), alone))
    finally:
        drifting.remove()


@pytest.mark.parametrize(
    ("count", "workers", "each"), [(0, 2, 1), (1, 2, 1), (2, 2, 1), (3, 2, 2), (8, 2, 4), (9, 2, 3), (10, 1, 4)]
)
def test_workers_have_about_as_many_to_draw(count: int, workers: int, each: int) -> None:
    assert drawing._evenly(count, workers) == each


@pytest.mark.parametrize("how", [{}, {"scheduler": "euler-a", "guidance": 1.0}, {"start": True}])
def test_the_bytes_of_a_picture_do_not_depend_on_the_cores(toy: Family, how: dict) -> None:
    how = dict(how)
    prompts, seeds, cores = (
        ["a photo of a dog", "a cat on the beach", "a red teapot"],
        [3, 4, 5],
        torch.get_num_threads(),
    )
    if how.pop("start", False):
        start = Start(Images.new("RGB", (32, 32), "red"), 0.7, Images.linear_gradient("L").resize((32, 32)))
        how["starts"] = [start] * 3
    drawn: list[list] = []
    heard: list[int] = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            drawn.append(draw(toy, prompts, seeds, steps=3, on_picture=heard.append, **how))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(cores)
    assert heard == [1, 2, 3] * 3
    assert all(same(a, b) and same(a, c) for a, b, c in zip(*drawn, strict=True))


@pytest.mark.parametrize("cores", [1, 2])
def test_as_many_are_drawn_at_once_as_are_said_to_be(toy: Family, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[int] = []
    side_by_side = drawing.side_by_side
    monkeypatch.setattr(drawing, "side_by_side", lambda tasks: beside.append(len(tasks)) or side_by_side(tasks))
    with computing_with(cores):
        draw(toy, ["a dog"] * 4, [0, 1, 2, 3], steps=1)
        assert drawn_at_once(toy, 4) == 4
        assert set(beside) == ({2} if cores == 2 else set())


def test_pictures_side_by_side_look_at_the_cancel_token(toy: Family) -> None:
    token, cores = CancelToken(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with cancellable(token), pytest.raises(Cancelled):
            draw(toy, ["a dog"] * 9, [*range(9)], steps=1, on_picture=lambda done: token.cancel())
    finally:
        torch.set_num_threads(cores)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_picture_ends_at_the_step_at_which_it_is_cancelled(toy: Family, cores: int) -> None:
    token, before, steps = CancelToken(), torch.get_num_threads(), []
    denoiser = toy.sites.denoiser
    assert denoiser is not None

    def third(*_: object) -> None:
        steps.append(1)
        if len(steps) == 3:
            token.cancel("The node goes away.")

    torch.set_num_threads(cores)
    watching = denoiser.register_forward_pre_hook(third)
    try:
        with cancellable(token), pytest.raises(Cancelled, match="goes away"):
            draw(toy, ["a dog"] * 4, [0, 1, 2, 3], steps=20)
    finally:
        watching.remove()
        torch.set_num_threads(before)
    assert len(steps) <= 2 + 2 * cores
    assert not denoiser._forward_pre_hooks
    assert len(draw(toy, ["a dog"], [0], steps=2)) == 1  # nothing of it is left


def test_another_seed_prompt_or_negative_prompt_draws_another_picture(toy: Family) -> None:
    first = draw(toy, ["a dog"], [0], steps=2)[0]
    assert not same(first, draw(toy, ["a dog"], [1], steps=2)[0])
    assert not same(first, draw(toy, ["a cat"], [0], steps=2)[0])
    assert not same(first, draw(toy, ["a dog"], [0], steps=2, negative="a cat")[0])


def test_a_picture_is_what_the_pipeline_of_diffusers_draws(toy: Family) -> None:
    ours = draw(toy, ["a dog"], [7], steps=3, guidance=4.0, negative="a cat")[0]
    pipe = toy.pipeline()
    with computing_as_we_do(pipe):
        theirs = pipe(
            "a dog",
            negative_prompt="a cat",
            num_inference_steps=3,
            guidance_scale=4.0,
            generator=torch.Generator().manual_seed(7),
        ).images[0]
    assert same(ours, theirs)


def test_batches_draw_the_same_pictures_up_to_rounding(toy: Family) -> None:
    prompts = ["a dog", "a cat", "a teapot"]
    alone = draw(toy, prompts, [0, 1, 2], steps=2)
    together = draw(toy, prompts, [0, 1, 2], steps=2, batch_size=2)
    for a, b in zip(alone, together):
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


@pytest.mark.parametrize("scheduler", [name for name in SAMPLERS if name])
def test_every_named_scheduler_draws_the_same_twice(toy: Family, scheduler: str) -> None:
    first, second = (draw(toy, ["a dog"], [0], steps=4, scheduler=scheduler)[0] for _ in range(2))
    assert same(first, second)


def test_a_picture_of_no_numbers_is_an_error_and_not_black(toy: Family) -> None:
    how = {"steps": 3, "scheduler": "euler-a"}
    with torch.no_grad():
        next(toy.vae.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"no numbers, drawn with euler-a in 3 steps.*`scheduler`"):
        draw(toy, ["a dog"], [0], **how)
    (black,) = draw(toy, ["a dog"], [0], require_finite=False, **how)
    assert not np.asarray(black).any()


def test_progress_counts_finished_pictures(toy: Family) -> None:
    heard: list[int] = []
    draw(toy, ["a dog"] * 3, [0, 1, 2], steps=1, on_picture=heard.append)
    assert heard == [1, 2, 3]


def test_size_is_the_side_of_the_picture(toy: Family) -> None:
    assert draw(toy, ["a dog"], [0], steps=1)[0].size == (32, 32)
    assert draw(toy, ["a dog"], [0], steps=1, size=48)[0].size == (48, 48)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"size": 33}, "multiple of 8"),
        ({"steps": 0}, "at least 1"),
        ({"steps": 1001}, "more than this base has: 1000"),
        ({"guidance": float("nan")}, "nan makes no sense"),
        ({"guidance": float("inf")}, "inf makes no sense"),
        ({"scheduler": "magic"}, "There are: ddim"),
    ],
)
def test_what_cannot_be_drawn_is_a_usage_error(toy: Family, how: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        draw(toy, ["a dog"], [0], **how)


@pytest.mark.parametrize("seed", [2**63, 2**64, -1])
def test_what_is_no_seed_is_a_usage_error(toy: Family, seed: int) -> None:
    with pytest.raises(UsageError, match=rf"and {seed} is none"):
        draw(toy, ["a dog", "a cat"], [7, seed], steps=1)


def test_a_seed_a_picture_is_needed(toy: Family) -> None:
    with pytest.raises(UsageError, match="one seed a picture"):
        draw(toy, ["a dog"], [0, 1])
