"""Model card of an ensemble: its members, and its own scores beside theirs."""

from __future__ import annotations

from pipeline.number_format import format_spread
from pipeline.promote.evidence import SPLITS
from pipeline.promote.model_card import CHOSEN_ON_VALIDATION, DIGITS, ModelCard, format_code
from pipeline.wording import join_words, pluralize

MAX_MEMBERS = 15  # members that are listed; others are counted


class EnsembleCard(ModelCard):
    """Everything that the descriptions of an ensemble state. It has no verdict, because it has no loss curve."""

    def _name_model(self) -> str:
        names = [format_code(member.run) for member in self.run.members]
        return f"the ensemble of {join_words(names, MAX_MEMBERS)}"

    def _describe_version_origin(self) -> str:
        text = f"This version is {self._name_model()}: it averages their class probabilities."
        return f"{text} {self._describe_temperature()}"

    def _describe_temperature(self) -> str:
        temperature = self.project.read_ensemble_record().temperature
        if temperature.reason:
            return temperature.reason
        return (
            f"The logarithms of these means are divided by a temperature of {temperature.value:g}, which was fitted on "
            "the validation images."
        )

    def _describe_verdict(self) -> str:
        return ""

    def _name_spread(self) -> str:
        return "its members, mean ± standard deviation"

    def _collect_spread(self) -> dict[str, str]:
        record = self.project.read_ensemble_record()
        return {
            f"{prefix}_{row.score}": format_spread(row.members_mean, row.members_sd, DIGITS)
            for prefix, split in SPLITS.items()
            for row in record.scores
            if row.split == split and not row.class_name
        }

    def _list_score_notes(self) -> list[str]:
        notes = [self._explain_loss(), "The calibration error is 0 for perfect probabilities."]
        record = self.project.read_ensemble_record()
        without = record.unscaled.get("test")
        if without is not None and without.loss is not None and not record.temperature.reason:
            notes.append(
                f"Without the temperature, the test loss is {without.loss:.4f} and the calibration error on the test "
                f"images {without.calibration_error:.4f}."
            )
        return notes

    def _list_score_limits(self) -> list[str]:
        limits = [f"A prediction costs as much as those of {pluralize(len(self.run.members), 'network')}."]
        if self.run.data.folds is None:
            return [*limits, CHOSEN_ON_VALIDATION]
        return [
            *limits,
            "It has no validation scores, because the validation images of a member are training images of others.",
        ]

    def _count_images(self) -> str:
        folds = self.run.data.folds
        if folds is None:
            return super()._count_images()
        prepared = self.project.prepared
        return (
            f"{len(prepared.open_split('train'))} images in {folds} folds and {len(prepared.open_split('test'))} test "
            "images"
        )

    def _describe_networks(self) -> str:
        members = self.run.members
        listed = [f"{member.cell['seed']} (epoch {member.best_epoch} of {member.epochs})" for member in members]
        parameters = sum(member.trainable_parameters for member in members)
        return (
            f"seeds {join_words(listed, MAX_MEMBERS)}, {parameters:,} trainable parameters in all, key of the ensemble "
            f"`{self.run.key}`"
        )
