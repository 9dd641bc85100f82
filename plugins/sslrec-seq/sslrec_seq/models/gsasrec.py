"""gSASRec: SASRec with many negatives, and a loss that takes into account how few they still are.

Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling",
RecSys'23.  Blocks are those of the authors' code, which are SASRec's own but for the scale of item vectors; a linear
map behind the attention is more than they have.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from sslrec_core.choice import Choice, Of
from sslrec_seq.data import SeqData, Targets
from sslrec_seq.next_item import NextItem


class GSASRec(NextItem):
    """SASRec with the generalised binary cross-entropy (gSASRec, RecSys'23)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of(
            "transformer", heads=1, norm="query", input_norm=False, feed_forward=1, activation="relu", inner_dropout=0.5
        )
        """What turns a history into vectors."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("gbce", negatives=256, calibration=0.75)
        """Loss of the next item; ``draw = "shared"`` is as good where the catalogue is large, and much faster."""
        targets: Targets = "all"
        """What a training row predicts; every place the item after it, as the paper."""
        tied: bool = False
        """Whether items are looked for by the vectors that are read, or have others for that, as in the authors'
        code."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.looked_for = None if config.tied else nn.Embedding(data.n_items, config.embedding_dim)
        if self.looked_for is not None:
            nn.init.normal_(self.looked_for.weight, std=0.02)

    @property
    def catalogue(self) -> Tensor:
        """Vectors of the items that can be recommended.  ``[items, dim]``"""
        return super().catalogue if self.looked_for is None else self.looked_for.weight
