"""Check a folder. If it has errors, keep the results of the checks that succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.data_check.validation_report import ValidationReport, examine_data
from pipeline.errors import PipelineError
from pipeline.init.inspect_folder import find_section
from pipeline.params.data import Data


@dataclass(frozen=True)
class DataCheck:
    """Result of checking a folder of images and masks."""

    folder: Path
    section: Data | None  # None if no section could be found
    origin: str  # of the section: `params.yaml`, or the command that would write it; empty without a section
    notices: tuple[str, ...]  # sentences about guesses in the section
    report: ValidationReport | None  # None if no sample could be read
    error: PipelineError | None  # why the data cannot be prepared

    def get_valid_report(self) -> ValidationReport:
        """Return the report on valid data.

        Raises:
            PipelineError: The data cannot be prepared.
        """
        if self.report is None:
            assert self.error is not None
            raise self.error
        self.report.raise_error()
        return self.report


def check_folder(folder: Path) -> DataCheck:
    """Read and check all images and masks in a folder, as `prepare` would. Errors are returned, not raised."""
    section, origin, notices = None, "", tuple[str, ...]()
    try:
        section, origin, notices = find_section(folder)
        report = examine_data(section, notices)
    except PipelineError as error:
        return DataCheck(folder, section, origin, notices, None, error)
    return DataCheck(folder, section, origin, notices, report, report.error)
