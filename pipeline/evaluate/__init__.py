"""The stage `evaluate`: scores a run's best weights on every split."""
