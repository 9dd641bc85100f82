"""SASRec: self-attention reads a history from left to right and looks for the next item.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM'18.  The blocks are by default those of the code that
printed the tables of S3-Rec and of what was built on it: normalisation after each sum, GELU, a network four times as
wide.  Those of the authors' code are ``norm = "query"``, ``scale = true``, ``input_norm = false``, ``heads = 1``,
``feed_forward = 1``, ``activation = "relu"`` and ``inner_dropout`` as the other dropouts; a linear map behind the
attention is more than they have.  ``norm = "pre"`` instead is what the paper says (section III.C).
"""

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
