"""How the files of a concept are called, which methods write and exporters and families read."""

LORA = "pytorch_lora_weights.safetensors"
EMBEDDING = "learned_embeds.safetensors"
HYPERNETWORK = "hypernetwork.safetensors"
CUSTOM_DIFFUSION = "pytorch_custom_diffusion_weights.safetensors"
CONTROLNET = "controlnet"  # a folder in diffusers' layout
PEFT_WEIGHTS, PEFT_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
PEFT_ROOT = "base_model.model."  # peft's name for the model that it wraps
