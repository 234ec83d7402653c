"""CaR's refinement against loops written out."""

from __future__ import annotations

import numpy as np

from fovea.heat.car import affinity, boxes_around, refine, unit_range

RNG = np.random.default_rng(0)


def test_affinity_is_normalised_by_columns_then_rows() -> None:
    attention = RNG.random((6, 6)).astype(np.float32) + 0.01
    slow = attention.astype(float).tolist()
    for _ in range(3):
        columns = [sum(row[j] for row in slow) for j in range(6)]
        slow = [[value / columns[j] for j, value in enumerate(row)] for row in slow]
        slow = [[value / sum(row) for value in row] for row in slow]
    even = [[(slow[i][j] + slow[j][i]) / 2 for j in range(6)] for i in range(6)]
    squared = [[sum(even[i][k] * even[k][j] for k in range(6)) for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(affinity(attention), squared, rtol=1e-5)


def test_boxes_cover_every_part() -> None:
    hot = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], bool)
    expected = np.zeros((4, 5), bool)
    expected[:2, :2] = True
    expected[2, 4] = True
    np.testing.assert_array_equal(boxes_around(hot), expected)
    assert not boxes_around(np.zeros((3, 3), bool)).any()


def test_heat_goes_where_attention_goes() -> None:
    """A hot place, a place that it attends to, and one that nobody attends to."""
    heat = np.zeros((3, 3))
    heat[0, 0] = 2.0
    shared = np.eye(9, dtype=np.float32)
    shared[8, 0] = 0.5
    refined = refine(heat, shared, 0.5)
    assert refined[0, 0] == 1
    assert refined[2, 2] == 0.5
    assert refined.sum() == 1.5
    # Heat below the threshold gives nothing, unless it lies in the box around hot places.
    heat[2, 0] = 0.8
    np.testing.assert_array_equal(refine(heat, shared, 0.5), refined)
    heat[1, 1] = 1.8
    heat[1, 0] = 0.4
    assert refine(heat, shared, 0.5)[1, 0] == np.float32(0.2)


def test_no_heat_stays_no_heat() -> None:
    assert not refine(np.zeros((4, 4)), affinity(RNG.random((16, 16))), 0.5).any()
    assert not unit_range(np.full((2, 2), 3.0)).any()
