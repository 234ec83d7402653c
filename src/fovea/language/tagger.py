"""Parts of speech for short English phrases: closed word classes, endings, and what stands before and after.

Made for referring expressions ("the man in red holding a cup"), not for sentences. Unknown words are nouns, which is
what most of them are here; nothing is downloaded.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "the a an this that these those his her its their my your our some any each every both another all no"
)
PREPOSITIONS = _words(
    "in on at of to from with without by near beside besides between behind above below under underneath beneath over "
    "across along around against inside outside within into onto off through toward towards after before among amid "
    "upon beyond past for about like than as via during opposite up down next"
)
CONJUNCTIONS = _words("and or but &")
PRONOUNS = _words(
    "it he she him them they us me you i we who whom whose which what one ones someone something herself himself"
)
AUXILIARIES = _words(
    "is are was were be been being am has have had having do does did can could will would should may might must "
    "isn't aren't wasn't doesn't don't not"
)
ADVERBS = _words(
    "very most more less far not partially almost mostly just only also still so too really slightly away there"
)
NUMBERS = _words("two three four five six seven eight nine ten eleven twelve")
ORDINALS = {
    word: rank
    for rank, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th"), 1
    )
    for word in words.split()
}
COLOURS = _words(
    "red orange yellow green blue purple pink brown black white gray grey beige tan silver golden gold blond blonde "
    "violet turquoise cyan magenta maroon teal navy dark light bright pale colorful colored striped spotted"
)
_PLACE_NOUNS = _words("left right top bottom middle center centre front back side corner edge")
ADJECTIVES = _words(
    "big small large little tall short long tiny huge giant old young new wooden metal plastic leather empty "
    "full open closed "
    "high low upper lower near far close other same different main central partial hot cold wet dry round square curly "
    "straight clean dirty fat thin wide narrow adult whole half plain bare blank fresh ripe rotten broken last nearest "
    "farthest furthest adjacent visible asleep alone upright biggest largest smallest bigger larger smaller "
    "closer further "
    "tinier tiniest tallest shortest closest highest lowest leftmost rightmost topmost bottommost uppermost lowermost "
    "western eastern northern southern"
)
# Words that end like a participle or an adverb and are none.
_NOT_VERBS = _words(
    "building wing king ring string thing ceiling painting clothing morning evening wedding railing sibling pudding "
    "earring swing sling duckling lightning bed shed sled seed weed reed speed bleed red hundred breed feed"
)
_NOT_ADVERBS = _words("fly butterfly family lily belly jelly bully ally curly wooly woolly ugly friendly early trolley")
_VERBS = _words(
    "sits sit stands stand holds hold wears wear rides ride eats eat looks look faces face lies lie walks "
    "walk has leans "
    "held worn eaten seen shown cut hit hung kept lit made sat stood stuck taken thrown torn worn drawn "
    "driven ridden bent built caught fallen frozen grown blown flown spun swung woven written"
)


def tokenize(text: str) -> tuple[str, ...]:
    """Lower-case words; a possessive 's stands alone, punctuation is dropped."""
    spaced = re.sub(r"'s\b", " 's", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return tuple(re.findall(r"'s|[\w&][\w'&-]*", spaced))


def _open_class(word: str) -> str:
    """The part of speech of a word by its ending alone."""
    if word[0].isdigit():
        return "NUM"
    if word in _VERBS or (word.endswith(("ing", "ed")) and word not in _NOT_VERBS and len(word) > 4):
        return "VERB"
    if word.endswith("ly") and word not in _NOT_ADVERBS:
        return "ADV"
    return "NOUN"


def _closed_class(word: str) -> str | None:
    """The part of speech of a word that a list holds."""
    for tag, words in (
        ("PART", {"'s"}),
        ("DET", DETERMINERS),
        ("CCONJ", CONJUNCTIONS),
        ("AUX", AUXILIARIES),
        ("PRON", PRONOUNS),
        ("ADV", ADVERBS),
        ("NUM", NUMBERS),
        ("ADJ", ORDINALS),
        ("ADJ", COLOURS),
        ("ADJ", ADJECTIVES),
        ("ADP", PREPOSITIONS),
    ):
        if word in words:
            return tag
    return None


def tag(words: tuple[str, ...]) -> tuple[str, ...]:
    """Universal parts of speech of the words of a phrase."""
    tags: list[str] = []
    for index, word in enumerate(words):
        before = tags[-1] if tags else ""
        after = words[index + 1] if index + 1 < len(words) else ""
        follows_noun = before in ("NOUN", "PRON", "PROPN")
        names_next = bool(after) and _closed_class(after) in (None, "ADJ") and _open_class(after) in ("NOUN", "NUM")
        names_next = names_next or after in ("one", "ones")
        if word in _PLACE_NOUNS:
            # "the left man", "man on the left", "man left of the dog".
            found = "ADJ" if names_next or after in _PLACE_NOUNS else "NOUN"
            if found == "NOUN" and follows_noun and before != "ADJ":
                found = "ADV" if word in ("left", "right") else "NOUN"
        elif (word == "that" and (follows_noun or not names_next)) or (word in ("her", "his") and not after):
            found = "PRON"
        elif word == "light" and before == "NOUN" and not names_next:
            # "traffic light", but "the light blue shirt".
            found = "NOUN"
        elif word == "half" and after and _open_class(after) == "VERB":
            # "half eaten", but "the right half".
            found = "ADV"
        else:
            found = _closed_class(word) or _open_class(word)
        if found == "VERB" and names_next and not follows_noun and before not in ("AUX", "VERB"):
            # "the smiling groom", "a parked van": a participle before its noun describes it.
            found = "ADJ"
        if found == "VERB" and not follows_noun and before in ("DET", "ADJ") and not names_next:
            # "a painting of", after an article nothing else can stand.
            found = "NOUN"
        if found == "ADJ" and not names_next and before in ("DET", "ADJ", "ADP", "") and _closed_class(after) != "ADJ":
            # "in red", "the last": an adjective that stands for a thing.
            found = "NOUN" if after not in ("and", "or") else found
        tags.append(found)
    return tuple(tags)
