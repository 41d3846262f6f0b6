"""Model cards: descriptions of a registered model and of its versions in Markdown, which MLflow's pages show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import RunSummary, SettingSummary, Summary
from pipeline.artifacts.metric_names import get_column
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.imaging.decode import FORMATS
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.inference.trained_run import TrainedRun
from pipeline.number_format import format_spread
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import find_intensities, find_scenes
from pipeline.promote.serve_command import ALIAS, format_model_uri, format_serve_command
from pipeline.tracking.tags import format_missed_classes
from pipeline.volumes.slice_file import create_window
from pipeline.wording import format_size, join_words, pluralize

MAX_LENGTH = 5_000  # characters, MLflow's limit for a description
DIGITS = 4  # of scores, as in the tags of the version
MAX_CLASSES = 12  # classes that are listed; others are counted
CHOSEN_ON_VALIDATION = (
    "The validation images also served to choose the epoch and the setting, so scores on new images may be lower."
)
END = "*Written by `pipeline promote`, which updates this text unless you delete this line.*"
_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class ModelCard:
    """Everything that the descriptions of a model state."""

    run: TrainedRun
    params: Params
    project: Project
    evidence: Mapping[str, str]  # the tags of the version: scores by name, and the agreement of the exported network
    name: str  # of the registered model
    version: str
    uri: str  # of MLflow, without passwords

    def describe_model(self) -> str:
        """Describe the registered model, whose champion is this version."""
        verdict = f", verdict **{self.evidence['verdict']}**" if "verdict" in self.evidence else ""
        scores = ", ".join(
            f"{label} {self.evidence[name]}"
            for name, label in (("val_loss", "validation loss"), ("val_mean_iou", "validation mean IoU"))
            if name in self.evidence
        )
        champion = (
            f"The alias `{ALIAS}` marks version {self.version}, {self._name_model()}{verdict}"
            f"{f', {scores}' if scores else ''}. Each version's page has a model card with its scores and limits."
        )
        return _join([f"{self._describe_purpose()} {self._describe_title()}", champion, self._describe_use(None)])

    def describe_version(self) -> str:
        """Describe the version: purpose, verdict, scores, limits, use, input and output, and training data."""
        sections = [
            f"{self._describe_purpose()} {self._describe_version_origin()}",
            self._describe_verdict(),
            self._describe_scores(),
            _format_section("Limits", _format_list(self._list_limits())),
            self._describe_use(self.version),
            _format_section("Input and output", f"{self._describe_input()}\n\n{self._format_classes()}"),
            _format_section("Training", self._describe_training()),
        ]
        return _join(sections)

    @property
    def _record(self) -> RunRecord:
        return self.run.record

    @property
    def _summary(self) -> Summary:
        return self.project.comparison.summary

    @property
    def _row(self) -> RunSummary | None:
        return next((row for row in self._summary.runs if row.run == self._record.run), None)

    @property
    def _setting(self) -> SettingSummary | None:
        row, settings = self._row, self._summary.settings
        if row is None:
            return None
        return next(one for one in settings if one.setting == row.setting)

    @property
    def _is_best(self) -> bool:
        return self._summary.best is not None and self._summary.best.run == self._record.run

    def _name_model(self) -> str:
        return format_code(self._record.run)

    def _describe_version_origin(self) -> str:
        return f"This version is the model of the run {self._name_model()}."

    def _describe_purpose(self) -> str:
        classes = self.run.data.classes
        names = join_words([format_code(item.name) + _describe_role(item) for item in classes], MAX_CLASSES)
        return f"Segments images into {pluralize(len(classes), 'class', 'classes')}: {names}."

    def _describe_title(self) -> str:
        return f'Trained on "{_escape(self.run.data.title)}".'

    def _describe_verdict(self) -> str:
        row = self._row
        if row is None or row.judgment is None:
            return ""
        phrases = [_escape(phrase) for phrase in row.judgment.evidence]
        if row.missed_classes:
            phrases.append(f"Missed classes: {_escape(format_missed_classes(row.missed_classes))}.")
        return _format_section(f"Verdict: {row.judgment.verdict}", _format_list(phrases))

    def _describe_scores(self) -> str:
        spread = self._collect_spread()
        header = self._name_spread() if spread else ""
        names = [name for name in self.evidence if name.startswith(("val_", "test_", "gap"))]
        rows = [f"| {name} | {self.evidence[name]} | {spread.get(name, '')} |" for name in names]
        if not rows:
            return ""
        table = "\n".join([f"| score | this model | {header} |", "|---|---|---|", *rows])
        return _format_section("Scores", f"{table}\n\n{' '.join(self._list_score_notes())}")

    def _list_score_notes(self) -> list[str]:
        notes = [self._explain_loss(), "The gap is the validation loss minus the training loss."]
        judgment = self._row.judgment if self._row else None
        if judgment and judgment.gap_low is not None and judgment.gap_high is not None:
            notes.append(f"95% interval of the gap on new images: {judgment.gap_low:.3f} to {judgment.gap_high:.3f}.")
        return notes

    def _explain_loss(self) -> str:
        return (
            "The loss is cross-entropy in nats per pixel; the class-prior baseline has a validation loss of "
            f"{self._summary.baseline_loss:.4f}."
        )

    def _name_spread(self) -> str:
        """Name the column of `_collect_spread`."""
        seeds = self._summary.describe_seeds(self._setting) if self._setting else "0 seeds"
        return f"mean ± standard deviation over {seeds}"

    def _collect_spread(self) -> dict[str, str]:
        """Collect the mean and the standard deviation of scores over the seeds of the run's setting."""
        row, setting = self._row, self._setting
        if row is None or setting is None:
            return {}
        runs = [one for one in self._summary.list_runs(setting) if one.is_complete]
        scores = {
            name: [getattr(one, name) for one in runs]
            for name in ("val_loss", "gap", "val_mean_iou", "val_foreground_iou", "val_object_iou")
        }
        ranked = self._summary.rank_by
        scores[get_column(ranked)] = [one.get_metric(ranked) for one in runs]
        if self._is_best and self._summary.best:
            tests = self._summary.best.test_by_seed
            scores |= {"test_loss": [one.loss for one in tests], "test_mean_iou": [one.mean_iou for one in tests]}
        spreads = {name: compute_mean_and_sd(values) for name, values in scores.items()}
        return {name: format_spread(*spread, DIGITS) for name, spread in spreads.items() if spread[0] is not None}

    def _list_limits(self) -> list[str]:
        data = self.params.data
        limits = []
        if isinstance(data, CompositesData):
            limits.append("It was trained on composites only. Photographs differ from them, so expect poor masks.")
            if data.external_test is not None and "test_loss" in self.evidence:
                limits.append(
                    "The test scores are those on the images of `data.external_test`, which are no composites."
                )
        else:
            limits.append("Images that differ from the training images, such as those of another camera, are untested.")
        limits += self._list_score_limits()
        agreement = self.evidence.get("agreement")
        if agreement is not None:
            limits.append(
                f"*agreement*: the exported network (ONNX, float32) predicts the same class as the trained one for "
                f"{float(agreement):.2%} of the validation pixels."
            )
        return limits

    def _list_score_limits(self) -> list[str]:
        row, setting = self._row, self._setting
        limits = []
        if row is not None and row.judgment is not None and row.judgment.beats_baseline is False:
            limits.append("It is no better than predicting one class everywhere.")
        if row is not None:
            limits.append(CHOSEN_ON_VALIDATION)
        if "test_loss" not in self.evidence:
            limits.append("It has no test scores, because only the best run of a grid is tested.")
        if setting is not None and setting.finished < 2:
            limits.append("Its setting has only one finished seed, so the spread of its scores is unknown.")
        return limits

    def _describe_use(self, version: str | None) -> str:
        code = (
            "import base64, mlflow, pandas\n"
            f'mlflow.set_tracking_uri("{self.uri}")\n'
            f'model = mlflow.pyfunc.load_model("{format_model_uri(self.name, version)}")\n'
            'image = base64.b64encode(open("image.png", "rb").read()).decode()\n'
            'masks = model.predict(pandas.DataFrame({"image": [image]}))["mask"]  # PNG files in base64'
        )
        command = format_serve_command(self.name, self.uri, version)
        return _format_section("Use", f"In Python:\n\n```python\n{code}\n```\n\nAs a server:\n\n```sh\n{command}\n```")

    def _describe_input(self) -> str:
        preprocessing = self.run.preprocessing
        named = self.run.channel_names
        channels = named if named in ("gray", "RGB") else f"{preprocessing.channels} channels"
        if isinstance(preprocessing.resizing, FixedSize):
            how = {"stretch": "stretched", "letterbox": "resized and padded"}[preprocessing.resizing.mode]
            fitted = f"{how} to {format_size(preprocessing.resizing.size)}"
        else:
            assert isinstance(preprocessing.resizing, NativeSize)
            scale = preprocessing.resizing.downscale
            shrunk = "" if scale == 1 else f"reduced by a factor of {scale:g} and "
            fitted = f"{shrunk}segmented in overlapping tiles of {format_size(self.run.input_size)}"
        return (
            f"Input: an image of any size in one of the formats {join_words(FORMATS)}. It is converted to {channels} "
            f"with {preprocessing.bits} bits per channel and {fitted}. {self._describe_preparation()}Output: a mask of "
            "the image's size with the class index of each pixel, and the share of each class."
        )

    def _describe_preparation(self) -> str:
        """Describe the bands and the window of the training data, which a served model does not apply."""
        scenes, window = find_scenes(self.params.data), create_window(find_intensities(self.params.data))
        steps = []
        if scenes and scenes.bands:
            steps.append(f"select the bands {', '.join(format_code(str(band)) for band in scenes.bands)} in this order")
        if window:
            steps.append(
                f"scale the values linearly, so that {window.low:g} and all values below become 0, and {window.high:g} "
                f"and all values above {2**window.bits - 1}"
            )
        return f"The model does not do this, so do it first: {', and '.join(steps)}. " if steps else ""

    def _format_classes(self) -> str:
        classes = self.run.data.classes
        rows = [
            f"| {index} | {format_code(item.name)}{_describe_role(item)} | {item.color} |"
            for index, item in enumerate(classes[:MAX_CLASSES])
        ]
        if len(classes) > MAX_CLASSES:
            rows.append(f"| … | {len(classes) - MAX_CLASSES} more, in `artifacts/description.json` | |")
        return "\n".join(["| index | class | color |", "|---|---|---|", *rows])

    def _describe_training(self) -> str:
        record, data = self._record, self.run.data
        cell = record.cell
        weights = f"\n- Initial weights: {_escape(record.weights.describe())}." if record.weights else ""
        credit = f"\n- Credit: {_escape(data.credit)}" if data.credit else ""
        return (
            f'- Data: "{_escape(data.title)}" (source `{data.source}`), {self._count_images()}, fingerprint '
            f"`{data.fingerprint}`.\n"
            f"- Variant {format_code(cell['variant'])}, learning rate {cell['learning_rate']}, "
            f"{self._describe_networks()}.{weights}{credit}"
        )

    def _count_images(self) -> str:
        record = self._record
        prepared = self.project.prepared.select_fold(record.fold)
        counts = {split: len(prepared.open_split(split)) for split in prepared.splits}
        used = record.cell["max_train_images"]
        if used is not None:
            counts["train"] = min(used, counts["train"])
        return f"{join_words([f'{count} {split}' for split, count in counts.items()])} images"

    def _describe_networks(self) -> str:
        record = self._record
        return (
            f"seed {record.cell['seed']}, best epoch {record.best_epoch} of {record.epochs}, "
            f"{record.trainable_parameters:,} trainable parameters, run key `{record.key}`"
        )


def _join(sections: Iterable[str]) -> str:
    """Join sections, and leave out those for which MLflow has no room."""
    text = ""
    for section in filter(None, sections):
        if len(text) + len(section) + len(END) + 2 * len(_SEPARATOR) <= MAX_LENGTH:
            text += section + _SEPARATOR
    return text + END


def _format_section(title: str, content: str) -> str:
    return f"### {title}\n\n{content}"


def _format_list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _describe_role(item: SegmentationClass) -> str:
    return " (foreground)" if item.foreground else " (boundary)" if item.is_boundary else ""


def format_code(name: str) -> str:
    """Format a name as code, so that its characters are not read as Markdown."""
    return f"`{_escape(name).replace('`', '')}`"


def _escape(text: str) -> str:
    """Keep a text on one line and in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
