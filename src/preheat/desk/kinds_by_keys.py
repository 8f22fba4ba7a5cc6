"""Kinds by keys: what a model is, by the names of its tensors.

The names are those that training and inference code of each kind writes: CompVis' and Stability's checkpoints,
diffusers, kohya's and peft's LoRAs, LyCORIS, ControlNet, CLIP and T5 of transformers and open_clip, ESRGAN and its kin.
"""

from collections.abc import Collection

from preheat.desk.model_apps import (
    CHECKPOINT,
    CLIP,
    CLIP_VISION,
    CONTROLNET,
    EMBEDDING,
    HYPERNETWORK,
    LANGUAGE,
    LORA,
    UNET,
    UPSCALER,
    VAE,
)

# In this order: the first rule of which one of the texts begins a key (or, after a star, is in it) decides.
_LORA = (
    "lora_unet_",
    "lora_te",
    "*.lora_up.",
    "*.lora_down.",
    "*.lora_A.",
    "*.lora_B.",
    "*.hada_w1",
    "*.lokr_w",
    "*lora.up.",
)
_CONTROLNET = (
    "control_model.",
    "controlnet_cond_embedding",
    "input_hint_block",
    "controlnet_blocks.",
    "controlnet_down_blocks",
)
_DIFFUSION = ("model.diffusion_model.",)
_REST_OF_CHECKPOINT = ("first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.", "vae.")
_UNET = (
    "double_blocks.",
    "single_blocks.",
    "joint_blocks.",
    "single_transformer_blocks.",
    "transformer_blocks.",
    "down_blocks.0.attentions.",
    "down_blocks.0.resnets.",
    "input_blocks.",
    "diffusion_model.",
    "patch_embedding.",
)
_VAE = (
    "first_stage_model.",
    "decoder.conv_in.",
    "decoder.up_blocks.",
    "decoder.up.",
    "decoder.conv1.",
    "decoder.upsamples.",
)
_VISION = ("vision_model.", "visual.", "visual_projection.")
_TEXT = (
    "text_model.",
    "encoder.block.0.layer.0.SelfAttention",
    "transformer.resblocks.",
    "conditioner.",
    "cond_stage_model.",
    "text_projection",
)
_UPSCALER = ("RRDB_trunk.", "body.0.rdb1.", "model.1.sub.0.", "conv_body.", "params_ema", "params", "upsampler.")
_LANGUAGE = ("model.layers.0.", "lm_head.", "transformer.h.0.", "model.embed_tokens.", "model.language_model.")
_MOST_TENSORS_OF_EMBEDDING = 8


def kind_by_keys(keys: Collection[str]) -> str:
    """Return the kind of a model with these tensors; empty if they are of no known kind."""
    if not keys:
        return ""
    if _has(keys, _LORA):
        return LORA
    if _has(keys, _CONTROLNET):
        return CONTROLNET
    if _has(keys, _DIFFUSION):
        return CHECKPOINT if _has(keys, _REST_OF_CHECKPOINT) else UNET
    if "string_to_param" in keys or "emb_params" in keys:
        return EMBEDDING
    if len(keys) <= _MOST_TENSORS_OF_EMBEDDING and {"clip_g", "clip_l"} & set(keys):
        return EMBEDDING
    if {"layer_structure", "activation_func"} <= set(keys):
        return HYPERNETWORK
    rules = (
        (VAE, _VAE),
        (UNET, _UNET),
        (CLIP_VISION, _VISION),
        (CLIP, _TEXT),
        (LANGUAGE, _LANGUAGE),
        (UPSCALER, _UPSCALER),
    )
    found = next((kind for kind, texts in rules if _has(keys, texts)), "")
    # CLIP as a whole has both towers: it is used for its text.
    return CLIP if found == CLIP_VISION and _has(keys, ("text_model.", "transformer.resblocks.")) else found


def _has(keys: Collection[str], texts: tuple[str, ...]) -> bool:
    begins = tuple(text for text in texts if not text.startswith("*"))
    inside = tuple(text[1:] for text in texts if text.startswith("*"))
    return any(key.startswith(begins) or any(text in key for text in inside) for key in keys)
