"""Stage: scores a trained run on every split and keeps the masks that the report shows."""
