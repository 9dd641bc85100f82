"""Contrast between two views of each row, with the other rows of the batch as negatives."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.softmax import full_precision, log_partition, widened
from sslrec_core.model import Objective


class NTXent(Objective):
    """Each view finds the other view of its row among both views of all rows (Chen et al., SimCLR, ICML'20, eq. 1).

    That is the contrast of CL4SRec (Xie et al., ICDE'22), CoSeRec, DuoRec and ICLRec: for each of the ``2b`` vectors
    the ``2(b - 1)`` of other rows are negatives.  A matrix of ``2b`` times ``2b`` similarities is kept.
    """

    class Config(Objective.Config):
        weight: NonNegativeFloat = 1.0
        """Factor of this term."""
        temperature: PositiveFloat = 1.0
        """Divides the similarities; the smaller, the more the nearest negatives count."""
        normalise: bool = False
        """Compare directions (cosine) instead of vectors (dot product)."""

    config: Config

    def forward(
        self, one: Tensor, other: Tensor, groups: Tensor | None = None, candidates: Tensor | None = None
    ) -> Tensor:
        """``-x.y/t + log sum_k exp(x.e_k/t)``, the mean over all views ``x`` and their counterparts ``y``: a scalar.

        Args:
            one: ``[b, dim]``
            other: the other view of each row, ``[b, dim]``
            groups: rows with equal numbers are no negatives of one another (false negatives, such as rows with the same
                target or intent), ``Long[b]``; None where every other row is a negative.
            candidates: what ``one`` alone is compared with instead, ``[k, dim]``, ``other`` among them, such as a queue
                of views (He et al., MoCo, CVPR'20, eq. 1); ``other`` is then no anchor.
        """
        config = self.config
        if groups is not None and candidates is not None:
            raise ValueError("candidates belong to no group: give groups or candidates, not both")
        with full_precision(one):
            one, other = self._unit(one), self._unit(other)
            if candidates is not None:
                return self._among(one, other, self._unit(candidates))
            views = torch.cat([one, other])
            logits = views @ views.T / config.temperature
            counterparts = torch.arange(len(views), device=views.device).roll(len(one))
            loss = F.cross_entropy(logits.masked_fill(self._no_negatives(one, groups), -torch.inf), counterparts)
            return config.weight * loss

    def _no_negatives(self, one: Tensor, groups: Tensor | None) -> Tensor:
        """Which pairs of views are left out: each with itself, and rows of one group.  ``Bool[2b, 2b]``"""
        itself = torch.eye(len(one), dtype=torch.bool, device=one.device)
        among = itself if groups is None else groups[:, None] == groups
        across = torch.zeros_like(itself) if groups is None else among & ~itself
        return torch.cat([torch.cat([among, across], 1), torch.cat([across, among], 1)])

    def _among(self, anchors: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
        config = self.config
        share = anchors.new_full((len(anchors),), config.weight / len(anchors))
        together = share @ (anchors * positives).sum(1) / config.temperature
        return log_partition(anchors, candidates, share, config.temperature, unit=config.normalise) - together

    def _unit(self, x: Tensor) -> Tensor:
        return F.normalize(widened(x), dim=-1) if self.config.normalise else widened(x)
