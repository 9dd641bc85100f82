"""A generated world of sequences for demonstrations: order is all that tells what comes next.

What models reach here shows that they work, and is no benchmark of one against another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslrec_core.builtin.names import GENRES, joined, numbered, people, titles
from sslrec_core.builtin.worlds import START, YEAR
from sslrec_core.data import Column, Raw

TRACKS = 8
"""Pieces on an album, heard in order by those who go on with it."""
ALBUMS_PER_ARTIST = 3
TASTES = 2
"""Genres that a listener likes."""
OTHERS = 0.05
"""Chance of a piece of another genre, relative to one that the listener likes."""
TAIL = 0.7
"""Exponent of the Zipf law of popularity: the r-th most popular album attracts like ``r ** -TAIL``."""
PULL = 1.0
"""Chance to go on with the album just heard, relative to that of hearing anything else, by taste and popularity."""
FADE = 0.3
"""What is left of that pull after each further piece: some go back to an album that they broke off."""
LEAST, MEAN, MOST = 5, 9.5, 60
"""Pieces that a listener hears: least, mean before rounding down, most."""
PAUSE = 7200.0
"""Mean seconds from one piece to the next."""


def listening_world(seed: int = 0, users: int = 2000, items: int = 1000) -> Raw:
    """Listeners who hear pieces one after the other, no piece twice.

    What is planted:

    - Pieces belong to albums, ``TRACKS`` each, in a fixed order.  What follows the last piece on its album attracts
      with ``PULL``, which fades with each piece heard since.
    - All else is drawn by popularity, a Zipf law over albums of which the first pieces are heard most, and by taste:
      a listener likes ``TASTES`` genres.

    Args:
        seed: decides everything; equal arguments give equal tables.
        users: how many; ids are ``u0000``, ``u0001``, ...
        items: how many, at least two; ids are titles such as ``The Quiet River (jazz), 3``.  Those that nobody heard
            occur in attributes only.

    Returns:
        The tables ``interactions`` (``user``, ``item``, ``time``), by time, and ``attributes`` (``item``,
        ``attribute``: genre and artist of each piece).  While they are made, memory is about 20 bytes times users times
        items.
    """
    if users < 1 or items < 2:
        raise ValueError(f"a world needs at least one user and two items, not {users} and {items}")
    generator = torch.Generator().manual_seed(seed)
    n_albums = -(-items // TRACKS)
    album, place = torch.arange(items) // TRACKS, torch.arange(items) % TRACKS
    genre = torch.randint(len(GENRES), (n_albums,), generator=generator)
    listener, piece, step = _listening(users, album, place, genre, generator)

    begin = torch.rand(users, generator=generator) * YEAR
    pauses = (1 - torch.rand(len(step), generator=generator)).log().mul(-PAUSE).long() + 1
    elapsed = pauses.cumsum(0)
    seconds = begin.long()[listener] + elapsed - elapsed[step == 0][listener]
    order = seconds.argsort(stable=True).numpy()

    pieces = joined(titles(GENRES[genre.numpy()], generator)[album.numpy()], ", ", (place + 1).numpy().astype(str))
    n_artists = -(-n_albums // ALBUMS_PER_ARTIST)
    artist = people(n_artists, generator)[torch.randint(n_artists, (n_albums,), generator=generator).numpy()]
    interactions: dict[str, Column] = {
        "user": numbered("u", users)[listener.numpy()[order]],
        "item": pieces[piece.numpy()[order]],
        "time": START + seconds.numpy()[order],
    }
    known = np.concatenate([GENRES[genre.numpy()][album.numpy()], artist[album.numpy()]])
    return Raw({"interactions": interactions, "attributes": {"item": np.tile(pieces, 2), "attribute": known}})


def _listening(
    users: int, album: Tensor, place: Tensor, genre: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Who heard which piece, and how many before it: by listener, in order.  ``Long[interactions]`` each"""
    items = len(album)
    patience = -(1 - torch.rand(users, generator=generator)).log()
    count = (LEAST + (MEAN - LEAST) * patience).long().clamp(max=max(1, min(MOST, items // 2)))
    most = int(count.max())
    popularity = (torch.randperm(len(genre), generator=generator) + 1.0)[album] ** -TAIL / (place + 1)
    taste = torch.full((users, len(GENRES)), OTHERS)
    taste.scatter_(1, torch.randint(len(GENRES), (users, TASTES), generator=generator), 1.0)
    # Arrival times of exponential clocks: in this order pieces are drawn by chance, without replacement.
    clocks = torch.empty(users, items).exponential_(generator=generator) / (taste[:, genre[album]] * popularity)
    drawn = clocks.topk(most, largest=False).indices
    nothing = torch.tensor([items])
    last = (place == TRACKS - 1) | (torch.arange(items) == items - 1)
    onward = torch.cat([torch.where(last, nothing, torch.arange(items) + 1), nothing])

    met = torch.zeros(users, items + 1, dtype=torch.bool)
    met[:, items] = True
    heard = torch.full((users, most + 1), items)
    for step in range(most):
        who = (count > step).nonzero().squeeze(1)
        wish, pulling = drawn[who], onward[heard[who, : step + 1]]
        fresh = met[who[:, None], wish].long().cumprod(1).sum(1, keepdim=True)
        pull = (PULL * FADE ** torch.arange(step, -1, -1.0) * ~met[who[:, None], pulling]).cumsum(1)
        # Below zero an album pulls, and how far below says which one.
        chance = torch.rand(len(who), 1, generator=generator) * (1 + pull[:, -1:]) - pull[:, -1:]
        which = (pull < -chance).sum(1, keepdim=True).clamp(max=step)
        piece = torch.where(chance < 0, pulling.gather(1, which), wish.gather(1, fresh)).squeeze(1)
        heard[who, step + 1] = piece
        met[who, piece] = True

    listener, step = (torch.arange(most) < count[:, None]).nonzero().T
    return listener, heard[listener, step + 1], step
