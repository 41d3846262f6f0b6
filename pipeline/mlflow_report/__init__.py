"""The learning report of runs from MLflow: fetched, compared and rendered like those of the grid."""
