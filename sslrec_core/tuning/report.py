"""What a study found, for people and as a preset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from sslrec_core.config import Layer, merge, parse_assignment, to_toml
from sslrec_core.errors import TrainingError
from sslrec_core.files import write_text
from sslrec_core.tuning.study import WHY, Study


@dataclass(frozen=True)
class Outcome:
    """The best trial beside the configuration that the study began with."""

    study: Study
    best: FrozenTrial
    present: FrozenTrial | None
    """The trial of what the configuration had before, if the space holds that and the trial is complete."""

    @property
    def value(self) -> float:
        """What the best trial reached: the judging metric on the validation part."""
        assert self.best.value is not None
        return self.best.value

    @property
    def settings(self) -> list[str]:
        """The best trial's options, as ``--set`` takes them."""
        return self.study.space.assignments(self.best.params)

    def save_preset(self, path: str | Path) -> None:
        """Write the best trial's options to ``path``, with how they were found."""
        save_preset(self.study, Path(path))


def outcome(study: Study) -> Outcome:
    """The best trial.

    Raises:
        TrainingError: no trial is complete.
    """
    best = study.best()
    if best is None:
        failed = [trial.user_attrs[WHY] for trial in study.trials(TrialState.FAIL) if WHY in trial.user_attrs]
        raise TrainingError("no trial came to its end", *dict.fromkeys(failed), fix="a smaller or other space")
    values = study.space.present(study.config.model_dump(mode="json"))
    same = [trial for trial in study.trials(TrialState.COMPLETE) if trial.params == values]
    return Outcome(study, best, same[0] if same else None)


def save_preset(study: Study, path: Path) -> None:
    """Write the best trial's values to ``path``, with how they were found."""
    found = outcome(study)
    choice, judge = study.config.model.name, study.judge
    counts = {state: len(study.trials(state)) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
    about = [
        f"# {choice} on {study.config.data.name}, tuned on the validation part: {judge} {found.value:.4f}",
        f"# in trial {found.best.number} of {sum(counts.values())} ({counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed), sampler {study.settings.sampler}, seed {study.config.run.seed}.",
    ]
    if found.present is not None:
        about.append(f"# Before: {judge} {found.present.value:.4f}.")
    values, _ = merge(Layer("", parse_assignment(text)) for text in found.settings)
    write_text(path, "\n".join([*about, "", to_toml(values)]))
