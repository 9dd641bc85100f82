"""A generated world of shoppers for demonstrations: what they view and put into carts foretells what they buy.

What models reach here shows that they work, and is no benchmark of one against another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.names import numbered
from sslrec_core.builtin.worlds import START, YEAR
from sslrec_core.data import Column, Raw

DIM = 8
"""Dimensions of the latent space that shoppers and products stand in."""
DEPARTMENTS = 16
"""Directions that products, and tastes, stand around."""
SPREAD = 0.8
"""Distance of products, and of tastes, from their department, before projection onto the sphere."""
SHARPNESS = 8.0
"""How strongly nearness to the taste decides; 0 would leave popularity alone."""
TAIL = 0.5
"""Exponent of the Zipf law of popularity: the r-th most popular product attracts like ``r ** -TAIL``."""
LEAST, MEAN, MOST = 8, 20.0, 60
"""Products that a shopper thinks of: least, mean before rounding down, most."""
VIEWED, CARTED = 0.8, 0.3
"""Chance of a product thought of to be viewed, and of a viewed one to be put into the cart."""
BOUGHT = (0.15, 0.1, 0.7)
"""Chance to be bought: without having been viewed, viewed only, put into the cart."""
SURE = 3
"""Products that every shopper buys at least: the first ones thought of."""
AGAIN = (0.2, 0.5)
"""Chance of one more view after each: of what is viewed only, of what is put into the cart."""
VIEWS = 8
"""Views of one product by one shopper, at most."""


def shopping_world(seed: int = 0, users: int = 1500, items: int = 1500, *, shuffled: bool = False) -> Raw:
    """Shoppers who view products, put some into the cart and buy some.

    What is planted, in a latent space of ``DIM`` dimensions: products and tastes stand around departments; a shopper
    thinks of 8 to 60 products (about 20), by nearness to the taste and by popularity, views most of them, puts some of
    those into the cart and buys most of what is there, little else.  What goes into the cart is viewed more often.

    Args:
        seed: decides everything; equal arguments give equal tables.
        users: how many; ids are ``u0000``, ``u0001``, ...
        items: how many, at least ``LEAST``; ids are ``i0000``, ``i0001``, ...
        shuffled: give every shopper the views and carts of another one, drawn at random, and leave all else as it is:
            a control for what they contribute.

    Returns:
        The tables ``interactions`` (``user``, ``item``, ``time``) of what was bought and ``behaviours`` (``user``,
        ``item``, ``behaviour``, ``time``) of views and carts.  While they are made, memory is about 12 bytes times
        users times items.
    """
    if users < 1 or items < LEAST:
        raise ValueError(f"a world needs at least one user and {LEAST} items, not {users} and {items}")
    generator = torch.Generator().manual_seed(seed)

    def chance(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    thought = _thoughts(users, items, generator)
    most = thought.shape[1]
    count = (LEAST - (MEAN - LEAST) * (1 - chance(users)).log()).long().clamp(max=most)
    there = torch.arange(most) < count[:, None]
    viewed = there & (chance(users, most) < VIEWED)
    carted = viewed & (chance(users, most) < CARTED)
    likely = torch.tensor(BOUGHT)[viewed.long() + carted.long()]
    bought = there & ((chance(users, most) < likely) | (torch.arange(most) < SURE))
    again = torch.tensor(AGAIN)[carted.long()]
    views = (1 + (chance(users, most).log() / again.log()).long()).clamp(max=VIEWS) * viewed
    moment = (chance(users, most) * YEAR).long()
    minutes = (chance(users, most, VIEWS) * 3600).long() + 60

    names, products = numbered("u", users), numbered("i", items)
    looking = (torch.arange(VIEWS) < views[..., None]).nonzero()
    seen, put, got = looking[:, :2], carted.nonzero(), bought.nonzero()
    who = torch.cat([seen[:, 0], put[:, 0]])
    if shuffled:
        who = torch.randperm(users, generator=generator)[who]
    what = torch.cat([thought[tuple(seen.T)], thought[tuple(put.T)]])
    when = torch.cat([moment[tuple(seen.T)] - minutes[tuple(looking.T)], moment[tuple(put.T)]])
    interactions: dict[str, Column] = {
        "user": names[got[:, 0].numpy()],
        "item": products[thought[tuple(got.T)].numpy()],
        "time": START + moment[tuple(got.T)].numpy() + 600,
    }
    behaviours: dict[str, Column] = {
        "user": names[who.numpy()],
        "item": products[what.numpy()],
        "behaviour": np.repeat(["view", "cart"], [len(seen), len(put)]),
        "time": START + when.numpy(),
    }
    return Raw({"interactions": interactions, "behaviours": behaviours})


def _thoughts(users: int, items: int, generator: torch.Generator) -> Tensor:
    """Products that each shopper thinks of, in order, no product twice.  ``Long[users, most]``"""

    def around(centres: Tensor) -> Tensor:
        return F.normalize(centres + SPREAD * F.normalize(torch.randn(centres.shape, generator=generator), dim=-1))

    departments = F.normalize(torch.randn(DEPARTMENTS, DIM, generator=generator), dim=-1)
    products = around(departments[torch.randint(DEPARTMENTS, (items,), generator=generator)])
    tastes = around(departments[torch.randint(DEPARTMENTS, (users,), generator=generator)])
    popularity = -TAIL * torch.randperm(items, generator=generator).add(1).log()
    # The largest of log-chances with Gumbel noise are a draw without replacement.
    uniform = torch.rand(users, items, generator=generator).clamp(1e-7, 1 - 1e-7)
    noisy = SHARPNESS * tastes @ products.T + popularity - (-uniform.log()).log()
    return noisy.topk(min(MOST, items), dim=1).indices
