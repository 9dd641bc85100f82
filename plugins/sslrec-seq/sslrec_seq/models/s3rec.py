"""S3-Rec: an encoder learns first how items, attributes, sequences and stretches of them belong together.

Zhou, Wang, Zhao, Zhu, Wang, Zhang, Wang and Wen, "S3-Rec: Self-Supervised Learning for Sequential Recommendation with
Mutual Information Maximization", CIKM'20.  Where paper and authors' code differ, defaults follow the code, which gave
the published results.  Terms are sums over places, as there, divided by the number of rows, which Adam does not tell
from sums.  What the code takes from validation and test items too, other stretches and who met what, comes from
training items alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sslrec_core.choice import Choice, Of
from sslrec_core.config import NonNegative, Rate
from sslrec_core.model import Losses, MakeOptimizer, Stage
from sslrec_seq.data import SeqBatch, SeqData, Targets
from sslrec_seq.encoders import start_normal
from sslrec_seq.histories import Histories
from sslrec_seq.masking import last_places, of_rows, segments
from sslrec_seq.next_item import NextItem

if TYPE_CHECKING:
    from sslrec_core.loop import Loop


class S3Rec(NextItem):
    """Pretraining by mutual information, then SASRec (S3-Rec, CIKM'20)."""

    class Config(NextItem.Config):
        encoder: Annotated[Choice, Of("encoder")] = Choice.of("transformer")
        """What turns a history into vectors.  A ``transformer`` looks both ways while it is pretrained (section 4.2);
        others read as they always do."""
        loss: Annotated[Choice, Of("objective")] = Choice.of("bce")
        """Loss of the next item, after pretraining; ``bce`` as the authors' code."""
        targets: Targets = "all"
        """What a training row predicts, after pretraining."""
        pretrain_epochs: NonNegativeInt = 100
        """Epochs before training; their rows are the beginnings of sequences, of two items or more."""
        pretrain_batch_size: PositiveInt = 100
        """Rows of a step of pretraining."""
        mask_rate: Rate = 0.2
        """Chance that an item is hidden; the last of a row always is."""
        mip_weight: NonNegative = 1.0
        """Weight of finding hidden items, each beside one that the user did not meet (masked item prediction)."""
        sp_weight: NonNegative = 0.5
        """Weight of finding the stretch that was cut out of a row, beside another (segment prediction)."""
        aap_weight: NonNegative = 0.2
        """Weight of telling the attributes of items that are seen (associated attribute prediction); of no effect
        where the dataset has no attributes."""
        aap_from: Literal["places", "items"] = "places"
        """What these attributes are told from: encoded ``places``, as in the authors' code, or the vectors of ``items``
        themselves, as in the paper."""
        map_weight: NonNegative = 1.0
        """Weight of telling the attributes of hidden items (masked attribute prediction); likewise."""

    config: Config
    appends: ClassVar[int] = 1

    def __init__(self, config: Config, data: SeqData) -> None:
        super().__init__(config, data)
        weights = {"mip": config.mip_weight, "sp": config.sp_weight, "aap": config.aap_weight, "map": config.map_weight}
        told = ("mip", "sp") if data.attributes is None else tuple(weights)
        self.terms = {name: weights[name] for name in told if weights[name] and config.pretrain_epochs}
        dim = config.embedding_dim
        self.heads = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.terms})
        if data.attributes is not None and not self.terms.keys().isdisjoint(("aap", "map")):
            self.attributes = nn.Embedding(data.attributes.n_columns, dim)
            start_normal(self.attributes)
        self.heads.apply(start_normal)
        self.turns = "causal" in inspect.signature(self.encoder.forward).parameters

    def stages(self, epochs: int) -> Sequence[Stage]:
        """Pretraining, which nobody judges, and training."""
        before = [Stage("pretrain", self.config.pretrain_epochs, self.pretrain, judged=False)] if self.terms else []
        return [*before, Stage("train", epochs, self.epoch)]

    def optimizers(self, make: MakeOptimizer) -> dict[str, Optimizer]:
        """One for each stage: training starts afresh."""
        kept = [*self.items.parameters(), *self.encoder.parameters(), *self.loss.parameters()]
        return {"main": make(kept)} | ({"pretrain": make(self.parameters())} if self.terms else {})

    def pretrain(self, loop: Loop) -> None:
        """One pass over all beginnings of sequences."""
        stream = self.data.training.items
        train = loop.train.model_copy(update={"batch_size": self.config.pretrain_batch_size})
        for batch in loop.batches(self.data.batches(train, rank=loop.rank, world=loop.world, targets="prefix")):
            loop.minimise(self.pretraining_losses(batch, stream), by="pretrain")

    def pretraining_losses(self, batch: SeqBatch, stream: Tensor) -> Losses:
        """The four terms (section 4.2), those of no weight left out; ``stream`` is where other stretches come from."""
        whole = batch.histories.appended(self.data.sequences.items[batch.stops])
        hidden = (torch.rand(len(whole.items), device=stream.device) < self.config.mask_rate) | last_places(whole)
        seen = [torch.where(hidden, self.data.masked, whole.items)]
        if "sp" in self.terms:
            seen += segments(whole, stream, self.data.masked)
        masked, *stretches = self.both_ways(whole, seen)
        sums: dict[str, Tensor] = {}
        if "mip" in self.terms:
            sums["mip"] = (self.item_terms(masked, whole, of_rows(whole, batch.users)) * hidden).sum()
        if "sp" in self.terms:
            context, own, other = (vectors.index_select(0, whole.last) for vectors in stretches)
            context = self.heads["sp"](context)
            sums["sp"] = above((context * own).sum(1), (context * other).sum(1)).sum()
        unmixed = self.items(whole.items) if self.config.aap_from == "items" else masked
        for name, vectors, places in (("aap", unmixed, ~hidden), ("map", masked, hidden)):
            if name in self.terms:
                sums[name] = (self.attribute_terms(self.heads[name](vectors), whole.items) * places).sum()
        return {name: self.terms[name] / len(whole) * value for name, value in sums.items()}

    def both_ways(self, whole: Histories, seen: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Vectors of all places where rows like those of ``whole`` show ``seen``.  ``[slots, dim]`` each"""
        rows = Histories(torch.cat([*seen]), whole.lengths.repeat(len(seen)), whole.longest)
        asked = {"causal": False} if self.turns else {}
        vectors: Tensor = self.encoder(rows, self.items(rows.items), **asked)
        return vectors.chunk(len(seen))

    def item_terms(self, vectors: Tensor, whole: Histories, owners: Tensor) -> Tensor:
        """How far each place's item is from standing above an absent one (masked item prediction).  ``[slots]``"""
        vectors = self.heads["mip"](vectors)
        absent = self.data.interactions.parts["train"].draw_absent(owners, 1).squeeze(1)
        own, other = ((vectors * self.items(items)).sum(1) for items in (whole.items, absent))
        return above(own, other)

    def attribute_terms(self, vectors: Tensor, items: Tensor) -> Tensor:
        """Binary cross-entropy over all attributes of each place's item, a sum.  ``[slots]``"""
        owned = self.data.attributes
        assert owned is not None
        table = self.attributes.weight
        together = F.embedding_bag(owned.columns, table, owned.pointers, mode="sum", include_last_offset=True)
        return F.softplus(vectors @ table.T).sum(1) - (vectors * together.index_select(0, items)).sum(1)


def above(own: Tensor, other: Tensor) -> Tensor:
    """InfoNCE of chances with one negative, ``-log sigmoid(sigmoid(own) - sigmoid(other))`` (section 4.2).  ``[n]``"""
    return F.softplus(other.sigmoid() - own.sigmoid())
