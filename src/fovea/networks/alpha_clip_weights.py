"""CLIPs with an alpha plane from weights, from directories, and to them.

On disk such a model is a directory of Hugging Face's ``CLIPModel`` with one weight more and ``"alpha": true`` in its
``config.json``: what knows nothing of alpha reads the CLIP in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.alpha_clip import AlphaPatchEmbedding, add_alpha
from fovea.networks.checkpoint_files import read_checkpoint
from fovea.networks.openai_clip import ALPHA_KEY
from fovea.networks.pixels import CLIP_MEAN, CLIP_STD

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

# Where the module has what files call ALPHA_KEY.
_MODULE_KEY = "vision_model.embeddings.patch_embedding.alpha.weight"

#: The released picture towers by channels, pixels per patch and positions, with the CLIP that each was trained from.
RELEASED = {
    (768, 32, 50): ("ViT-B/32", "openai/clip-vit-base-patch32"),
    (768, 16, 197): ("ViT-B/16", "openai/clip-vit-base-patch16"),
    (1024, 14, 257): ("ViT-L/14", "openai/clip-vit-large-patch14"),
    (1024, 14, 577): ("ViT-L/14@336", "openai/clip-vit-large-patch14-336"),
}


@dataclass(frozen=True)
class TowerSizes:
    """Sizes of a picture tower, as its weights show them.

    Attributes:
        width: channels.
        patch: pixels per side of a patch.
        positions: one per patch and one for the class token.
        layers: blocks.
        embed: length of the embedding that pictures and texts share.
    """

    width: int
    patch: int
    positions: int
    layers: int
    embed: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> TowerSizes:
        """Read sizes off the weights of a picture tower under Hugging Face's names.

        Raises:
            CheckpointError: weights are missing that show them.
        """
        embeddings = "vision_model.embeddings."
        try:
            width, _, patch, _ = state[f"{embeddings}patch_embedding.weight"].shape
            positions = len(state[f"{embeddings}position_embedding.weight"])
            embed = len(state["visual_projection.weight"])
        except KeyError as error:
            raise CheckpointError(f"the weights lack {error.args[0]}", "is it a CLIP?") from None
        return cls(width, patch, positions, _count(state, "vision_model.encoder.layers."), embed)

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.patch * round((self.positions - 1) ** 0.5)

    @property
    def released(self) -> tuple[str, str] | None:
        """What the released tower of these sizes is called, and the hub name of the CLIP that it was trained from."""
        return RELEASED.get((self.width, self.patch, self.positions))

    def check_base(self, base: TowerSizes) -> None:
        """Refuse the texts of another CLIP: they would be compared with pictures of this one all the same.

        Raises:
            CheckpointError: the base has other sizes; says which is the first.
        """
        name, hub = self.released or ("the checkpoint", "")
        for field, what in (
            ("width", "channels"),
            ("patch", "pixels per patch"),
            ("positions", "positions"),
            ("layers", "blocks"),
            ("embed", "dimensions of the embedding"),
        ):
            own, other = getattr(self, field), getattr(base, field)
            if own != other:
                theirs = f", {base.released[0]}" if base.released else ""
                raise CheckpointError(
                    f"{own} {what} belong to {name}, this base has {other}{theirs}",
                    f"give the CLIP that it was trained from{', ' + hub if hub else ''}",
                )


def has_texts(state: Mapping[str, Tensor]) -> bool:
    """Whether weights under Hugging Face's names are those of both towers."""
    return "text_projection.weight" in state


def with_texts_of(base: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A picture tower with the text tower and the temperature of the CLIP that it was trained from.

    Args:
        base: weights of a whole CLIP under Hugging Face's names.
        state: likewise, of which only the picture tower counts.

    Raises:
        CheckpointError: the base is another CLIP, or has no text tower.
    """
    if not has_texts(base):
        raise CheckpointError("the base has no text tower", "give a whole CLIP")
    TowerSizes.of(state).check_base(TowerSizes.of(base))
    tower = {key: value for key, value in state.items() if key.startswith(("vision_model.", "visual_projection."))}
    texts = {key: value for key, value in base.items() if not key.startswith(("vision_model.", "visual_projection."))}
    return {**texts, **tower}


def config_from_state(state: Mapping[str, Tensor]) -> CLIPConfig:
    """Read the sizes of a CLIP of OpenAI's kind off its weights: heads of 64 channels, OpenAI's approximation of GELU.

    Args:
        state: weights of both towers under Hugging Face's names.

    Raises:
        CheckpointError: weights are missing that show them, or a width is no multiple of 64.
    """
    from transformers import CLIPConfig

    sizes = TowerSizes.of(state)
    try:
        vocabulary, width = state["text_model.embeddings.token_embedding.weight"].shape
        length = len(state["text_model.embeddings.position_embedding.weight"])
    except KeyError as error:
        raise CheckpointError(f"the weights lack {error.args[0]}", "is it a whole CLIP?") from None
    text = {
        **_blocks(state, "text_model.", width),
        "projection_dim": sizes.embed,
        "vocab_size": vocabulary,
        "max_position_embeddings": length,
        # As in CLIP's vocabulary; texts are embedded at their end token.
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": 0,
    }
    vision = {
        **_blocks(state, "vision_model.", sizes.width),
        "projection_dim": sizes.embed,
        "patch_size": sizes.patch,
        "image_size": sizes.image_size,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=sizes.embed)


def _blocks(state: Mapping[str, Tensor], tower: str, width: int) -> dict[str, Any]:
    if width % 64:
        raise CheckpointError(
            f"a tower of {width} channels does not say how many heads it has", "give a directory of transformers"
        )
    layers = f"{tower}encoder.layers."
    first = state.get(f"{layers}0.mlp.fc1.weight")
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width if first is None else len(first),
        "num_hidden_layers": _count(state, layers),
        "num_attention_heads": width // 64,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def build_alpha_clip(config: CLIPConfig, state: Mapping[str, Tensor]) -> CLIPModel:
    """A CLIP with an alpha plane, in float32.

    Args:
        config: its sizes.
        state: weights of both towers under Hugging Face's names. Where the alpha plane's are missing they are zero:
            masks change nothing until it is trained (:func:`has_trained_alpha`).

    Raises:
        CheckpointError: a weight is missing, superfluous or of another shape; names the first.
    """
    from transformers import CLIPModel

    weights = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
    alpha = weights.pop(ALPHA_KEY, None)
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in CLIPModel(config).state_dict().items()}
    _check_weights(expected, weights)
    # By way of its own loader, which spares the time to make up random weights first.
    model: CLIPModel = CLIPModel.from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)
    embedding = add_alpha(model)
    if alpha is not None:
        _check_weights({ALPHA_KEY: tuple(embedding.alpha.weight.shape)}, {ALPHA_KEY: alpha})
        with torch.no_grad():
            embedding.alpha.weight.copy_(alpha)
    return model


def _check_weights(expected: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    hint = "is it the whole model, and one of this kind and size?"
    for key, shape in expected.items():
        if key not in weights:
            raise CheckpointError(f"the weights lack {key}", hint)
        if tuple(weights[key].shape) != shape:
            raise CheckpointError(f"{key} has the shape {tuple(weights[key].shape)} and should have {shape}", hint)
    needless = [key for key in weights if key not in expected]
    if needless:
        raise CheckpointError(f"the model has no place for the weight {needless[0]}", hint)


def has_trained_alpha(model: torch.nn.Module) -> bool:
    """Whether masks can change anything: until it is trained, all weights of an alpha plane are zero."""
    planes = [module.alpha.weight for module in model.modules() if isinstance(module, AlphaPatchEmbedding)]
    return any(bool(weight.any()) for weight in planes)


def read_alpha_clip(directory: str | Path) -> CLIPModel:
    """Read a CLIP with an alpha plane, in float32.

    Args:
        directory: of :func:`save_alpha_clip`, or of any ``CLIPModel`` of transformers: then the alpha plane's weights
            are zero.

    Raises:
        CheckpointError: it holds no such model, or not all of it.
    """
    from transformers import CLIPConfig

    folder = Path(directory)
    kind = _settings(folder).get("model_type")
    if kind != "clip":
        raise CheckpointError(f"{folder} is a {kind} model, not a CLIP", "name a CLIP with a vision transformer")
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        state |= read_checkpoint(path)
    if not state:
        raise CheckpointError(f"{folder} holds no safetensors", "convert its weights, pickles are not read")
    return build_alpha_clip(CLIPConfig.from_pretrained(folder), state)


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder} holds no config.json that can be read", "is it a directory of a CLIP?"
        ) from error


def save_alpha_clip(
    model: CLIPModel, directory: str | Path, tokenizer: Any, preprocessor: Mapping[str, Any] | None = None
) -> None:
    """Write a CLIP with an alpha plane, in the type of its weights.

    Args:
        model: with an alpha plane (:func:`fovea.networks.alpha_clip.add_alpha`).
        directory: where it goes; made if need be. What is there under the same names is replaced.
        tokenizer: of transformers.
        preprocessor: content of ``preprocessor_config.json``; CLIP's mean and deviation by default.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    state[ALPHA_KEY] = state.pop(_MODULE_KEY)
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    settings = _settings(folder) | {"alpha": True}
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    pixels = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD} if preprocessor is None else dict(preprocessor)
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels, indent=2), encoding="utf-8")
