"""Captions of objects on white, made fit to be said of the object: no word of the white, and the class by name."""

from __future__ import annotations

import re

# "on a plain white background", "isolated against the white backdrop", "with white background" ...
_WHITE = re.compile(
    r"""[\s,]*
    (?:\b(?:that\s+is|which\s+is|is|are)\s+)?
    (?:\b(?:isolated|shown|standing|sitting|lying|placed|set|seen|pictured|displayed|cut\s+out)\s+)?
    (?:\b(?:on|in|against|over|at|with|and|before|in\s+front\s+of|upon)\s+)?
    (?:\b(?:a|an|the|its|all)\s+)?
    (?:\b(?:plain|pure|solid|clean|blank|bright|completely|simple|empty)[\s,]+)*
    \bwhite\s+(?:studio\s+)?(?:back\s?ground|back\s?drop|screen)s?\b""",
    re.IGNORECASE | re.VERBOSE,
)


def photo_of(name: str) -> str:
    """What is said of an object where nobody writes captions."""
    return f"a photo of {name}"


def question_about(name: str) -> str:
    """What a captioner is asked about an object, in the form that BLIP-2 was taught."""
    return f"Question: what does this photo of {name} show? Answer:"


def caption_with_class(caption: str, name: str) -> str:
    """Clean a caption and make sure that it names the class (specs/alphaclip.md, 8).

    Args:
        caption: as a captioner wrote it about the object on white.
        name: of the class, readable.

    Returns:
        The caption without phrases about a white background, ended with ", probably NAME" when the name, or its plural,
        is not in it.
    """
    cleaned = " ".join(_WHITE.sub("", caption).split()).strip(" .,;")
    if not cleaned:
        return photo_of(name)
    words = " ".join(re.findall(r"\w+", cleaned.lower()))
    wanted = " ".join(re.findall(r"\w+", name.lower()))
    if re.search(rf"\b{re.escape(wanted)}(?:s|es)?\b", words):
        return cleaned
    return f"{cleaned}, probably {name}"
