"""A penalised linear regression with the least absolute error, solved in closed steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PENALTIES = (3.0, 30.0, 300.0, 3e3, 3e4)
"""Ridge penalties that are tried, for columns of about unit size."""
ROUNDS = 5
SMALLEST_ERROR = 0.1
"""Errors below this count as this: keeps the weights of the rounds bounded."""
_BLOCKS, _HELD_OUT_OF, _THINNED = 50, 5, 3
_BIAS_PENALTY = 1e-6


def fit(inputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Weights [targets, columns] and biases [targets] with about the least mean absolute error.

    `inputs` [n, columns], `targets` [n, targets], rows in order of link and time. For each target the penalty
    is chosen by the error on blocks of rows that are held out; where none beats "always 0", the weights are 0.
    Solved by iteratively reweighted least squares (Schlossmacher, JASA 68, 1973).
    """
    design = np.c_[inputs.astype(np.float64), np.ones(len(inputs))]
    actual = targets.astype(np.float64)
    held_out = np.arange(len(design)) * _BLOCKS // len(design) % _HELD_OUT_OF == _HELD_OUT_OF - 1
    solution = np.zeros((design.shape[1], actual.shape[1]))
    for target, wanted in enumerate(actual.T):
        penalty = _best_penalty(design, wanted, held_out)
        if penalty is not None:
            solution[:, target] = _reweighted(design, wanted, penalty)
    return solution[:-1].T, solution[-1]


def _best_penalty(design: Floats, actual: Floats, held_out: npt.NDArray[np.bool_]) -> float | None:
    """The penalty with the least error on the rows held out; None where nothing is better than 0."""
    known, wanted = design[~held_out][::_THINNED], actual[~held_out][::_THINNED]
    errors: dict[float | None, float] = {None: float(np.abs(actual[held_out]).mean())}
    for penalty in PENALTIES:
        # On a third of the rows, a third of the penalty weighs the same.
        forecast = design[held_out] @ _reweighted(known, wanted, penalty / _THINNED)
        errors[penalty] = float(np.abs(actual[held_out] - forecast).mean())
    return min(errors, key=lambda choice: errors[choice])


def _reweighted(design: Floats, actual: Floats, penalty: float) -> Floats:
    weights, solution = np.ones(len(actual)), np.zeros(design.shape[1])
    ridge = np.diag(np.append(np.full(design.shape[1] - 1, penalty), _BIAS_PENALTY))
    for _ in range(ROUNDS):
        weighted = design * weights[:, None]
        solution = np.asarray(np.linalg.solve(weighted.T @ design + ridge, weighted.T @ actual), dtype=np.float64)
        weights = 1 / np.maximum(np.abs(actual - design @ solution), SMALLEST_ERROR)
    return solution
