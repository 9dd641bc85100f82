"""Readable names for what a generated world holds: genres, moods, titles, people, labels."""

from __future__ import annotations

import math

import numpy as np
import torch

from sslrec_core.data import Array


def _words(text: str) -> Array:
    return np.array([word.strip() for word in text.split(",")])


GENRES = _words(
    "ambient, bebop, blues, bossa nova, chamber, dub, flamenco, folk, funk, gospel, house, jazz, metal, punk, soul, "
    "techno"
)
MOODS = _words("brooding, calm, defiant, dreamy, playful, restless, solemn, tender, warm, wistful")
DECADES = _words("1960s, 1970s, 1980s, 1990s, 2000s, 2010s")
LABELS = _words("Blue Door, Copper Mill, Foxglove, Harbour Light, Ninth Street, Paper Moon, Salt Flat, Tall Pine")

_FIRST = _words(
    "Aino, Bela, Carmen, Dario, Elif, Femi, Greta, Hugo, Ines, Jonas, Kaya, Lucia, Mara, Nils, Odile, Pavel, Quinn, "
    "Rosa, Sami, Tove, Umar, Vera, Wanda, Yusuf"
)
_LAST = _words(
    "Adeyemi, Bergström, Castillo, Delacroix, Eriksen, Fontaine, Grünwald, Halloran, Ivanova, Jansen, Kowalski, "
    "Lindqvist, Moreau, Nakamura, Okafor, Petrov, Quiroga, Rossi, Sandoval, Takahashi, Ulrich, Vasquez, Weiss, "
    "Zamora"
)
_ADJECTIVES = _words(
    "Amber, Ancient, Bitter, Borrowed, Bright, Broken, Burning, Crooked, Distant, Drifting, Dusty, Endless, Fading, "
    "Fallen, Floating, Forgotten, Frozen, Gentle, Golden, Hidden, Hollow, Hungry, Idle, Lonely, Lost, Lucky, "
    "Midnight, Narrow, Northern, Open, Painted, Patient, Quiet, Restless, Rising, Rusty, Scarlet, Secret, Silver, "
    "Sleeping, Slow, Stolen, Tangled, Velvet, Wandering, Weary, Wild, Winter"
)
_NOUNS = _words(
    "Anchor, Arcade, Avenue, Balcony, Bell, Bridge, Candle, Canyon, Carousel, Cathedral, Cinema, Coast, Compass, "
    "Courtyard, Dancer, Engine, Feather, Ferry, Forest, Fountain, Garden, Harbour, Highway, Horizon, Island, "
    "Kingdom, Ladder, Lantern, Letter, Lighthouse, Meadow, Mirror, Mountain, Ocean, Orchard, Parade, Piano, "
    "Prairie, River, Rooftop, Shadow, Signal, Station, Summer, Tower, Valley, Window, Wolf"
)


def people(n: int, generator: torch.Generator) -> Array:
    """``n`` different names of people."""
    return _combined(_FIRST, _LAST, n, generator)


def titles(genres: Array, generator: torch.Generator) -> Array:
    """A different title for each of ``genres``, which stands behind it in brackets."""
    return joined("The ", _combined(_ADJECTIVES, _NOUNS, len(genres), generator), " (", genres, ")")


def numbered(letter: str, n: int) -> Array:
    """``n`` ids: the letter and a number of at least four digits."""
    return joined(letter, np.char.zfill(np.arange(n).astype(str), max(4, len(str(n - 1)))))


def joined(*words: Array | str) -> Array:
    """Text put together element by element."""
    text: Array = np.asarray(words[0])
    for word in words[1:]:
        text = np.char.add(text, word)
    return text


def _combined(first: Array, second: Array, n: int, generator: torch.Generator) -> Array:
    """``n`` different pairs of words in random order; once all are used they come again, with a number."""
    pairs = len(first) * len(second)
    rounds = math.ceil(n / pairs)
    place = torch.randperm(rounds * pairs, generator=generator)[:n].numpy()
    again, place = np.divmod(place, pairs)
    suffix = np.where(again > 0, joined(" ", (again + 1).astype(str)), "")
    return joined(first[place // len(second)], " ", second[place % len(second)], suffix)
