"""SASRec: self-attention reads a history from left to right and looks for the next item."""

from __future__ import annotations

from typing import Annotated

from sslrec_core.choice import Choice, Of
from sslrec_seq.data import Targets
from sslrec_seq.next_item import NextItem


class SASRec(NextItem):
    """Self-attentive sequential recommendation (Kang and McAuley, ICDM'18)."""

    class Config(NextItem.Config):
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item; ``bce`` with one negative is the paper's (eq. 9), ``softmax`` does better."""
        targets: Targets = "all"
        """What a training row predicts; ``all`` is the paper's (section III.E)."""

    config: Config
