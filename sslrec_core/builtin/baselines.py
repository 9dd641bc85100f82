"""Baselines in closed form: no epochs, no gradients, any scenario.  Many a published model does not beat them.

They read the interactions alone.  Fitting is one stage of one epoch; what scoring needs is remembered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.sparse import csr_array, diags_array
from torch import Tensor
from torch.nn import functional as F

from sslrec_core.builtin.neighbours import Floats, Weighting, strongest, weighted
from sslrec_core.config import Rate
from sslrec_core.errors import TrainingError
from sslrec_core.evaluate import portion
from sslrec_core.interactions import Queries
from sslrec_core.memory import require
from sslrec_core.model import Component, Losses, Model, Scorer, Stage
from sslrec_core.rows import Rows

if TYPE_CHECKING:
    from sslrec_core.loop import Loop

SMALLEST = np.finfo(np.float32).tiny


class ClosedForm(Model):
    """A model whose parameters follow from the data in one step.

    Implement :meth:`compute` and :meth:`computed`.
    """

    # Not the model's own Config: there are no vectors, so no size of vectors.
    class Config(Component.Config):
        fit_on: Literal["train", "train+valid"] = "train"
        """What is fitted to, and scored from where a query brings no history of its own.  With ``train+valid`` the
        validation part is no longer a judge: choose the other options with ``train`` first."""

    config: Config

    @abstractmethod
    def compute(self) -> None:
        """Compute and :meth:`remember` what scoring needs; no gradients are kept."""

    @abstractmethod
    def computed(self) -> Scorer:
        """A scorer, after :meth:`compute`."""

    def losses(self, batch: Any) -> Losses:
        """None: nothing is learned by gradient."""
        return {}

    def stages(self, epochs: int) -> Sequence[Stage]:
        """One fit, however many epochs are allowed."""
        return [Stage("fit", 1, self._fit, judged=False)]

    def scorer(self) -> Scorer:
        if not self._remembered:
            raise TrainingError(f"{type(self).__name__} has not been fitted", fix="train it, or open a finished run")
        return self.computed()

    def _fit(self, loop: Loop) -> None:
        with torch.no_grad():
            self.compute()


class OfInteractions(ClosedForm):
    """A model in closed form that reads which items each user has, in no order.

    Implement :meth:`fit` and :meth:`scores_from`.
    """

    folds_in: ClassVar[bool] = True

    @abstractmethod
    def fit(self, history: Rows) -> None:
        """Compute and :meth:`remember` what scoring needs.

        Args:
            history: Items of each user, ``[users]`` rows, on the device of the data.
        """

    @abstractmethod
    def scores_from(self, history: Rows) -> Scorer:
        """A scorer for users with this ``history``, after :meth:`fit`; they may be others than those fitted to."""

    def compute(self) -> None:
        self.fit(self.history())

    def computed(self) -> Scorer:
        return self.scores_from(self.history())

    def fold_in(self, items: Tensor, lengths: Tensor) -> Tensor:
        people = torch.arange(len(lengths), device=lengths.device)
        history = Rows.of(people.repeat_interleave(lengths), items, len(people), self.data.n_items)
        nothing = Rows.empty(len(people), self.data.n_items, lengths.device)
        return self.scores_from(history)(Queries(people, nothing, nothing))

    def history(self) -> Rows:
        """Items of each user that are fitted to, and scored from where a query brings none of its own."""
        return self.data.interactions.together(*self.config.fit_on.split("+"))


class Popularity(OfInteractions):
    """Recommend to everyone what most users have: the least that any model must beat."""

    counts: Tensor
    """``[items]``"""

    def fit(self, history: Rows) -> None:
        self.remember("counts", torch.bincount(history.columns, minlength=history.n_columns).float())

    def scores_from(self, history: Rows) -> Scorer:
        counts = self.counts.to(history.columns.device)
        return lambda queries: counts.expand(len(queries.users), -1)


class Neighbours(OfInteractions):
    """A score is the sum over the user's items of their similarity to the candidate, from a sparse matrix."""

    pointers: Tensor
    """Row pointers of the similarities, one row for each item of a history.  Long ``[items + 1]``"""
    columns: Tensor
    """Candidates.  Int ``[entries]``"""
    similarities: Tensor
    """``[entries]``"""

    @abstractmethod
    def similarity(self, matrix: csr_array) -> csr_array:
        """Similarity of each item of a history (row) to each candidate (column), from ``[users, items]`` ones."""

    def fit(self, history: Rows) -> None:
        found = self.similarity(history.to_scipy())
        self.remember("pointers", torch.from_numpy(found.indptr.astype(np.int64)))
        self.remember("columns", torch.from_numpy(found.indices.astype(np.int32)))
        self.remember("similarities", torch.from_numpy(found.data.astype(np.float32)))

    def scores_from(self, history: Rows) -> Scorer:
        # On the host whatever the device: sparse times sparse is what it is fastest at, and the sums come out the same.
        n = history.n_columns
        parts = (part.cpu().numpy() for part in (self.similarities, self.columns, self.pointers))
        similarity, device = csr_array(tuple(parts), shape=(n, n)), history.columns.device

        def scores(queries: Queries) -> Tensor:
            profiles = history.select(queries.users).to_scipy()
            return torch.from_numpy((profiles @ similarity).toarray()).to(device)

        return scores


class ItemKNN(Neighbours):
    """Items that the same users have are alike; each candidate has its nearest neighbours (Sarwar et al. 2001)."""

    class Config(Neighbours.Config):
        neighbours: PositiveInt = 100
        """Most similar items that a candidate listens to."""
        shrink: NonNegativeFloat = 10.0
        """Added to the denominator: similarities that rest on few common users become smaller."""
        similarity: Literal["cosine", "asymmetric", "jaccard", "dice", "overlap"] = "cosine"
        """Common users, divided by: the root of both items' users (cosine), the candidate's users to the power
        ``alpha`` times the other's to the power 1 - ``alpha`` (asymmetric), the users of either (jaccard), the mean of
        both items' users (dice), or nothing (overlap, where ``shrink`` has no effect)."""
        alpha: Rate = 0.5
        """For the asymmetric similarity: below one half, candidates with many users are favoured."""
        weighting: Weighting = "none"
        """Weights of the interactions before similarities are computed: tf-idf and bm25 trust users of few items."""

    config: Config

    def similarity(self, matrix: csr_array) -> csr_array:
        features = weighted(matrix, self.config.weighting)
        square = np.asarray(features.power(2).sum(0), dtype=np.float32)

        def finish(common: Floats, part: slice) -> Floats:
            return self._divided(common, square[part, None], square)

        return csr_array(strongest(features.T.tocsr(), features, finish, self.config.neighbours).T)

    def _divided(self, common: Floats, own: Floats, other: Floats) -> Floats:
        kind, alpha = self.config.similarity, self.config.alpha
        if kind == "overlap":
            return common
        if kind == "jaccard":
            size = own + other - common
        elif kind == "dice":
            size = (own + other) / 2
        else:
            alpha = 0.5 if kind == "cosine" else alpha
            size = own**alpha * other ** (1 - alpha)
        # Where nobody has either item, nothing is divided by next to nothing.
        similarity: Floats = common / np.maximum(size + self.config.shrink, SMALLEST)
        return similarity


class RP3beta(Neighbours):
    """Three random steps from a user, with a discount for popular ends (Christoffel et al. 2015)."""

    class Config(Neighbours.Config):
        alpha: NonNegativeFloat = 0.6
        """Power of each step's probability."""
        beta: NonNegativeFloat = 0.4
        """Power of the candidate's popularity that scores are divided by; 0 is P3alpha."""
        neighbours: PositiveInt = 100
        """Items of a history with the largest probability that are kept for each candidate."""
        normalise: bool = False
        """Scale what an item of a history gives to its candidates so that it adds up to one."""

    config: Config

    def similarity(self, matrix: csr_array) -> csr_array:
        to_items, to_users = (_step(side, self.config.alpha) for side in (matrix, matrix.T.tocsr()))
        popularity = np.maximum(np.asarray(matrix.sum(0), dtype=np.float32), 1)
        discount = (popularity**-self.config.beta).astype(np.float32)

        def finish(chance: Floats, part: slice) -> Floats:
            return chance * discount[part, None]

        # Read backwards, a row for each candidate: chosen for each start instead, popular ends crowd out the rest.
        candidates = strongest(to_items.T.tocsr(), to_users.T.tocsr(), finish, self.config.neighbours)
        found = csr_array(candidates.T)
        if self.config.normalise:
            total = found.sum(1)
            found = csr_array(diags_array(1 / np.where(total > 0, total, 1)) @ found)
        return found


def _step(matrix: csr_array, power: float) -> csr_array:
    """The chance of each entry when a row's entries are equally likely, to a power."""
    length = np.maximum(matrix.sum(1), 1)
    return csr_array(diags_array((length**-power).astype(np.float32)) @ matrix)


class EASE(OfInteractions):
    """Linear regression of each item on all others, with a closed form (Steck 2019)."""

    class Config(ClosedForm.Config):
        l2: PositiveFloat = 500.0
        """Weight of the squared coefficients."""

    config: Config
    known: Tensor
    """The items that someone has, ascending: all others get no coefficients and no score.  Long ``[known]``"""
    weights: Tensor
    """Zero from an item to itself; the last row, of zeros, is what items say that nobody had, which newcomers may
    bring.  ``[known + 1, known]``"""

    def fit(self, history: Rows) -> None:
        known, device = torch.unique(history.columns), history.columns.device
        n = len(known)
        require(3 * n * n * 4, device, f"EASE on {n} items", f"3 matrices x {n}² weights x 4 bytes")
        self.remember("known", known)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._gram(history).to(device)))
        weights = inverse.div_(-inverse.diagonal()).fill_diagonal_(0)
        # Contiguous, because scoring reads whole rows; the solver leaves columns.
        self.remember("weights", F.pad(weights, (0, 0, 0, 1)).contiguous())

    def _gram(self, history: Rows) -> Tensor:
        """Common users of each two known items, plus ``l2`` on the diagonal."""
        matrix = history.to_scipy()[:, self.known.cpu().numpy()]
        n = len(self.known)
        items, gram = matrix.T.tocsr(), np.empty((n, n), np.float32)
        size = portion(max(n, 1), torch.device("cpu"))
        for start in range(0, n, size):
            gram[start : start + size] = (items[start : start + size] @ matrix).toarray()
        gram[np.diag_indices(n)] += self.config.l2
        return torch.from_numpy(gram)

    def scores_from(self, history: Rows) -> Scorer:
        n, device = history.n_columns, history.columns.device
        known, weights = self.known.to(device), self.weights.to(device)
        ranks = torch.arange(len(known), device=device)
        place = torch.full((n,), len(known), device=device).index_copy(0, known, ranks)

        def scores(queries: Queries) -> Tensor:
            own = history.select(queries.users)
            found = F.embedding_bag(place[own.columns], weights, own.pointers[:-1], mode="sum")
            return found if len(known) == n else found.new_zeros(len(own), n).index_copy_(1, known, found)

        return scores
