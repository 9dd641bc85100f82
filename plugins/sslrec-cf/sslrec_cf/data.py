"""The scenario ``cf``: interactions as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sslrec_core.data import Interactions, OverInteractions, Prepared, Raw, Scenario
from sslrec_core.ingest.prepare import prepare_interactions


@dataclass(frozen=True, eq=False)
class CFData(OverInteractions):
    """Who interacted with what, and nothing else."""

    interactions: Interactions

    def to(self, device: torch.device | str) -> CFData:
        return CFData(self.interactions.to(device))


class CF(Scenario):
    """Collaborative filtering: recommendation from interactions alone."""

    def process(self, raw: Raw) -> Prepared:
        """Number users and items, filter, split; tables other than ``interactions`` are not looked at.

        Raises:
            DataError: as :func:`sslrec_core.ingest.prepare.prepare_interactions`.
        """
        return prepare_interactions(raw, self.config)

    def data(self, prepared: Prepared) -> CFData:
        return CFData(Interactions.of(prepared))
