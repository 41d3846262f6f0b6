"""Results for notebooks and scripts: `pipeline.open` returns `ProjectResults`."""
