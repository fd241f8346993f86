"""Calibration of a prompt whose first output is a label: its own bias is measured, and taken back by a `logit_bias`.

A model likes some labels better than others, whatever the row; which ones depends on the prompt (Zhao et al. 2021,
arXiv 2102.09690). The log-probabilities of the labels over some rows show it, and need no gold label (batch
calibration: Zhou et al. 2024, arXiv 2309.17249). reply.py says how replies write the labels, forks.py at which tokens
they part, readings.py asks for log-probabilities there, bias.py computes, calibrate.py puts it together.
label_answers.py tells replies by what was read. abilities.py finds out whether an endpoint can do it; confidence.py
says how far the probabilities can be believed.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["none", "half", "full", "fitted"]
NONE: Kind = "none"
KINDS: tuple[Kind, ...] = (NONE, "half", "full", "fitted")
ROLE = "calibration"  # what all calls of this package are counted as


class NoCalibration(Exception):
    """A prompt cannot be calibrated; the text says why, in the words of a reader."""
