"""The meta network of CML: how much each loss of each user counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 1e-5


class Weigher(nn.Module):
    """Weights between 0 and 1 for single losses, from their values and the user's vectors (CML, WSDM'22).

    Two looks at each loss: a small network over the value beside the vectors, and one matrix over the value times the
    vectors.  Each is standardised over the batch and brought between 0 and 1; contrastive losses get the mean of both,
    ranking losses the sum.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        wide = 3 * dim
        self.contrast = nn.ModuleList([nn.Linear(wide, wide // 2), nn.Linear(wide // 2, 1), nn.Linear(2 * dim, 1)])
        self.ranking = nn.ModuleList([nn.Linear(wide, wide // 2), nn.Linear(wide // 2, 1), nn.Linear(dim, 1)])
        self.bend = nn.PReLU()
        self.dropout = nn.Dropout(dropout)
        self.scale, self.shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def contrasts(self, losses: Tensor, own: Tensor, general: Tensor) -> Tensor:
        """Weights of contrastive losses, ``[n]``.

        Args:
            losses: ``[n]``
            own: The user's vector by the behaviour alone, ``[n, dim]``.
            general: The user's vector, ``[n, dim]``.
        """
        both = torch.cat([own, general], dim=1)
        return self._looks(self.contrast, losses, torch.cat([own, general], dim=1), both) / 2

    def rankings(self, losses: Tensor, own: Tensor, general: Tensor) -> Tensor:
        """Weights of ranking losses, ``[n]``; arguments as :meth:`contrasts`."""
        return self._looks(self.ranking, losses, torch.cat([general, own], dim=1), general)

    def _looks(self, head: nn.ModuleList, losses: Tensor, beside: Tensor, times: Tensor) -> Tensor:
        first, second, third = head
        dim = beside.shape[1] // 2
        values = losses[:, None].expand(-1, dim)
        hidden = self.dropout(self.bend(first(torch.cat([values, beside], dim=1))))
        one = (3 * dim) ** 0.5 * self.dropout(second(hidden).squeeze(1))
        other = self.dropout(self.bend(third(losses[:, None] * times).squeeze(1)))
        return self._standard(one).sigmoid() + self._standard(other).sigmoid()

    def _standard(self, x: Tensor) -> Tensor:
        """Batch normalisation of one number, by the batch at hand always: it has no other use."""
        spread = x.var(unbiased=False) if len(x) else x.sum()
        centre = x.sum() / max(len(x), 1)
        return (x - centre) * (spread + SMALLEST).rsqrt() * self.scale + self.shift
