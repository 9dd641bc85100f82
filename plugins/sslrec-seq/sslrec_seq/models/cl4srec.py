"""CL4SRec: two views of a history, each cropped, masked or reordered, should have one vector."""

from __future__ import annotations

from typing import Annotated

from sslrec_core.choice import Choice, Of
from sslrec_seq.data import Targets
from sslrec_seq.views import TwoViews


class CL4SRec(TwoViews):
    """Contrastive learning for sequential recommendation (Xie et al., ICDE'22).

    The paper compares the last vectors of two views by dot product, each view by one of crop, mask and reorder.  Its
    authors published no code.  The table that newer papers print is of re-implementations around binary cross-entropy
    with one negative; the paper's own loss of the next item is a softmax over the target and one negative, which is
    ``pairwise``.
    """

    class Config(TwoViews.Config):
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item: ``bce`` as re-implementations, ``pairwise`` as the paper; ``softmax`` does better."""
        targets: Targets = "all"
        """What a training row predicts; views are made of the row's history.  ``all`` is the paper's."""

    config: Config
