"""Settings that choose by name: which class and with which options, and what is told before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.choices import loss_of, optimizer_of, require_choices, schedule_of, timesteps_of, weighting_of
from booth.config.loading import load_run_config
from booth.config.settings import method_config
from booth.core.errors import UsageError
from booth.core.method import MethodConfig


def test_without_a_word_all_is_as_it_was() -> None:
    config = MethodConfig()
    assert (optimizer_of(config).name, schedule_of(config).name) == ("adamw", "constant")
    assert (weighting_of(config).name, loss_of(config).name, timesteps_of(config)) == ("constant", "mse", None)


def test_min_snr_gamma_asks_for_min_snr() -> None:
    assert weighting_of(MethodConfig(min_snr_gamma=3.0)).model_dump() == {"gamma": 3.0}
    assert weighting_of(MethodConfig(weighting="min_snr")).model_dump() == {"gamma": 5.0}
    assert weighting_of(MethodConfig(weighting="min_snr", min_snr_gamma=3.0)).model_dump() == {"gamma": 3.0}
    for other in ({"weighting": "p2"}, {"weighting": "min_snr", "options": {"weighting": {"gamma": 2.0}}}):
        with pytest.raises(UsageError, match="Leave one of them out"):
            weighting_of(MethodConfig.model_validate({"min_snr_gamma": 3.0} | other))


def test_options_are_the_settings_of_what_was_chosen() -> None:
    options = {"optimizer": {"beta1": 0.5}, "loss": {"delta": 2.0}, "timesteps": {"mean": 1.0}}
    config = MethodConfig(loss="huber", timesteps="logit_normal", options=options)
    assert optimizer_of(config).model_dump()["beta1"] == 0.5
    assert loss_of(config).model_dump() == {"delta": 2.0}
    assert timesteps_of(config).model_dump() == {"mean": 1.0, "std": 1.0}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimizer": "adamv"}, r"no optimizer called 'adamv'. Did you mean 'adamw'\?"),
        ({"weighting": "p3"}, r"no loss weighting called 'p3'"),
        (
            {"options": {"optimizer": {"beta": 0.5}}},
            r"no setting 'beta' of the optimizer adamw. Did you mean 'beta[12]'\?",
        ),
        ({"options": {"schedule": {"power": 2}}}, r"no setting 'power' of the schedule constant. It has none"),
        ({"options": {"optimizer": {"beta1": 1.5}}}, r"beta1=1.5 of the optimizer adamw does not work.*less than 1"),
        ({"options": {"colour": {"a": 1}}}, r"options has settings of 'colour'. It takes those of optimizer, schedule"),
        (
            {"timesteps": None, "options": {"timesteps": {"mean": 1}}},
            r"settings of timesteps, mean, and timesteps names none",
        ),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_loaded(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        method_config("lora", "tiny", settings)


def test_an_option_is_assigned_behind_a_dot(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('photos = "photos"\nclass = "dog"\n[settings.options.timesteps]\nmean = 0.5\nstd = 2.0\n')
    assigned = ["optimizer.beta1=0.5", "optimizer.beta2=0.9", "timesteps=logit_normal", "timesteps.mean=1"]
    config = load_run_config(file, {}, assigned)
    assert config.settings == {
        "timesteps": "logit_normal",
        "options": {"optimizer": {"beta1": 0.5, "beta2": 0.9}, "timesteps": {"mean": 1, "std": 2.0}},
    }
    require_choices(method_config(config.method, "tiny", config.settings))


def test_a_class_may_stand_for_a_method_and_leaves_no_colon_in_a_folders_name() -> None:
    config = load_run_config(None, {"photos": ["p"], "noun": "dog", "method": "booth.methods.lora:LoRA"})
    assert config.folder.name == "sks-dog-LoRA"
