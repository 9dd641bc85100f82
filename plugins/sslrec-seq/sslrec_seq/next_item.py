"""What models of sequences have in common: item vectors, an encoder of histories, a loss of the next item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from sslrec_core.choice import Choice, Of
from sslrec_core.errors import ConfigError
from sslrec_core.model import Losses, Model, Portable, Towers
from sslrec_seq.data import SeqBatch, SeqData, SeqQueries, Targets
from sslrec_seq.encoders import encoder, sees_later
from sslrec_seq.histories import GridHistories, Histories, shown
from sslrec_seq.objectives import Predictions, next_item_loss

if TYPE_CHECKING:
    from sslrec_core.data import Queries
    from sslrec_core.loop import Loop


class NextItem(Model):
    """A model that encodes a history and looks in the catalogue for the next item, by dot product or cosine."""

    class Config(Model.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("transformer")
        """What turns a history into vectors: transformer, gru, caser, mean-pooling, weighted-mean."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("softmax")
        """Loss of the next item: softmax, sampled-softmax, bce, gbce, pairwise; also bpr and infonce."""
        targets: Targets = "prefix"
        """``all``: each user's sequence is one row, and every place predicts the item after it.  ``prefix``: each
        beginning of a sequence is a row, and predicts one item.  ``last``: only the last training item is predicted."""
        similarity: Literal["dot", "cosine"] = "dot"
        """How a history's vector is compared with those of items, in training and after.  ``cosine`` takes from popular
        items the advantage of long vectors, and wants a ``temperature`` of the loss far below 1 (Hou et al., CORE,
        SIGIR'22, eq. 6)."""

    config: Config
    data: SeqData
    folds_in: ClassVar[bool] = True
    appends: ClassVar[int] = 0
    """How many items the encoder is given beyond a history, such as a mask at its end."""
    weighs: ClassVar[bool] = False
    """Whether predictions have weights, which not every objective can take."""
    hides: ClassVar[bool] = False
    """Whether what is to be predicted is hidden from the encoder, which may then read in both directions."""
    asks_users: ClassVar[bool] = False
    """Whether scores depend on who asks, beside the history."""

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        # One row more than items: that of the mask.
        self.items = nn.Embedding(data.n_items + 1, config.embedding_dim)
        nn.init.normal_(self.items.weight, std=0.02)
        self.encoder = encoder(config.encoder, config.embedding_dim, data.length + self.appends)
        if config.targets == "all" and not self.hides and sees_later(self.encoder, config.embedding_dim):
            raise ConfigError(
                f"with model.targets=all places predict the item after them, which '{config.encoder.name}' sees",
                fix="--set model.encoder.causal=true (model.encoder.weights.causal), or --set model.targets=prefix",
            )
        objective = config.loss.build()
        self.loss = next_item_loss(objective, config.loss.name, self.weighs)
        if config.similarity == "dot" and getattr(objective.config, "normalise", False):
            raise ConfigError(
                f"'{config.loss.name}' would learn cosines, and items would be ranked by dot products",
                fix="--set model.similarity=cosine, or --set model.loss.normalise=false",
            )

    @property
    def catalogue(self) -> Tensor:
        """Vectors of the items that can be recommended.  ``[items, dim]``"""
        return self.items.weight[: self.data.n_items]

    def vectors(self, histories: Histories) -> Tensor:
        """A vector for each place of each history.  ``[slots, dim]``"""
        encoded: Tensor = self.encoder(histories, shown(histories, self.items(histories.items)))
        return encoded

    def summary(self, histories: Histories) -> Tensor:
        """The vector of each whole history: that of its last place.  ``[rows, dim]``"""
        return self.vectors(histories.at_ends).index_select(0, histories.last)

    def asking_places(self, batch: SeqBatch) -> Tensor:
        """Vectors of the batch's histories, at least of the places that predict.  ``[slots, dim]``"""
        return self.vectors(batch.histories if self.config.targets == "all" else batch.histories.at_ends)

    def predictions(self, batch: SeqBatch, vectors: Tensor) -> Predictions:
        """``vectors`` ``[slots, dim]`` at the places of ``batch`` that predict, and what they should find."""
        return self.asked(vectors.index_select(0, batch.at), batch.targets, batch.owners)

    def asked(self, vectors: Tensor, targets: Tensor, owners: Tensor, weights: Tensor | None = None) -> Predictions:
        """What ``vectors`` ``[n, dim]`` of the users ``owners`` should find in the catalogue: ``targets``."""
        known = self.data.interactions.parts["train"]
        return Predictions(
            self.compared(vectors),
            targets,
            self.compared(self.catalogue),
            self.data.item_counts,
            lambda draws: known.draw_absent(owners, draws),
            weights,
        )

    def losses(self, batch: SeqBatch) -> Losses:
        """The loss of the next item."""
        return {"next": self.loss(self.predictions(batch, self.asking_places(batch)))}

    def epoch(self, loop: Loop) -> None:
        """One pass over the training rows that ``targets`` asks for."""
        for batch in loop.batches(self.training_batches(loop)):
            loop.minimise(self.losses(batch))

    def training_batches(self, loop: Loop) -> Iterator[SeqBatch]:
        """The scenario's batches with this model's targets."""
        return self.data.batches(loop.train, rank=loop.rank, world=loop.world, targets=self.config.targets)

    def compared(self, vectors: Tensor) -> Tensor:
        """``vectors`` ``[n, dim]`` so that their dot products are what ``similarity`` says."""
        return F.normalize(vectors, dim=1) if self.config.similarity == "cosine" else vectors

    def asking(self, histories: Histories, users: Tensor | None) -> Tensor:
        """What is compared with the catalogue: one vector for each history, of ``users`` if they are known.

        ``[rows, dim]``
        """
        return self.summary(histories)

    def towers(self) -> Towers:
        """The histories' last vectors, and the catalogue."""

        def vectors(queries: Queries) -> Tensor:
            return self.compared(self.asking(cast("SeqQueries", queries).histories, queries.users))

        return Towers(vectors, self.compared(self.catalogue))

    def fold_in(self, items: Tensor, lengths: Tensor) -> Tensor:
        histories = Histories.latest(items, lengths, self.data.length)
        return self.compared(self.asking(histories, None)) @ self.compared(self.catalogue).T

    def portable(self) -> Portable:
        """Histories as a grid of items with their lengths; the users too, if the model asks for them."""

        def inputs(queries: Queries) -> dict[str, Tensor]:
            histories = cast("SeqQueries", queries).histories
            named = {"items": histories.grid(histories.items), "lengths": histories.lengths}
            return named | ({"users": queries.users} if self.asks_users else {})

        axes = {"items": {0: "batch", 1: "length"}, "lengths": {0: "batch"}}
        facts = {
            "items": "each history's items, oldest first, any number behind its end",
            "lengths": f"how many items each history has, 1 to {self.data.length}",
            "longest": self.data.length,
        }
        if self.asks_users:
            axes |= {"users": {0: "batch"}}
            facts |= {"users": "whose history it is"}
        return Portable(OfGrids(self), inputs, axes, facts)


class OfGrids(nn.Module):
    """A model that is asked with plain tensors."""

    def __init__(self, model: NextItem) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor | None = None) -> Tensor:
        """``Long[rows, longest], Long[rows], Long[rows] -> [rows, items]``"""
        asking = self.model.asking(GridHistories.of_grid(items, lengths), users)
        return self.model.compared(asking) @ self.model.compared(self.model.catalogue).T
