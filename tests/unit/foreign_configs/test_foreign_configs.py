"""Other trainers' configurations, as they stand in their documentation."""

from __future__ import annotations

import json
import tomllib

import pytest

from booth.config.settings import method_config
from booth.core.errors import BadDataError
from booth.foreign_configs.convert import convert

KOHYA = """
pretrained_model_name_or_path = "stable-diffusion-v1-5/stable-diffusion-v1-5"
train_data_dir = "img"
output_dir = "out"
output_name = "rex"
network_module = "networks.lora"
network_dim = 8
network_alpha = 1
learning_rate = 2e-4
unet_lr = 1e-4
text_encoder_lr = 5e-5
lr_scheduler = "cosine_with_restarts"
lr_warmup_steps = 20
max_train_steps = 1600
train_batch_size = 2
optimizer_type = "AdamW8bit"
mixed_precision = "fp16"
seed = 42
min_snr_gamma = 5
[advanced]
noise_offset = 0.05
clip_skip = 2
"""

DREAMBOOTH = """
export MODEL_NAME="stable-diffusion-v1-5/stable-diffusion-v1-5"
export INSTANCE_DIR="dog"

accelerate launch --mixed_precision=bf16 train_dreambooth_lora.py \\
  --pretrained_model_name_or_path=$MODEL_NAME  \\
  --instance_data_dir ${INSTANCE_DIR} \\
  --instance_prompt="a photo of sks big dog" --class_prompt="a photo of big dog" \\
  --with_prior_preservation --prior_loss_weight=0.5 \\
  --resolution=512 --train_batch_size=1 --gradient_accumulation_steps=2 --rank 8 \\
  --learning_rate=1e-4 --lr_scheduler="constant" --max_train_steps=500 --use_8bit_adam \\
  --validation_prompt="A photo of sks dog in a bucket" --push_to_hub
"""

INVERSION = """
accelerate launch textual_inversion.py --train_data_dir ./cat --placeholder_token="<cat-toy>" \\
  --initializer_token="toy" --train_batch_size=2 --gradient_accumulation_steps=4 --max_train_steps=3000 \\
  --learning_rate=5.0e-04 --scale_lr --num_vectors 2 --learnable_property="object"
"""


def test_the_weights_that_a_kohya_lora_goes_on_from_are_where_the_run_starts():
    more = 'network_weights = "old.safetensors"\n'
    values = tomllib.loads(convert(f"{more}{KOHYA}", "rex.toml").to_toml())
    assert values["start_from"] == "old.safetensors"
    assert "rank" in values["settings"]
    by_file = convert(f"dim_from_weights = true\n{more}{KOHYA}", "rex.toml")
    assert "rank" not in tomllib.loads(by_file.to_toml())["settings"]
    assert any("those of the file" in note for note in by_file.notes)


def test_a_kohya_lora_keeps_its_scale_and_says_what_the_rate_means():
    done = convert(KOHYA, "rex.toml")
    values = tomllib.loads(done.to_toml())
    settings = values.pop("settings")
    assert values == {"method": "lora", "photos": ["img"], "out": "out/rex", "precision": "fp16", "seed": 42,
                      "base": "stable-diffusion-v1-5/stable-diffusion-v1-5"}  # fmt: skip
    assert settings == {"rank": 8, "alpha": 1.0, "train_text_encoder": True, "text_encoder_learning_rate": 5e-5,
                        "learning_rate": 1e-4, "schedule": "cosine", "warmup": 20, "steps": 1600, "batch_size": 2,
                        "optimizer": "adamw8bit", "min_snr_gamma": 5.0, "prior_weight": 0.0}  # fmt: skip
    assert set(done.left) == {"noise_offset", "clip_skip"}
    assert "multiply them by 0.125" in done.notes[0]
    assert done.notes[1] == "unet_lr stands before learning_rate there, and here too."


def test_captions_sizes_and_what_booth_does_anyway():
    done = convert(
        'network_module = "networks.lora"\nresolution = "640,640"\nshuffle_caption = true\nkeep_tokens = 2\n'
        'caption_dropout_rate = 0.1\ncache_latents = true\nxformers = true\nsave_model_as = "safetensors"\n'
        "prior_loss_weight = 1.0\nmax_train_epochs = 10",
        "x",
    )
    wanted = {"method": "lora", "resolution": 640, "shuffle_tags": True, "keep_tags": 2}
    assert done.run == wanted
    assert done.settings["caption_dropout"] == 0.1
    assert done.settings["prior_weight"] == 0.0
    assert set(done.left) == {"max_train_epochs"}
    assert "Booth decides by itself, with the same result: cache_latents, xformers." in done.notes
    assert any("set steps to epochs" in note for note in done.notes)
    assert convert('network_module = "networks.lora"\nresolution = "640,512"', "x").left == {"resolution": "640,512"}


@pytest.mark.parametrize(
    ("arguments", "method", "settings", "left"),
    [
        (["algo=loha"], "loha", {}, set[str]()),
        (["algo=lokr", "factor=8"], "lokr", {"factor": 8}, set[str]()),
        (["algo=locon", "conv_dim=4", "conv_alpha=1"], "locon", {"conv_rank": 4}, {"network_args.conv_alpha"}),
        (["algo=locon", "dora_wd=True", "preset=attn-mlp"], "dora", {}, {"network_args.preset"}),
    ],
)
def test_lycoris_algorithms_are_methods_here(
    arguments: list[str], method: str, settings: dict[str, int], left: set[str]
):
    done = convert(f'network_module = "lycoris.kohya"\nnetwork_dim = 16\nnetwork_args = {arguments}', "x")
    assert done.run["method"] == method
    assert settings.items() <= done.settings.items()
    assert set(done.left) == left
    method_config(method, "full", done.settings)


def test_kohyas_own_lora_has_convolutions_where_asked_and_flux_is_a_lora():
    done = convert('network_module = "networks.lora"\nnetwork_args = ["conv_dim=4"]', "x")
    assert (done.run["method"], done.settings["conv_rank"]) == ("locon", 4)
    done = convert('network_module = "networks.lora_flux"\nguidance_scale = 1.0', "x")
    assert (done.run["method"], set(done.left)) == ("lora", {"guidance_scale"})


def test_dreambooth_trains_the_text_encoder_unless_told_not_to():
    for line, trained in (("", True), ("stop_text_encoder_training = -1", False)):
        done = convert(f'train_data_dir = "img"\n{line}', "x")
        assert done.settings["train_text_encoder"] is trained
        assert done.left == {}


def test_the_defaults_of_sd_scripts_are_rank_4_and_alpha_1():
    settings = convert('network_module = "networks.lora"\nlearning_rate = 1e-4', "x").settings
    assert (settings["rank"], settings["alpha"]) == (4, 1.0)
    assert settings["text_encoder_learning_rate"] == 1e-4
    alone = convert('network_module = "networks.lora"\nnetwork_train_unet_only = true', "x").settings
    assert alone["train_text_encoder"] is False


def test_datasets_give_photos_and_words_and_replace_the_folder():
    done = convert(
        'train_data_dir = "img"\n[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "a"\n'
        'class_tokens = "sks dog"\nnum_repeats = 10\n[[datasets.subsets]]\nimage_dir = "b"\n',
        "x",
    )
    wanted = {"method": "dreambooth", "photos": ["a", "b"], "token": "sks", "class": "dog", "resolution": 512}
    assert done.run == wanted
    assert set(done.left) == {"train_data_dir", "subsets.num_repeats"}


def test_class_pictures_among_the_datasets_are_not_photos_of_the_subject():
    done = convert(
        'network_module = "networks.lora"\nprior_loss_weight = 0.5\n[[datasets]]\n[[datasets.subsets]]\n'
        'image_dir = "reg"\nis_reg = true\nclass_tokens = "brown dog"\n[[datasets.subsets]]\nimage_dir = "rex"\n'
        'is_reg = false\nclass_tokens = "sks dog"',
        "x",
    )
    assert done.run == {"method": "lora", "photos": ["rex"], "token": "sks", "class": "dog"}
    assert done.settings["prior_weight"] == 0.5
    assert done.notes[-1] == "Class pictures are drawn from the base; those in reg are not used."
    assert done.left == {}


def test_options_of_a_dataset_and_its_subsets_are_converted_like_common_ones():
    done = convert(
        'network_module = "networks.lora"\n[general]\nshuffle_caption = true\nkeep_tokens = 1\n[[datasets]]\n'
        "resolution = [512, 512]\nbatch_size = 2\nenable_bucket = true\nmax_bucket_reso = 1024\n[[datasets.subsets]]\n"
        'image_dir = "a"\nkeep_tokens = 2\nflip_aug = true\ncaption_extension = ".txt"\nclass_tokens = "sks dog"\n'
        '[[datasets.subsets]]\nimage_dir = "b"\nflip_aug = false\nclass_tokens = "zwx cat"',
        "x",
    )
    assert done.run == {"method": "lora", "photos": ["a", "b"], "token": "sks", "class": "dog", "resolution": 512,
                        "shuffle_tags": True, "keep_tags": 2, "crop": "buckets", "flip": True}  # fmt: skip
    assert done.settings["batch_size"] == 2
    left = {"datasets.max_bucket_reso": 1024, "subsets.flip_aug": False, "subsets.class_tokens": "zwx cat"}
    assert done.left == left


def test_a_dataset_of_musubi_tuner_gives_its_photos_and_a_lora():
    done = convert(
        '[general]\nresolution = [960, 544]\ncaption_extension = ".txt"\nbatch_size = 1\nenable_bucket = true\n'
        '[[datasets]]\nimage_directory = "photos/rex"\nnum_repeats = 2\n',
        "x",
    )
    assert done.run == {"method": "lora", "photos": ["photos/rex"], "crop": "buckets"}
    assert done.left == {"resolution": [960, 544]}  # a shape that booth gives no photo
    assert done.notes == ["The file tells of photos and of no method: booth's default is taken, a LoRA."]


def test_buckets_are_a_crop():
    for word, crop in (("true", "buckets"), ("false", "center")):
        assert convert(f'train_data_dir = "img"\nenable_bucket = {word}', "x").run["crop"] == crop


def test_the_command_of_a_dreambooth_script():
    done = convert(DREAMBOOTH, "run.sh")
    assert done.run == {"method": "lora", "base": "stable-diffusion-v1-5/stable-diffusion-v1-5", "photos": ["dog"],
                        "token": "sks", "class": "big dog", "precision": "bf16", "resolution": 512}  # fmt: skip
    assert done.settings == {"rank": 8, "alpha": 8.0, "prior_weight": 0.5, "optimizer": "adamw8bit", "batch_size": 1,
                             "accumulate": 2, "learning_rate": 1e-4, "schedule": "constant", "steps": 500}  # fmt: skip
    assert set(done.left) == {"validation_prompt", "push_to_hub"}
    assert done.notes == []


def test_the_command_of_textual_inversion_scales_its_rate():
    done = convert(INVERSION, "run.sh")
    assert (done.run["method"], done.run["token"], done.run["class"]) == ("textual_inversion", "cat-toy", "toy")
    assert done.settings["learning_rate"] == pytest.approx(5e-4 * 2 * 4)
    assert done.settings["vectors"] == 2
    assert set(done.left) == {"learnable_property"}


def test_values_that_booth_has_not_are_listed_and_not_guessed():
    done = convert('network_module = "networks.oft"\noptimizer_type = "Lion"\nlr_scheduler = "adafactor"', "x")
    assert set(done.left) == {"network_module", "optimizer_type", "lr_scheduler"}
    assert "optimizer" not in done.settings
    assert done.notes[0] == "networks.oft is not an adapter that booth has; this is a plain LoRA in its place."


CUSTOM = """
accelerate launch train_custom_diffusion.py --instance_data_dir=./cat --class_prompt="cat" \\
  --instance_prompt="photo of a <new1> cat" --modifier_token "<new1>" --with_prior_preservation \\
  --prior_loss_weight=1.0 --num_class_images=200 --learning_rate=1e-5 --enable_xformers_memory_efficient_attention
"""
CONTROL = """
accelerate launch train_controlnet.py --train_data_dir=circles --output_dir=out --learning_rate=1e-5 \\
  --train_batch_size=4 --proportion_empty_prompts=0.5 --validation_image "a.png" "b.png" \\
  --controlnet_model_name_or_path nets/canny
"""


def test_the_commands_of_custom_diffusion_and_controlnet():
    done = convert(CUSTOM, "run.sh")
    assert done.run == {"method": "custom_diffusion", "token": "new1", "class": "cat", "photos": ["./cat"]}
    assert done.settings == {"prior_weight": 1.0, "class_pictures": 200, "learning_rate": 1e-5}
    assert done.left == {}
    done = convert(CONTROL, "run.sh")
    assert done.run == {"method": "controlnet", "photos": ["circles"], "out": "out", "start_from": "nets/canny"}
    assert done.settings == {"learning_rate": 1e-5, "batch_size": 4, "caption_dropout": 0.5}
    assert set(done.left) == {"validation_image"}


@pytest.mark.parametrize(
    ("prompts", "found"),
    [
        ('--instance_prompt="a photo of sks dog"', ("sks", "dog")),
        ('--instance_prompt="the photo of a <new1> dog"', ("new1", "dog")),
        ('--instance_prompt="a photo of sks dog in a bucket"', None),
        ('--instance_prompt="3d icon in the style of TOK"', None),
        ('--instance_prompt="sks dog"', None),
        ('--instance_prompt="a sks dog in a bucket" --class_prompt="a dog"', None),
        ('--instance_prompt="a sks dog in a bucket" --class_prompt="a dog in a bucket"', ("sks", "dog")),
    ],
)
def test_token_and_noun_are_found_or_asked_for(prompts: str, found: tuple[str, str] | None):
    done = convert(f"python train_dreambooth.py {prompts}", "run.sh")
    assert (done.run.get("token"), done.run.get("class")) == (found or (None, None))
    assert any("No token and noun were found" in note for note in done.notes) is (found is None)


@pytest.mark.parametrize(
    ("text", "method", "left"),
    [
        ('# accelerate launch train_network.py\nnetwork_module = "networks.lora"', "lora", set[str]()),
        ('train_data_dir = "d"\nwandb_run_name = "train_x.py"', "dreambooth", {"wandb_run_name"}),
        ("cd a; python b/train_dreambooth.py --push_to_hub; echo --done", "dreambooth", {"push_to_hub"}),
    ],
)
def test_a_command_is_told_from_what_stands_around_it(text: str, method: str, left: set[str]):
    done = convert(text, "x")
    assert (done.run["method"], set(done.left)) == (method, left)


def test_passwords_and_access_tokens_are_hidden():
    done = convert('network_module = "networks.lora"\nhuggingface_token = "SECRET"\nwandb_api_key = "SECRET"', "x")
    assert done.left == {"huggingface_token": "(hidden)", "wandb_api_key": "(hidden)"}
    done = convert("python train_dreambooth.py --hub_token=SECRET --modifier_token='<a>+<b>'", "x")
    assert done.left == {"hub_token": "(hidden)", "modifier_token": "<a>+<b>"}
    assert "SECRET" not in done.to_toml()


@pytest.mark.parametrize(
    ("options", "warmup", "told"),
    [
        ('lr_scheduler = "cosine"\nlr_warmup_steps = 0.1\nmax_train_steps = 1000', 100, None),
        ('lr_scheduler = "cosine"\nlr_warmup_steps = 0.1', None, "is a part of all steps there"),
        ('lr_scheduler = "constant"\nlr_warmup_steps = 500', None, "does nothing there"),
        ("lr_warmup_steps = 500", None, "does nothing there"),
        ('lr_scheduler = "constant_with_warmup"\nlr_warmup_steps = 500', 500, None),
        ('lr_scheduler = "constant"\nlr_warmup_steps = 0', None, None),
    ],
)
def test_warm_up_is_what_it_is_there(options: str, warmup: int | None, told: str | None):
    done = convert(f'network_module = "networks.lora"\n{options}', "x")
    assert done.settings.get("warmup") == warmup
    assert set(done.left) == ({"lr_warmup_steps"} if told else set())
    assert any((told or "lr_warmup") in note for note in done.notes) is (told is not None)


def test_a_lokr_of_whole_blocks_has_no_alpha():
    text = 'network_module = "lycoris.kohya"\nnetwork_alpha = 1\nnetwork_args = ["algo=lokr", "factor=8"]\n'
    done = convert(f"{text}network_dim = 100000", "x")
    assert (done.settings["rank"], "alpha" in done.settings) == (100_000, False)
    assert done.notes == ["Rank 100000 keeps LoKr's blocks whole, where alpha does nothing there; it is left unset."]
    done = convert(f"{text}network_dim = 16", "x")
    assert (done.settings["rank"], done.settings["alpha"]) == (16, 1.0)
    assert "keeps whole are scaled" in done.notes[1]


def test_a_script_whose_method_is_not_here_is_told():
    with pytest.raises(BadDataError, match=r"runs train_unconditional\.py, whose method booth does not have"):
        convert("python train_unconditional.py --resolution=64", "run.sh")
    dora = convert("python train_dreambooth_lora_sdxl_advanced.py --use_dora --rank=8", "run.sh")
    assert dora.run["method"] == "dora"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "no option of sd-scripts"),
        ("hello world", "neither a TOML of sd-scripts nor the command line"),
        ('python train_dreambooth.py --a "b', "quotes do not match"),
        ('seed = "many"', "seed = 'many' is no value"),
        ('network_module = "networks.lora"\nnetwork_dim = "many"', "value of another kind .*'many'"),
        ('network_module = "networks.lora"\nnetwork_args = ["conv_dim=many"]', "value of another kind .*'many'"),
        ('[[datasets]]\nresolution = "large"', "resolution = 'large' is no value"),
        ('datasets = ["img"]', r"value of another kind than its trainer takes\."),
        ("python train_dreambooth_lora.py --rank=many", "value of another kind .*'many'"),
    ],
)
def test_what_is_no_configuration_is_told(text: str, told: str):
    with pytest.raises(BadDataError, match=told):
        convert(text, "x")


@pytest.mark.parametrize(
    ("value", "taken"),
    [("true", True), ("false", False), ('"True"', True), ('"false"', False), ("0", False), ('"no"', False)],
)
def test_yes_and_no_are_read_in_quotes_too(value: str, taken: bool):
    done = convert(f'network_module = "networks.lora"\ngradient_checkpointing = {value}\nflip_aug = {value}', "x")
    assert (done.settings["gradient_checkpointing"], done.run["flip"]) == (taken, taken)
    alone = convert(f'network_module = "networks.lora"\nnetwork_train_unet_only = {value}', "x")
    assert alone.settings["train_text_encoder"] is not taken
    with pytest.raises(BadDataError, match="flip_aug = 'maybe' is no value"):
        convert('network_module = "networks.lora"\nflip_aug = "maybe"', "x")


@pytest.mark.parametrize(
    ("module", "arguments", "method"),
    [
        ("lycoris.kohya", '["algo=ia3"]', "ia3"),
        ("lycoris.kohya", '["algo=BOFT"]', "boft"),
        ("lycoris.kohya", '["algo=full"]', "dreambooth"),
        ("networks.lora_lumina", "[]", "lora"),
        ("networks.lora_qwen_image", "[]", "lora"),
        ("networks.lora", '"conv_dim=4"', "locon"),
    ],
)
def test_more_networks_are_known(module: str, arguments: str, method: str):
    done = convert(f'network_module = "{module}"\nnetwork_args = {arguments}\nnetwork_dim = 8', "x")
    assert (done.run["method"], done.left) == (method, {})
    assert ("rank" in done.settings) is (method in {"lora", "locon"})
    method_config(method, "full", done.settings)
    assert "networks.lora_fa" in convert('network_module = "networks.lora_fa"', "x").left.values()


GUI = {
    "LoRA_type": "LyCORIS/LoKr", "train_data_dir": "img", "reg_data_dir": "", "output_dir": "out", "output_name": "rex",
    "pretrained_model_name_or_path": "base", "max_resolution": "512,512", "optimizer": "AdamW8bit", "epoch": 10,
    "max_train_steps": 1600, "lr_scheduler": "cosine", "lr_warmup": 10, "network_dim": 8, "network_alpha": 1,
    "factor": 8, "conv_dim": 0, "text_encoder_lr": 0, "unet_lr": 1e-4, "learning_rate": 2e-4, "seed": "",
    "clip_skip": 2, "min_snr_gamma": 0, "gradient_checkpointing": False, "mixed_precision": "bf16", "noise_offset": 0,
}  # fmt: skip


def test_the_gui_of_sd_scripts_saves_json_with_every_field():
    done = convert(json.dumps(GUI), "x")
    assert done.run == {"method": "lokr", "photos": ["img"], "out": "out/rex", "base": "base", "resolution": 512,
                        "precision": "bf16"}  # fmt: skip
    assert done.settings == {"factor": 8, "rank": 8, "alpha": 1.0, "train_text_encoder": False, "prior_weight": 0.0,
                             "learning_rate": 1e-4, "steps": 1600, "schedule": "cosine", "warmup": 160,
                             "optimizer": "adamw8bit"}  # fmt: skip
    assert done.left == {"clip_skip": 2}
    kinds = {"Standard": "lora", "Flux1": "lora", "Kohya LoCon": "lora", "LyCORIS/iA3": "ia3", "LyCORIS/LoCon": "locon"}
    for kind, method in kinds.items():
        assert convert(json.dumps(GUI | {"LoRA_type": kind, "factor": -1}), "x").run["method"] == method


@pytest.mark.parametrize("end", ["\\\n", "`\n", "^\r\n", "\\\r\n"])
def test_a_command_goes_on_in_the_next_line_in_every_shell(end: str):
    done = convert(f"python train_dreambooth.py {end}  --instance_data_dir=dog {end} --seed=3\n", "x")
    assert (done.run["photos"], done.run["seed"]) == (["dog"], 3)


@pytest.mark.parametrize(
    ("line", "use"),
    [("export DIR=dog", "$DIR"), ("DIR='dog'", "${DIR}"), ("set DIR=dog", "%DIR%"), ('$env:DIR = "dog"', "$env:DIR"),
     ("%env DIR=dog", "$DIR")],
)  # fmt: skip
def test_names_are_filled_in_as_shells_have_them_or_told(line: str, use: str):
    command = f"python train_dreambooth.py --instance_data_dir={use}"
    assert convert(f"{line}\n{command}", "x").run["photos"] == ["dog"]
    assert f"does not say what {use} stands for" in convert(command, "x").notes[-1]


@pytest.mark.parametrize(
    ("script", "options", "method"),
    [
        ("train_network.py", "--network_module=networks.lora --network_args conv_dim=4 conv_alpha=1", "locon"),
        ("sd-scripts/sdxl_train_network.py", "--network_module networks.lora --network_dim 16", "lora"),
        ("flux_2_train_network.py", "--network_module=networks.lora_flux_2", "lora"),
        ("train_db.py", "", "dreambooth"),
        ("sdxl_train.py", "", "dreambooth"),
        ("train_textual_inversion.py", "--token_string=sks --init_word dog", "textual_inversion"),
    ],
)
def test_commands_of_sd_scripts_are_read_as_its_toml(script: str, options: str, method: str):
    common = (
        "--pretrained_model_name_or_path=b --train_data_dir img --learning_rate=1e-4 --max_train_steps=9 --xformers"
    )
    done = convert(f"accelerate launch {script} {common} {options}", "x")
    assert (done.run["method"], done.run["photos"], done.run["base"]) == (method, ["img"], "b")
    assert (done.settings["steps"], done.settings["learning_rate"]) == (9, 1e-4)
    assert set(done.left) == ({"network_args.conv_alpha"} if method == "locon" else set())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("config:\n  process:\n    - type: 'sd_trainer'\n", "of ai-toolkit; it is not read"),
        ('{"training_method": "LORA", "lora_rank": 16}', "of OneTrainer; it is not read"),
        ('{"--data_backend_config": "x.json"}', "of SimpleTuner; it is not read"),
        ("export MODEL_TYPE='lora'\n", "of SimpleTuner; it is not read"),
        ("micro_batch_size_per_gpu = 1\ngradient_accumulation_steps = 4\n", "of diffusion-pipe; it is not read"),
        ('photos = ["a"]\nclass = "dog"\n', "of booth itself"),
        ("gradient_accumulation_steps = 4\nlr_scheduler = 'cosine'", "no option of sd-scripts"),
        ('network_module = "networks.lora"\nmax_train_steps = 1e400', "max_train_steps = inf is no value"),
    ],
)
def test_other_trainers_are_told_by_name(text: str, told: str):
    with pytest.raises(BadDataError, match=told):
        convert(text, "x")
