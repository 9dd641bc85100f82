"""A generated world of friends for demonstrations: friends share tastes, and nobody has chosen much.

What models reach here shows that they work, and is no benchmark of one against another.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.names import GENRES, numbered, titles
from sslrec_core.data import Raw

DIM = 8
"""Dimensions of the latent space."""
SPREAD = 0.8
"""Distance of a taste, and of a piece, from the genre it belongs to, before projection onto the sphere."""
SHARPNESS = 12.0
"""How strongly nearness to a taste decides what is chosen; 0 would leave popularity alone."""
HOMOPHILY = 16.0
"""How strongly nearness of tastes decides who is a friend; 0 would leave chance alone."""
TAIL = 0.5
"""Exponent of the Zipf law of popularity: the r-th most popular piece attracts like ``r ** -TAIL``."""
LEAST, MEAN, MOST = 3, 5.5, 30
"""Interactions of a user: least, mean before rounding down, most."""
FRIENDS = 8
"""People that a user trusts."""


def friends_world(seed: int = 0, users: int = 2000, items: int = 2000, *, shuffled: bool = False) -> Raw:
    """Listeners, pieces of music, and whom listeners trust.

    What is planted, in a latent space of ``DIM`` dimensions:

    - Genres are directions; a listener's taste and a piece each stand somewhere around one of them.
    - A listener draws 3 to 30 different pieces (about 5), each with a chance proportional to its popularity, a Zipf
      law, times ``exp(SHARPNESS * cosine)`` of piece and taste.
    - A listener trusts ``FRIENDS`` others, each with a chance proportional to ``exp(HOMOPHILY * cosine)`` of tastes.
      Trust need not be returned.

    Few pieces say little about a taste; those of a listener's friends, taken together, say much.

    Args:
        seed: decides everything; equal arguments give equal tables.
        users: how many, at least two; ids are ``u0000``, ``u0001``, ...
        items: how many, at least two; ids are titles such as ``The Quiet River (jazz)``.
        shuffled: give every listener's place among friends to another one, drawn at random, and leave all else as it
            is.  Ties keep their form and say nothing about tastes: a control for what they contribute.

    Returns:
        The tables ``interactions`` (``user``, ``item``) and ``trust`` (``source``, ``target``).  While they are made,
        memory is about 12 bytes times users times the larger of users and items.
    """
    if users < 2 or items < 2:
        raise ValueError(f"a world needs at least two users and two items, not {users} and {items}")
    generator = torch.Generator().manual_seed(seed)
    genres = _around(torch.zeros(len(GENRES), DIM), generator)
    tastes = _around(genres[torch.randint(len(GENRES), (users,), generator=generator)], generator)
    genre_of = torch.randint(len(GENRES), (items,), generator=generator)
    pieces = _around(genres[genre_of], generator)

    popularity = -TAIL * torch.randperm(items, generator=generator).add(1).log()
    patience = -(1 - torch.rand(users, generator=generator)).log()
    count = (LEAST + (MEAN - LEAST) * patience).long().clamp(max=min(MOST, items // 2))
    chosen = _drawn(SHARPNESS * tastes @ pieces.T + popularity, int(count.max()), generator)
    taken = torch.arange(chosen.shape[1]) < count.unsqueeze(1)

    nearness = (HOMOPHILY * tastes @ tastes.T).fill_diagonal_(-torch.inf)
    friends = _drawn(nearness, min(FRIENDS, users - 1), generator)
    # Drawn in both cases, so that all else is the same for both.
    other = torch.randperm(users, generator=generator)
    place = other if shuffled else torch.arange(users)

    names, songs = numbered("u", users), titles(GENRES[genre_of.numpy()], generator)
    interactions = {"user": names[taken.nonzero()[:, 0].numpy()], "item": songs[chosen[taken].numpy()]}
    source = place.repeat_interleave(friends.shape[1])
    return Raw(
        {
            "interactions": {**interactions},
            "trust": {"source": names[source.numpy()], "target": names[place[friends].flatten().numpy()]},
        }
    )


def _around(centres: Tensor, generator: torch.Generator) -> Tensor:
    """A unit vector around each of ``centres``; around zero, any direction is as likely."""
    return F.normalize(centres + SPREAD * F.normalize(torch.randn(centres.shape, generator=generator), dim=-1), dim=-1)


def _drawn(log_chances: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` different columns of each row, drawn by their chances: the largest with Gumbel noise.  ``Long[rows, n]``"""
    uniform = torch.rand(log_chances.shape, generator=generator).clamp(1e-7, 1 - 1e-7)
    return (log_chances - (-uniform.log()).log()).topk(n, dim=1).indices
