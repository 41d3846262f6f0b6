"""Describe the difference between two trainings of the same cell."""

from __future__ import annotations

from safetensors.torch import load_file

from pipeline.artifacts.run_folder import RunFolder


def describe_difference(first: RunFolder, second: RunFolder) -> str:
    """Describe the difference between the weights and the validation losses of two runs of the same cell.

    Raises:
        ValueError: The runs have different numbers of epochs.
    """
    losses = [run.history["val_loss"].to_numpy() for run in (first, second)]
    if len(losses[0]) != len(losses[1]):
        raise ValueError(f"one run has {len(losses[0])} epochs, and the other {len(losses[1])}")
    weights, others = (load_file(run.weights) for run in (first, second))
    of_weights = max(float((weights[name].double() - others[name].double()).abs().max()) for name in weights)
    of_losses = float(abs(losses[0] - losses[1]).max())
    if of_weights == of_losses == 0:
        return "equal weights and losses"
    return f"largest difference of a weight {of_weights:.1e}, of a validation loss {of_losses:.1e}"
