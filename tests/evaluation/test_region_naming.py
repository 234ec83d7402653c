"""Measures of naming against a slow obvious implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fovea.evaluation.region_naming import mean_average_precision, top1


def slow(scores: np.ndarray, labels: np.ndarray) -> float:
    found = []
    for number in sorted(set(labels.tolist())):
        order = sorted(range(len(labels)), key=lambda row: (-scores[row, number], row))
        right, precisions = 0, []
        for place, row in enumerate(order, 1):
            if labels[row] == number:
                right += 1
                precisions.append(right / place)
        found.append(sum(precisions) / len(precisions))
    return sum(found) / len(found)


def test_average_precision_is_that_of_the_slow_way() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 7, 60):
        # Rounded, so that some are equal.
        scores, labels = rng.random((count, 9)).round(1), rng.integers(0, 9, count)
        assert mean_average_precision(scores, labels) == pytest.approx(slow(scores, labels))


def test_the_best_and_nothing() -> None:
    labels = np.array([2, 0, 2])
    scores = np.eye(3)[labels]
    assert top1(scores, labels) == mean_average_precision(scores, labels) == 1
    assert top1(scores, np.array([2, 1, 1])) == pytest.approx(1 / 3)
    nothing = np.zeros((0, 3)), np.zeros(0, np.int64)
    assert math.isnan(top1(*nothing))
    assert math.isnan(mean_average_precision(*nothing))
