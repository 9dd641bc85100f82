"""CoSeRec: views in which items are replaced by similar ones, or similar ones are put beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import NonNegativeInt

from sslrec_core.choice import Choice, Of
from sslrec_seq.data import SeqData, Targets
from sslrec_seq.similarity import hybrid, item_correlation
from sslrec_seq.views import Pool, TwoViews

if TYPE_CHECKING:
    from sslrec_core.loop import Loop

SHORT = (Choice.of("substitute", rate=0.1), Choice.of("insert", rate=0.4), Choice.of("mask", rate=0.7))
LONG = (*SHORT, Choice.of("crop", keep=0.2), Choice.of("reorder", share=0.7))


class CoSeRec(TwoViews):
    """Contrastive sequential recommendation with robust augmentation (Liu et al., 2021).

    Defaults are those of the authors' code (main.py), which hands the reorder operator the share of the mask operator.
    There a masked item is padding, to which nothing attends, and the vectors of padding count in the comparison of
    views, as in the presets; without ``padding`` the mask is an item, as in the paper, and a view has vectors for its
    items alone, which takes a fraction of the time.

    The hybrid similarity is off.  When the published figures were made, the scores by which that code chose between the
    two were wrong: the nearer an item by who met both, the lower its score, while those by vectors were all about 0.
    So nearly all items kept the first, whatever the warm-up (models.py, corrected in July and September 2022).
    """

    class Config(TwoViews.Config):
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item."""
        targets: Targets = "all"
        """What a training row predicts; views are made of the row's history."""
        augmenter: Annotated[Choice, Of("augmenter")] = Choice.of(
            "one-of",
            augmenters=[choice.table() for choice in LONG],
            short=[choice.table() for choice in SHORT],
            short_length=4,
            different=False,
        )
        """What makes the views; the two of a row are drawn on their own, and short histories by three operators."""
        pool: Pool = "places"
        """The vector of a view: all ``places`` end to end, as the authors' code."""
        warm_up: NonNegativeInt | None = None
        """Epochs in which items are similar by who met them; later by the larger of that and the similarity of their
        vectors, looked up once for each epoch (161 in the authors' code of today).  None for all epochs."""

    config: Config

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        self.correlation = item_correlation(data)

    def epoch(self, loop: Loop) -> None:
        """Look up who is similar by now, then one pass."""
        if self.config.warm_up is not None and loop.epoch >= self.config.warm_up:
            self.augmenter.correlate(hybrid(self.correlation, self.catalogue).items)
        super().epoch(loop)
