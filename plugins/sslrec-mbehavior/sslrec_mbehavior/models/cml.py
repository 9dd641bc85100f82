"""CML: behaviours told apart by contrast, and a meta network that learns how much each loss of each user counts.

Wei, Huang, Xia, Xu, Zhao and Yin, "Contrastive Meta Learning with Behavior Multiplicity for Recommendation", WSDM'22.
Where the paper and the authors' code differ, defaults follow the code.  Its meta step is a step of the first order; the
one of the paper, which differentiates through the look-ahead, is the default here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional as F
from torch.optim import Optimizer

from sslrec_core.builtin.objectives import L2
from sslrec_core.config import Rate, Share
from sslrec_core.graph import SparseGraph
from sslrec_core.model import Embeddings, Losses, MakeOptimizer, Model
from sslrec_mbehavior.data import MultiBehaviorBatch, MultiBehaviorData
from sslrec_mbehavior.encoders import BehaviourGCN, Encoded
from sslrec_mbehavior.weighing import Weigher

if TYPE_CHECKING:
    from sslrec_core.loop import Loop


class CML(Model):
    """Contrast between behaviours, weighted for each user by a network that looks one step ahead (CML, WSDM'22)."""

    class Config(Model.Config):
        embedding_dim: PositiveInt = 16
        """Size of user and item vectors."""
        encoder: BehaviourGCN.Config = BehaviourGCN.Config()
        """Propagation over the graphs of all behaviours."""
        normalise: bool = True
        """Divide messages by the square roots of both degrees; otherwise they are summed, as equations 1 and 2 and the
        published code have it."""
        contrast_weight: NonNegativeFloat = 0.005
        """Factor of the contrast beside the ranking; beta in the paper."""
        temperature: PositiveFloat = 16.0
        """Divides similarities; the authors divide by the size of the vectors."""
        contrast_share: Share = 0.1
        """Share of a batch's users that are contrasted."""
        contrast_block: PositiveInt = 30
        """Sampled users who are not told apart from one another: each is from those outside of its own block."""
        l2: L2.Config = L2.Config(weight=2e-3)
        """Penalty on the final vectors of the target's pairs."""
        meta_users: PositiveInt = 128
        """Users that the meta step is judged by."""
        meta_draws: PositiveInt = 10
        """Pairs of each of them and each behaviour, at most."""
        inner_learning_rate: PositiveFloat = 1.0
        """Step size of the look-ahead, one step of gradient descent; the authors look ahead by one of AdamW."""
        first_order: bool = False
        """Take the look-ahead as it is, as the authors' code does, instead of differentiating through it."""
        weigh_meta_loss: bool = True
        """Weigh the losses that judge the weights too, as the authors' code does."""
        dropout: Rate = 0.8
        """Dropout in the meta network."""

        @model_validator(mode="after")
        def _something_to_learn_from(self) -> Self:
            if self.first_order and not self.weigh_meta_loss:
                raise ValueError("with first_order and no weigh_meta_loss the weights would learn from nothing")
            return self

    config: Config
    data: MultiBehaviorData

    def __init__(self, config: Config, data: MultiBehaviorData) -> None:
        super().__init__(config, data)
        self.encoder = BehaviourGCN(config.encoder, data.n_users, data.n_items, config.embedding_dim)
        self.weigher = Weigher(config.embedding_dim, config.dropout)
        self.l2 = L2(config.l2)

    @property
    def graphs(self) -> tuple[SparseGraph, ...]:
        """One graph for each behaviour."""
        return self.data.graphs if self.config.normalise else self.data.counting_graphs

    def embeddings(self) -> Embeddings:
        encoded = self.encoder(self.graphs)
        return Embeddings(encoded.users, encoded.items)

    # ---- losses, one for each row

    def rankings(self, encoded: Encoded, batch: MultiBehaviorBatch) -> list[Tensor]:
        """``-log sigmoid(u.p - u.n)`` of each pair of each behaviour, ``[pairs]`` each."""
        found = []
        for pairs in batch.pairs:
            users, positives = F.embedding(pairs.users, encoded.users), F.embedding(pairs.positives, encoded.items)
            below = F.embedding(pairs.negatives, encoded.items) - positives[:, None]
            found.append(F.softplus((users[:, None] * below).sum(-1)).mean(1))
        return found

    def contrasts(self, encoded: Encoded, users: Tensor) -> Tensor:
        """The target's view of ``users`` against that of every behaviour, ``[behaviours, users]``.

        ``-log(exp(x.y / t) / sum exp(x.y' / t))`` over the distinct users who are not sampled in the same block.
        """
        apart = encoded.of_behaviour.index_select(1, users)
        similarity = apart[-1] @ apart.mT / self.config.temperature
        others = separated(users, self.config.contrast_block)
        total = similarity.masked_fill(~others, -torch.inf).logsumexp(2)
        return total - similarity.diagonal(dim1=1, dim2=2)

    def total(
        self, encoded: Encoded, batch: MultiBehaviorBatch, sampled: Tensor, weigh: bool = True, through: bool = False
    ) -> Losses:
        """The weighted losses of a batch, divided by the number of behaviours and of rows.

        Gradients pass ``through`` what weights are made from, or weights are numbers to the encoder.
        """
        rankings, contrasts = self.rankings(encoded, batch), self.contrasts(encoded, sampled)
        if weigh:
            seen = encoded if through else Encoded(*(each.detach() for each in encoded))

            def weighed(look: Callable[..., Tensor], losses: Tensor, k: int, users: Tensor) -> Tensor:
                vectors = (F.embedding(users, table) for table in (seen.of_behaviour[k], seen.users))
                return losses * look(losses if through else losses.detach(), *vectors)

            looks = self.weigher.rankings, self.weigher.contrasts
            rankings = [weighed(looks[0], rankings[k], k, pairs.users) for k, pairs in enumerate(batch.pairs)]
            contrasts = torch.stack([weighed(looks[1], contrasts[k], k, sampled) for k in range(len(contrasts))])
        share = 1 / (len(batch.pairs) * len(batch))
        own = batch.pairs[-1]
        items = (F.embedding(chosen, encoded.items) for chosen in (own.positives, own.negatives))
        return {
            "ranking": torch.cat(rankings).sum() * share,
            "contrast": self.config.contrast_weight * share * contrasts.sum(),
            "l2": self.l2(F.embedding(own.users, encoded.users), *items),
        }

    def losses(self, batch: MultiBehaviorBatch) -> Losses:
        return self.total(self.encoder(self.graphs), batch, self.sampled(batch))

    def meta_loss(self, batch: MultiBehaviorBatch, judges: MultiBehaviorBatch) -> Tensor:
        """What the weights would have led to: the loss on ``judges`` after one step on ``batch``.

        The step starts at the model's parameters, which get no gradient from here; the weigher's do, through the step.
        """
        graphs, config = self.graphs, self.config
        own = {name: value.detach() for name, value in self.encoder.named_parameters()}
        some = self.sampled(batch)

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return added(self.total(functional_call(self.encoder, parameters, (graphs,)), batch, some))

        slopes = grad(loss)(own)
        if config.first_order:
            slopes = {name: slope.detach() for name, slope in slopes.items()}
        ahead = {name: value - config.inner_learning_rate * slopes[name] for name, value in own.items()}
        encoded = functional_call(self.encoder, ahead, (graphs,))
        return added(self.total(encoded, judges, judges.users, config.weigh_meta_loss, through=True))

    # ---- training

    def epoch(self, loop: Loop) -> None:
        """For each batch: look ahead and learn the weights, then learn the model with them."""
        for batch, judges in loop.batches(self._judged(loop)):
            loop.minimise({"meta": self.meta_loss(batch, judges)}, by="weigher")
            loop.minimise(self.losses(batch))

    def _judged(self, loop: Loop) -> Iterator[tuple[MultiBehaviorBatch, MultiBehaviorBatch]]:
        """Batches of the epoch, each beside one of users with pairs of each behaviour."""
        data, config, rank, world = self.data, self.config, loop.rank, loop.world
        judges: Iterator[MultiBehaviorBatch] = iter(())
        for batch in data.batches(loop.train, rank=rank, world=world):
            judge = next(judges, None)
            if judge is None:
                draws, negatives = config.meta_draws, loop.train.negatives
                judges = data.user_batches(config.meta_users, draws, negatives, of_target=True, rank=rank, world=world)
                judge = next(judges)
            yield batch, judge

    def sampled(self, batch: MultiBehaviorBatch) -> Tensor:
        """Users of the batch to contrast, by chance."""
        size = max(1, int(self.config.contrast_share * len(batch)))
        return batch.users[torch.randperm(len(batch), device=batch.users.device)[:size]]

    def optimizers(self, make: MakeOptimizer) -> dict[str, Optimizer]:
        return {"main": make(self.encoder.parameters()), "weigher": make(self.weigher.parameters())}


def added(losses: Losses) -> Tensor:
    """The sum of all terms."""
    return torch.stack(list(losses.values())).sum()


def separated(users: Tensor, block: int) -> Tensor:
    """Which columns each row is told apart from: distinct users who do not stand in the row's block of ``users``.

    A row without any other is told apart from itself, which tells nothing.  ``Long[n] -> Bool[n, n]``
    """
    n, device = len(users), users.device
    first = (users[:, None] == users).to(torch.uint8).argmax(1)
    blocks = torch.arange(n, device=device) // block
    inside = torch.zeros(-(-n // block), n, dtype=torch.bool, device=device)
    inside[blocks, first] = True
    others = (first == torch.arange(n, device=device)) & ~inside[blocks]
    alone = ~others.any(1, keepdim=True)
    return others | (alone & torch.eye(n, dtype=torch.bool, device=device))
