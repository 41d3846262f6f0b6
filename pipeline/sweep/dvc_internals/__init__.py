"""All code that uses DVC's internal interfaces; pyproject.toml therefore pins DVC's minor version.

DVC runs stages one at a time, so a sweep runs the cells itself and records the finished ones in DVC. DVC's own commands
could record them, but each parses and writes the whole lock file. CPU time for a grid of 300 cells (600 stages,
dvc.lock of 39,000 lines, trivial outputs):

- `dvc commit` takes 11 s for one stage when the lock file has the whole grid, and about an hour per sweep as the file
  grows. `dvc commit train` writes the file once, but fails for all stages if one output is missing. This package
  commits outputs to the cache and the run cache after each job (0.07 s per stage), and writes dvc.lock once at the end
  (4 to 13 s). After a kill, the next sweep or `dvc repro` restores finished stages from the run cache (0.13 s per
  stage).
- `dvc status` takes 30 s for all stages, mostly because DVC parses params.yaml several times per stage, and hashes code
  and data for each stage. This package parses and hashes them once, and clears DVC's listings of folders, because DVC
  compares each of them with all others. For 1,000 cells, these take 6 s instead of 90 s. It also keeps the parsed
  content of dvc.lock. Looking up all stages in the run cache takes 10 s (32 s without this).
- No DVC command looks up a stage in the run cache without running the stage if the lookup fails.

`dvc repro` appends entries to dvc.lock in the order in which stages end, and never removes any. This package writes
them in the order of dvc.yaml, so that equal projects have equal lock files.
"""
