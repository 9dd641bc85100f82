"""BERT4Rec: self-attention in both directions finds hidden items, and what is hidden at the end is the next one.

Sun, Liu, Wu, Pei, Lin, Ou and Jiang, "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations
from Transformer", CIKM'19.  Where paper and authors' code differ, defaults follow the code: what is transformed for the
output is normalised too, every hidden item shows the mask, and one row in eleven hides its last item alone.  The code's
segment vector, the same for all, is not there (positions hold it), nor are its special tokens among what is predicted.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Share
from sslrec_core.model import Losses
from sslrec_seq.data import SeqBatch, SeqData
from sslrec_seq.encoders import start_normal
from sslrec_seq.histories import Histories
from sslrec_seq.masking import Places, last_places, of_rows, share_of_places
from sslrec_seq.next_item import NextItem


class BERT4Rec(NextItem):
    """A cloze test on sequences, read in both directions (BERT4Rec, CIKM'19)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of(
            "transformer", causal=False, positions="start", attention_dropout=0.2
        )
        """What turns a sequence with hidden items into vectors (section 3.3); it should read in both directions."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("softmax")
        """Loss of the hidden items: ``softmax`` as the paper (eq. 8), sampled-softmax, bce, gbce, pairwise."""
        targets: Literal["all", "prefix"] = "all"
        """Rows to hide items of: each user's whole sequence, or each beginning of it with at least two items."""
        mask_rate: Share = 0.2
        """Share of a row's items that are hidden, at least one; rho in the paper (section 3.6)."""
        mask_shown: Annotated[float, Field(ge=0, le=1)] = 1.0
        """Chance that a hidden item shows the mask.  Otherwise it shows itself or any other item, half and half; 0.8
        gives the 80/10/10 of BERT."""
        last_alone: Annotated[float, Field(ge=0, le=1)] = 0.09
        """Chance that a row hides its last item and no other, as when items are recommended (section 3.6)."""
        output_norm: bool = True
        """Whether vectors are normalised after the output's transformation (not in eq. 7, but in the authors' code)."""

    config: Config
    appends: ClassVar[int] = 1
    hides: ClassVar[bool] = True
    weighs: ClassVar[bool] = True

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.transform = nn.Linear(config.embedding_dim, config.embedding_dim)
        start_normal(self.transform)
        self.output_norm = nn.LayerNorm(config.embedding_dim, eps=1e-12) if config.output_norm else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(data.n_items))

    @property
    def catalogue(self) -> Tensor:
        """Item vectors, each with its bias (eq. 7).  ``[items, dim + 1]``"""
        return torch.cat([super().catalogue, self.bias[:, None]], dim=1)

    def found(self, vectors: Tensor) -> Tensor:
        """What is compared with the catalogue, ``[n, dim] -> [n, dim + 1]`` (eq. 7)."""
        transformed = self.output_norm(F.gelu(self.transform(vectors)))
        return torch.cat([transformed, torch.ones_like(transformed[:, :1])], dim=1)

    def hidden(self, histories: Histories) -> Tensor:
        """A random choice of what to hide.  ``Bool[slots]``"""
        alone = torch.rand(len(histories), device=histories.items.device) < self.config.last_alone
        share = share_of_places(histories, self.config.mask_rate)
        return torch.where(of_rows(histories, alone), last_places(histories), share)

    def shown(self, items: Tensor, hidden: Tensor) -> Tensor:
        """What is seen instead of ``items``.  ``Long[slots]``"""
        chance = torch.rand(len(items), device=items.device)
        anything = torch.randint(self.data.n_items, (len(items),), device=items.device)
        middle = (1 + self.config.mask_shown) / 2
        otherwise = torch.where(chance < middle, items, anything)
        return torch.where(hidden, torch.where(chance < self.config.mask_shown, self.data.masked, otherwise), items)

    def losses(self, batch: SeqBatch) -> Losses:
        """The loss of the hidden items (eq. 8)."""
        whole = batch.histories.appended(self.data.sequences.items[batch.stops])
        hidden = self.hidden(whole)
        # Rounding hides at most half an item more than the share of a row, and one in a row that would hide none.
        rate, slots = self.config.mask_rate, len(whole.items)
        places = Places.of(hidden, min(int(rate * slots + max(0.5, 1 - rate) * len(whole)) + 1, slots))
        vectors = self.encoder(whole, self.items(self.shown(whole.items, hidden)))
        vectors = self.found(vectors.index_select(0, places.slots))
        owners = of_rows(whole, batch.users).index_select(0, places.slots)
        return {"cloze": self.loss(self.asked(vectors, whole.items[places.slots], owners, places.weights))}

    def summary(self, histories: Histories) -> Tensor:
        """What a mask at the end of each history stands for.  ``[rows, dim + 1]``"""
        mask = torch.full_like(histories.lengths, self.data.masked)
        asking = histories.appended(mask)
        return self.found(self.vectors(asking.at_ends).index_select(0, asking.last))
