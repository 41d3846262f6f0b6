"""The stage that scores a run's best weights on every split."""
