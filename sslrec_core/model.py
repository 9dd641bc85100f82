"""The parts a recommender is made of: components, models and the stages they train in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from sslrec_core.config import Configured

if TYPE_CHECKING:
    from sslrec_core.data import Data, Queries
    from sslrec_core.loop import Loop

Losses: TypeAlias = Mapping[str, Tensor]
Scorer: TypeAlias = Callable[["Queries"], Tensor]
MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


class Embeddings(NamedTuple):
    """Vectors whose dot product is the score of a user and an item."""

    users: Tensor
    """``[users, dim]``"""
    items: Tensor
    """``[items, dim]``"""


class Towers(NamedTuple):
    """Two sides whose dot product is the score: one reads queries, the other is the catalogue."""

    queries: Callable[[Queries], Tensor]
    """The vector of each query, ``[queries, dim]``"""
    items: Tensor
    """``[items, dim]``"""


@dataclass(frozen=True)
class Portable:
    """What scores without sslrec: a module of plain tensors, and how to put queries to it."""

    module: nn.Module
    """Takes the tensors of ``inputs`` in their order, gives scores ``[rows, items]``."""
    inputs: Callable[[Queries], dict[str, Tensor]]
    """The named tensors that ask ``module`` about queries."""
    axes: Mapping[str, Mapping[int, str]]
    """For each input, its axes that may have any size, by name; axes of one name have one size."""
    facts: Mapping[str, Any]
    """What whoever asks has to know, such as the longest history; it is written beside an export."""


@dataclass(frozen=True)
class Stage:
    """A named stretch of training.

    ``epoch`` is called ``epochs`` times with the loop.  A stage that is not ``judged`` is neither evaluated nor
    stopped early: pretraining, or a closed-form fit.
    """

    name: str
    epochs: int
    epoch: Callable[[Loop], None]
    judged: bool = True


class Component(Configured, nn.Module):
    """A configured module: one of the parts a model is made of."""

    def __init__(self, config: Any) -> None:
        nn.Module.__init__(self)
        Configured.__init__(self, config)


class Encoder(Component):
    """A view in, vectors out."""


class Augmenter(Component):
    """A view in, a changed view of the same type out.  May hold parameters and learn."""


class Objective(Component):
    """Vectors in, one number to make smaller out, already multiplied by ``config.weight``."""


class Model(Component):
    """A recommender: a composition of components, written out in its constructor.

    Implement :meth:`losses`, and one of :meth:`embeddings` (scores are dot products of users and items),
    :meth:`towers` (of queries and items) and :meth:`scorer`.  Everything else has a default.  Classes are abstract or
    final: a variant composes, it does not override.

    Stability: stable for implementers from API 1.
    """

    class Config(Configured.Config):
        embedding_dim: PositiveInt = 64
        """Size of user and item vectors."""

    data: Data
    folds_in: ClassVar[bool] = False
    """Whether the model can score for people whom it was not trained on; then it implements :meth:`fold_in`."""

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config)
        # Not a module attribute that nn.Module tracks: data moves to the device on its own.
        object.__setattr__(self, "data", data)
        self._remembered: set[str] = set()

    @abstractmethod
    def losses(self, batch: Any) -> Losses:
        """Weighted terms for one batch; their sum is minimised, each is recorded by name."""

    def embeddings(self) -> Embeddings | None:
        """User and item vectors whose dot product is the score, or None if the score is not a dot product."""
        return None

    def towers(self) -> Towers | None:
        """The two sides of a score that is a dot product, or None; by default those of :meth:`embeddings`."""
        vectors = self.embeddings()
        if vectors is None:
            return None
        users, items = vectors
        return Towers(lambda queries: users[queries.users], items)

    def scorer(self) -> Scorer:
        """Do what scoring needs once (encode the graph), then answer any number of queries.

        Returns a function from :class:`~sslrec_core.data.Queries` to scores ``[queries, items]``; higher is better.
        """
        towers = self.towers()
        if towers is None:
            raise TypeError(f"{type(self).__name__} must implement embeddings(), towers() or scorer()")
        vectors, items = towers
        return lambda queries: vectors(queries) @ items.T

    def fold_in(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[people, items]`` for people who are not in the data, by what they met.

        Only where it is sound, and ``folds_in`` says so: the scores are those that a user with the same history gets.

        Args:
            items: What they met, oldest first, one person after the other.  ``Long[met]``
            lengths: How many items each person met, at least one.  ``Long[people]``
        """
        raise NotImplementedError(f"{type(self).__name__} knows the users that it was trained on, and nobody else")

    def portable(self) -> Portable | None:
        """What scores without sslrec, in evaluation mode, with the same numbers; None: there is no such thing."""
        return None

    def epoch(self, loop: Loop) -> None:
        """One pass over the training data: the algorithm box of the paper, in the loop's verbs."""
        for batch in loop.batches():
            loop.minimise(self.losses(batch))

    def optimizers(self, make: MakeOptimizer) -> dict[str, Optimizer]:
        """Named optimisers; ``make`` builds one as the config says."""
        parameters = list(self.parameters())
        return {"main": make(parameters)} if parameters else {}

    def stages(self, epochs: int) -> Sequence[Stage]:
        """What training consists of; ``epochs`` is ``train.epochs``."""
        return [Stage("train", epochs, self.epoch)]

    def remember(self, name: str, value: Tensor) -> None:
        """Keep ``value`` as ``self.<name>``: something scoring needs and no gradient learns.

        It is saved with the parameters and may have another size when it is restored.
        """
        self._remembered.add(name)
        self.register_buffer(name, value.detach())

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore parameters and remembered buffers from ``tensors``.

        Raises:
            RuntimeError: a parameter is missing, unknown or of another shape.
        """
        own = dict(self.state_dict())
        device = next((value.device for value in own.values()), torch.device("cpu"))
        for name, value in tensors.items():
            if name not in own or (name in self._remembered and own[name].shape != value.shape):
                parent, _, leaf = name.rpartition(".")
                if parent == "":
                    self.remember(leaf, value.to(device))
        self.load_state_dict(dict(tensors), strict=True)
