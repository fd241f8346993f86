"""A prompt's bias between the branches of a fork, from log-probabilities of shape (rows, branches)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptstill.scoring.calibration.readings import log_softmax

PRIOR_VARIANCE = 1.0  # of a fitted correction about the unsupervised one, in logits; of the scale's logarithm too


def mean_bias(log_probs: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """How much the prompt favours each branch, in logits: the mean log-probability over rows, without what the number
    of labels behind a branch accounts for, centred. Rows of NaN count for nothing.

    labels: the number behind each branch.
    """
    mean = np.nanmean(log_probs, axis=0) - np.log(labels)
    return np.asarray(mean - mean.mean())


@dataclass(frozen=True)
class Correction:
    """What is added to the logits of branches before they are multiplied by `scale`; a request has the first alone."""

    values: tuple[float, ...]
    scale: float = 1.0

    def probabilities(self, log_probs: np.ndarray) -> np.ndarray:
        """The calibrated probabilities of the branches, of the shape of `log_probs`."""
        return np.asarray(np.exp(log_softmax(self.scale * (log_probs + np.array(self.values)))))


def fit(log_probs: np.ndarray, gold: np.ndarray, prior: np.ndarray) -> Correction:
    """The correction under which labelled rows are likeliest, kept near `prior`: softmax(scale · (log p + values)).

    log_probs: without rows of NaN. gold: the branch of each row, (rows,). prior: what the rows correct where they say
    little, the negative of the unsupervised bias; without a row it is what comes back.

    The scale cannot be sent: a static bias adds and does not multiply. It needs not be, since a positive scale leaves
    the likeliest label as it is: argmax(scale · log p + c) = argmax(log p + c / scale), and `values` are c / scale. It
    counts for probabilities. This is Platt's scaling with one bias a class (vector scaling with one scale: Guo et al.
    2017, arXiv 1706.04599), by L-BFGS (SciPy), with a normal prior on values and log scale.
    """
    from scipy.optimize import minimize

    hot = np.eye(len(prior))[gold] if len(gold) else np.zeros((0, len(prior)))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        values, log_scale = at[:-1], at[-1]
        logits = np.exp(log_scale) * (log_probs + values)
        logs = log_softmax(logits)
        off = np.exp(logs) - hot  # the gradient by the logits
        away = values - prior
        cost = -(hot * logs).sum() + (away @ away + log_scale**2) / (2 * PRIOR_VARIANCE)
        by_values = np.exp(log_scale) * off.sum(axis=0) + away / PRIOR_VARIANCE
        return float(cost), np.append(by_values, (off * logits).sum() + log_scale / PRIOR_VARIANCE)

    found = minimize(loss, np.append(prior, 0.0), jac=True, method="L-BFGS-B").x
    return Correction(tuple(float(one) for one in found[:-1] - found[:-1].mean()), float(np.exp(found[-1])))
