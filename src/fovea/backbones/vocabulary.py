"""What a tokenizer knows."""

from __future__ import annotations

from typing import Any


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """Words of a text that a tokenizer has no token for; always empty for subword vocabularies.

    Args:
        tokenizer: of transformers.
        text: whatever a model is to read.
    """
    unknown = tokenizer.unk_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if unknown is None or backend is None or unknown == tokenizer.eos_token_id:
        return []
    encoding = backend.encode(text)
    spans = zip(encoding.ids, encoding.offsets, strict=True)
    return [text[start:end].strip() for id_, (start, end) in spans if id_ == unknown]
