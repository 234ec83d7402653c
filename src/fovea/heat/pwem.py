"""From one map per token to one map per expression: the primary word emphasis module (PWEM) and what it is compared to.

All maps are of attention times gradient (Grad-CAM). ``focus`` are the tokens that carry meaning, ``primary`` those of
the word that names the thing; both as positions in the token sequence, whose position 0 is the class token.

Source: IteRPrimE, Eq. 1-4, as released where the paper is open; specs/iterprime.md, 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

#: How token maps are merged; the rows of the paper's Table 3.
#:
#: - ``full``: the primary word against its context, and all that carries meaning with the primary word repeated.
#: - ``mean``: all tokens alike.
#: - ``groundvlp``: what carries meaning, and the class token.
#: - ``global``: as ``full`` without the comparison with the context.
#: - ``local``: as ``full`` without the repetition.
MergeMode = Literal["full", "mean", "groundvlp", "global", "local"]

_CLASS_TOKEN = 0

# Smallest length that a difference is divided by.
_EPSILON = 1e-8


def token_maps(attention: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM of every token: attention where more of it would raise the match.

    Args:
        attention: ``(heads, L, rows, columns)`` probabilities.
        gradient: of the match with respect to them, same shape.

    Returns:
        ``(heads, L, rows, columns)``, not negative.
    """
    return attention * gradient.clamp(min=0)


def context_tokens(focus: Sequence[int], primary: Sequence[int]) -> list[int]:
    """What the primary word is compared with: all other tokens that carry meaning, each once."""
    return [token for token in dict.fromkeys(focus) if token not in primary]


def repeated_tokens(focus: Sequence[int], primary: Sequence[int]) -> list[int]:
    """Tokens that carry meaning, and behind them the primary word once for each of them."""
    return [*focus, *list(primary) * len(focus)]


def primary_map(attention: Tensor, gradient: Tensor, primary: Sequence[int]) -> Tensor:
    """Grad-CAM of the primary word as a whole: mean attention times mean gradient of its pieces.

    Args:
        attention: ``(heads, L, rows, columns)``.
        gradient: same shape.
        primary: at least one token.

    Returns:
        ``(heads, rows, columns)``.
    """
    pieces = list(primary)
    return attention[:, pieces].mean(1) * gradient[:, pieces].clamp(min=0).mean(1)


def contrast(attention: Tensor, primary: Sequence[int], context: Sequence[int]) -> Tensor:
    """By how much the primary word attends to a place more than its context does.

    Differences are scaled to length 1 over the context, for each head and place. Without a context the comparison is
    with no attention at all, so that the result is 1 wherever the primary word attends.

    Args:
        attention: ``(heads, L, rows, columns)``.
        primary: at least one token.
        context: any number of tokens.

    Returns:
        ``(heads, max(1, len(context)), rows, columns)``, -1..1.
    """
    own = attention[:, list(primary)].mean(1, keepdim=True)
    difference = own - attention[:, list(context)] if context else own
    length = difference.norm(dim=1, keepdim=True)
    return difference / torch.where(length == 0, _EPSILON, length)


def local_maps(attention: Tensor, gradient: Tensor, primary: Sequence[int], context: Sequence[int]) -> Tensor:
    """The primary word's map, emphasised where its context looks elsewhere; one map per context token.

    Arguments and result as in :func:`contrast`; of either sign.
    """
    weight = gradient[:, list(primary)].clamp(min=0).mean(1) * primary_map(attention, gradient, primary)
    return contrast(attention, primary, context) * weight[:, None]


def merge_tokens(
    attention: Tensor,
    gradient: Tensor,
    focus: Sequence[int],
    primary: Sequence[int] = (),
    mode: MergeMode = "full",
) -> Tensor:
    """One map of a whole expression.

    Args:
        attention: ``(heads, L, rows, columns)`` probabilities.
        gradient: of the match with respect to them, same shape.
        focus: tokens that carry meaning, in order; usually with those of the primary word. May be empty.
        primary: tokens of the word that names the thing; empty where there is none. ``mean`` and ``groundvlp`` do
            not ask. The other modes then take, as released, all tokens alike, or the class token alone where nothing
            carries meaning.
        mode: see :data:`MergeMode`.

    Returns:
        ``(rows, columns)`` float32.

    Raises:
        ValueError: a position is not in the sequence.
    """
    length = attention.shape[1]
    if not all(0 <= token < length for token in (*focus, *primary)):
        raise ValueError(f"tokens {(*focus, *primary)} are not all among the {length} of the sequence")
    if mode in ("mean", "groundvlp"):
        chosen = [_CLASS_TOKEN, *focus] if mode == "groundvlp" and focus else list(range(length))
        return token_maps(attention, gradient)[:, chosen].mean((0, 1))
    if not primary:
        return _without_primary(attention, gradient, focus)
    repeated = list(focus) if mode == "local" else repeated_tokens(focus, primary)
    maps = token_maps(attention, gradient)[:, [_CLASS_TOKEN, *repeated]]
    if mode != "global":
        context = context_tokens(focus, primary)
        maps = torch.cat([maps, local_maps(attention, gradient, primary, context)], dim=1)
    return maps.mean((0, 1))


def _without_primary(attention: Tensor, gradient: Tensor, focus: Sequence[int]) -> Tensor:
    """As released: here heads are averaged before attention and gradient meet."""
    chosen = list(range(attention.shape[1])) if focus else [_CLASS_TOKEN]
    maps = attention[:, chosen].mean(0) * gradient[:, chosen].clamp(min=0).mean(0)
    return maps.mean(0)
