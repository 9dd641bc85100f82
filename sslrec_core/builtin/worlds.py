"""Generated worlds for demonstrations: raw tables with a known structure, made in a moment, equal for equal seeds.

The constants were chosen so that the graph pays, by looking at the test part of seed 0: what models reach here shows
that they work, and is no benchmark of one against another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.names import DECADES, GENRES, LABELS, MOODS, joined, numbered, people, titles
from sslrec_core.data import Array, Column, Raw

DIM = 8
"""Dimensions of the latent space."""
TASTES = 2
"""Latent points each user is drawn to."""
SPREAD = 1.2
"""Distance of artists, and of tastes, from the genre they belong to, before projection onto the sphere."""
OWN = 0.1
"""Distance of a piece from its artist."""
SHARPNESS = 16.0
"""How strongly nearness to a taste decides; 0 would leave popularity alone."""
TAIL = 0.5
"""Exponent of the Zipf law of popularity: the r-th most popular piece attracts like ``r ** -TAIL``."""
LEAST, MEAN, MOST = 5, 8.5, 60
"""Interactions of a user: least, mean before rounding down, most."""
PIECES_PER_ARTIST = 8
ALIKE = 3
"""Artists that an artist is said to be similar to."""
START, YEAR = 1_704_067_200, 365 * 86_400
"""1 January 2024, and the seconds that interactions are spread over."""


def demo_world(
    seed: int = 0, users: int = 2000, items: int = 2000, *, triples: bool = True, shuffled: bool = False
) -> Raw:
    """Listeners, pieces of music, and what is known about the music.

    What is planted, in a latent space of ``DIM`` dimensions:

    - Genres are directions; an artist stands somewhere around one of them, a piece very near its artist.
    - A user has ``TASTES`` tastes, each a point around some genre, and draws 5 to 60 different pieces (about 8), each
      with a chance proportional to its popularity times the sum over tastes of ``exp(SHARPNESS * cosine)``.
    - Popularity follows a Zipf law and has nothing to do with the latent space.
    - Triples of a piece: ``by`` its artist, its ``genre`` and its ``mood`` (the nearest of ten directions) tell where
      it stands; its ``decade`` is noise.  Triples of an artist: ``plays`` a genre, ``similar to`` the nearest artists,
      ``signed to`` a label, of which each genre has two.  A genre is ``related to`` the nearest one.
    - Times are spread evenly over a year and mean nothing.

    A piece has few listeners, so interactions alone place it badly; the triples, above all its artist, place it well.

    Args:
        seed: decides everything; equal arguments give equal tables.
        users: how many; ids are ``u0000``, ``u0001``, ...
        items: how many, at least two; ids are titles such as ``The Quiet River (jazz)``.  Those that nobody chose
            occur in triples only.
        triples: whether to give the table ``triples``.
        shuffled: give every piece the triples of another one, drawn at random, and leave all else as it is.  The
            knowledge graph keeps its form and says nothing about tastes: a control for what it contributes.

    Returns:
        The tables ``interactions`` (``user``, ``item``, ``time``) and, if asked for, ``triples``.  While they are made,
        memory is about 20 bytes times users times items.
    """
    if users < 1 or items < 2:
        raise ValueError(f"a world needs at least one user and two items, not {users} and {items}")
    generator = torch.Generator().manual_seed(seed)
    music = _music(items, generator)
    listener, piece = _listening(users, music, generator)
    seconds = torch.randint(YEAR, listener.shape, generator=generator)
    pieces = titles(GENRES[music.genre_of[music.artist_of].numpy()], generator)
    tables: dict[str, dict[str, Column]] = {
        "interactions": {
            "user": numbered("u", users)[listener.numpy()],
            "item": pieces[piece.numpy()],
            "time": START + seconds.numpy(),
        }
    }
    if triples:
        # Drawn in both cases, so that all that follows is the same for both.
        other = torch.randperm(items, generator=generator).numpy()
        tables["triples"] = _triples(music, pieces[other] if shuffled else pieces, generator)
    return Raw(tables)


@dataclass(frozen=True)
class Music:
    """Where everything stands in the latent space (unit vectors), and what belongs to what."""

    genres: Tensor
    """``[genres, DIM]``"""
    artists: Tensor
    """``[artists, DIM]``"""
    pieces: Tensor
    """``[pieces, DIM]``"""
    genre_of: Tensor
    """Genre of each artist.  ``Long[artists]``"""
    artist_of: Tensor
    """Artist of each piece.  ``Long[pieces]``"""


def _music(n_pieces: int, generator: torch.Generator) -> Music:
    n_artists = max(1, n_pieces // PIECES_PER_ARTIST)
    genres = _directions(generator, len(GENRES))
    genre_of = torch.randint(len(GENRES), (n_artists,), generator=generator)
    artists = _around(genres[genre_of], SPREAD, generator)
    artist_of = torch.randint(n_artists, (n_pieces,), generator=generator)
    return Music(genres, artists, _around(artists[artist_of], OWN, generator), genre_of, artist_of)


def _directions(generator: torch.Generator, *shape: int) -> Tensor:
    """Unit vectors, even over all directions.  ``[*shape, DIM]``"""
    return F.normalize(torch.randn(*shape, DIM, generator=generator), dim=-1)


def _around(centres: Tensor, distance: float, generator: torch.Generator) -> Tensor:
    """A unit vector around each of ``centres``."""
    return F.normalize(centres + distance * _directions(generator, *centres.shape[:-1]), dim=-1)


def _listening(users: int, music: Music, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Who listened to what: users, ascending, and pieces.  ``Long[interactions]`` each"""
    n_pieces = len(music.pieces)
    favourite = torch.randint(len(GENRES), (users, TASTES), generator=generator)
    tastes = _around(music.genres[favourite], SPREAD, generator)
    attraction = torch.logsumexp(SHARPNESS * tastes @ music.pieces.T, dim=1)
    popularity = -TAIL * torch.randperm(n_pieces, generator=generator).add(1).log()
    # The largest of log-chances with Gumbel noise are a draw without replacement.
    uniform = torch.rand(users, n_pieces, generator=generator).clamp(1e-7, 1 - 1e-7)
    noisy = attraction + popularity - (-uniform.log()).log()
    patience = -(1 - torch.rand(users, generator=generator)).log()
    most = min(MOST, n_pieces // 2)
    count = (LEAST + (MEAN - LEAST) * patience).long().clamp(max=most)
    taken = torch.arange(most) < count.unsqueeze(1)
    return taken.nonzero()[:, 0], noisy.topk(most, dim=1).indices[taken]


def _triples(music: Music, pieces: Array, generator: torch.Generator) -> dict[str, Column]:
    """What is known about the pieces (called ``pieces``), the artists and the genres."""
    n_artists, n_pieces = len(music.artists), len(music.pieces)
    artists = people(n_artists, generator)
    mood = (music.pieces @ _directions(generator, len(MOODS)).T).argmax(1).numpy()
    decade = torch.randint(len(DECADES), (n_pieces,), generator=generator).numpy()
    second = torch.randint(2, (n_artists,), generator=generator).numpy()
    genre_of, artist_of = music.genre_of.numpy(), music.artist_of.numpy()
    label = joined(LABELS[(genre_of + 3 * second) % len(LABELS)], " ", np.char.title(GENRES[genre_of]))
    alike, related = _nearest(music.artists, ALIKE), _nearest(music.genres, 1)
    statements = [
        (pieces, "by", artists[artist_of]),
        (pieces, "genre", GENRES[genre_of[artist_of]]),
        (pieces, "mood", MOODS[mood]),
        (pieces, "decade", DECADES[decade]),
        (artists, "plays", GENRES[genre_of]),
        (artists, "signed to", label),
        (artists.repeat(alike.shape[1]), "similar to", artists[alike.ravel()]),
        (GENRES, "related to", GENRES[related.ravel()]),
    ]
    return {
        "head": np.concatenate([head for head, _, _ in statements]),
        "relation": np.concatenate([np.full(len(head), relation) for head, relation, _ in statements]),
        "tail": np.concatenate([tail for _, _, tail in statements]),
    }


def _nearest(points: Tensor, neighbours: int) -> Array:
    """The ``neighbours`` points nearest to each, itself left out; all others where there are fewer.

    ``Long[points, neighbours]``
    """
    likeness = (points @ points.T).fill_diagonal_(-math.inf)
    return likeness.topk(min(neighbours, len(points) - 1), dim=1).indices.numpy()
