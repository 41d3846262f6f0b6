"""The learning report of runs from MLflow, which are fetched, compared and rendered like runs of the grid."""
