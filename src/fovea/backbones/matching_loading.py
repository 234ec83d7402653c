"""Loading ALBEF and BLIP: directories, files as released, names on the model hub."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from fovea.backbones.matching import MatchingModel, TextFormat
from fovea.backbones.sources import not_loaded, read_model
from fovea.errors import CheckpointError
from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.albef_weights import (
    blip_config,
    build_albef,
    config_from_state,
    needed_blip_weights,
    needed_weights,
)
from fovea.networks.checkpoint_files import read_checkpoint

#: Whose word pieces the released models read.
BERT = "bert-base-uncased"


def load_matching(
    source: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    image_size: tuple[int, int] | None = None,
    allow_pickle: bool = False,
) -> MatchingModel:
    """Load an ALBEF or a BLIP.

    Args:
        source: a directory or a hub name, of an ALBEF with our settings or of a BLIP for image-text retrieval in the
            layout of transformers; or a file with the weights of a released ALBEF, whose word pieces are looked for
            beside it and then on the hub.
        device: a torch device.
        dtype: of the weights and of the arithmetic.
        image_size: height and width of the input, multiples of the patch, where it should differ from the model's
            own; its position embeddings are stretched.
        allow_pickle: whether a file may be a pickle. Only tensors and plain data are read from it.

    Raises:
        CheckpointError: it cannot be found, is no such model, or does not fit.
    """
    try:
        network, is_blip = _load_network(source, image_size, allow_pickle)
        tokenizer = load_word_pieces(source)
        # A tokenizer's file may ask for either.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        text_format = _text_format(tokenizer, network.config, is_blip)
        network.to(device, dtype)
    except CheckpointError:
        raise
    except Exception as error:
        raise not_loaded(source, error) from error
    return MatchingModel(network, tokenizer, text_format, Path(source).name if Path(source).exists() else source)


def _load_network(source: str, image_size: tuple[int, int] | None, allow_pickle: bool) -> tuple[Albef, bool]:
    """The network, and whether it is a BLIP."""
    if Path(source).is_file():
        state = needed_weights(
            read_checkpoint(Path(source), allow_pickle=allow_pickle, hint="convert it: fovea convert FILE DIR --pickle")
        )
        config, is_blip = config_from_state(state), False
    else:
        settings, state = read_model(source)
        kind = settings.get("model_type")
        if kind not in ("albef", "blip"):
            raise CheckpointError(f"{source} is a {kind} model, neither ALBEF nor BLIP", "name an ALBEF or a BLIP")
        is_blip = kind == "blip"
        config = blip_config(settings) if is_blip else AlbefConfig.from_json(settings)
        state = needed_blip_weights(state) if is_blip else needed_weights(state)
    return build_albef(config, state, image_size), is_blip


def load_word_pieces(source: str) -> Tokenizer:
    """The word pieces of a directory, beside a file, or on the hub."""
    path = Path(source)
    folder = path.parent if path.is_file() else path
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "vocab.txt").is_file():
        return _uncased(folder / "vocab.txt")
    from transformers.utils import cached_file

    name = BERT if path.exists() else source
    try:
        return Tokenizer.from_file(str(cached_file(name, "tokenizer.json")))
    except OSError as error:
        raise CheckpointError(
            f"{source} comes without word pieces and those of {name} are not to be had",
            "put tokenizer.json or vocab.txt beside the weights",
        ) from error


def _uncased(vocabulary: Path) -> Tokenizer:
    """Word pieces as in BERT uncased, from a list of them."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece.from_file(str(vocabulary), unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def _text_format(tokenizer: Tokenizer, config: AlbefConfig, is_blip: bool) -> TextFormat:
    """What each was trained with: ALBEF has no end token, BLIP a start token of its own."""
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise CheckpointError(
            f"the tokenizer knows {tokenizer.get_vocab_size()} word pieces and the model {config.vocab_size}",
            "use the tokenizer that the model was trained with",
        )
    if not is_blip:
        return TextFormat(_token(tokenizer, "[CLS]"))
    # BLIP's tokenizer files often lack the token that stands for matching: the last of its vocabulary.
    encode = tokenizer.token_to_id("[ENC]")
    return TextFormat(config.vocab_size - 1 if encode is None else encode, _token(tokenizer, "[SEP]"))


def _token(tokenizer: Tokenizer, name: str) -> int:
    found = tokenizer.token_to_id(name)
    if found is None:
        raise CheckpointError(f"the tokenizer has no {name}", "use the tokenizer that the model was trained with")
    return int(found)
