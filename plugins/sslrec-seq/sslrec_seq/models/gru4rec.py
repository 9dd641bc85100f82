"""GRU4Rec: a recurrent network reads a history item by item and ranks the next above other items.

Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based Recommendations with Recurrent Neural Networks", ICLR'16, in the
form that papers on sequences of users compare with: a row is a user, not whatever session is next, and all rows start
together; items have one vector, read and looked for alike, instead of one-hot input and an output layer.
"""

from __future__ import annotations

from typing import Annotated

from sslrec_core.choice import Choice, Of
from sslrec_seq.data import Targets
from sslrec_seq.next_item import NextItem


class GRU4Rec(NextItem):
    """Recurrent networks for sequences (Hidasi et al., ICLR'16)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("gru")
        """What reads the history (section 3.1)."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("pairwise", form="top1", draw="batch", negatives=100)
        """Loss of the next item.  The paper ranks targets above those of the other rows, by TOP1 or BPR (section
        3.1.3), which ``pairwise`` does with draw ``batch``; ``softmax`` does better."""
        targets: Targets = "all"
        """What a training row predicts; every place the item after it, as the paper."""

    config: Config
