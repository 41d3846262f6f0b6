"""The one place that uses interfaces of DVC that it does not promise; pyproject.toml pins DVC's minor version.

DVC runs stages one at a time, so a sweep runs the cells itself and must record in DVC which are finished. DVC's own
commands can do that, but parse and write the whole lock file each time. CPU seconds for a grid of 300 cells (600
stages, dvc.lock of 39,000 lines, trivial outputs):

- `dvc commit` of one stage: 11 with the lock file of the whole grid, so about an hour per sweep while it grows. `dvc
  commit train` is one write, but fails as a whole if one output is missing. Here: outputs and run cache after each job,
  0.07 per stage; dvc.lock once at the end, 4 to 13. After a kill, the next sweep, or `dvc repro`, restores finished
  stages from the run cache, 0.13 per stage.
- `dvc status` of all stages: 30, mostly because DVC parses params.yaml several times per stage. Here: 10 to 15 with the
  parsed file kept, 25 without. Looking up the run cache: 10 with the parsed file kept and the listings of folders
  forgotten, 32 without both.
- No command looks up the run cache without running the stage if it is not there.

`dvc repro` appends to dvc.lock in the order in which stages end, and never removes entries. The lock file is written
here in the order of dvc.yaml, so that equal projects have equal files.
"""
