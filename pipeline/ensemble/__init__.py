"""The stage that scores the ensemble of the best setting's runs beside its members, and measures its uncertainty."""
