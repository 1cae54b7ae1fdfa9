"""Ranges against slow versions of their definitions, and against ONNX Runtime's calibrators."""

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from frcnn_onnx.int8.range_finders import BINS, entropy, percentile


def histogram(values):
    values = np.abs(values)
    counts, _ = np.histogram(values, BINS, (0, values.max()))
    return counts, float(values.max())


def values_of(kind):
    random = np.random.default_rng(0)
    return {
        "normal": random.standard_normal(20000),
        "with outliers": np.append(random.standard_normal(20000), [30.0, 41.0]),
        "ReLU": np.maximum(random.standard_normal(20000), 0),
        "heavy tail": random.standard_t(2, 20000),
        "uniform": random.uniform(0, 5, 20000),
    }[kind]


def slow_entropy(counts, largest):
    """Migacz' pseudocode, a candidate at a time and a level at a time."""
    counts = counts.astype(np.float64)
    counts[0] = counts[1]
    divergences = {}
    for bins in range(128, BINS + 1):
        reference = counts[:bins].copy()
        reference[-1] += counts[bins:].sum()
        quantized = np.zeros(bins)
        level_of = np.arange(bins) * 128 // bins
        for level in range(128):
            own = (level_of == level) & (counts[:bins] > 0)
            if own.any():
                quantized[own] = counts[:bins][own].mean()
        if np.any((quantized == 0) & (reference > 0)):
            continue
        p, q = reference / reference.sum(), quantized / quantized.sum()
        divergences[bins] = np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
    return largest * min(divergences, key=divergences.get) / BINS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "with outliers", "ReLU", "heavy tail", "uniform"])
def test_the_entropy_of_all_candidates_at_once_is_that_of_one_after_the_other(kind):
    counts, largest = histogram(values_of(kind))
    assert entropy(counts, largest) == pytest.approx(slow_entropy(counts, largest))


def test_entropy_cuts_off_a_few_values_far_out():
    counts, largest = histogram(values_of("with outliers"))
    assert largest == 41
    assert entropy(counts, largest) < 10


def test_entropy_keeps_all_of_an_even_distribution():
    counts, largest = histogram(values_of("uniform"))
    assert entropy(counts, largest) == pytest.approx(largest, rel=0.02)


def test_zeros_have_no_say_in_entropy():
    counts, largest = histogram(values_of("normal"))
    with_zeros = counts.copy()
    with_zeros[0] += 10**9
    assert entropy(with_zeros, largest) == entropy(counts, largest)


def test_one_value_everywhere_is_its_own_range():
    counts = np.zeros(BINS, np.int64)
    counts[-1] = 7
    assert entropy(counts, 3.0) == percentile(counts, 3.0, 99) == 3.0


def test_a_percentile_is_the_end_of_the_bin_that_it_is_in():
    counts = np.zeros(4, np.int64)
    counts[:] = 90, 9, 0, 1
    assert percentile(counts, 8.0, 90) == 2.0
    assert percentile(counts, 8.0, 99) == 4.0
    assert percentile(counts, 8.0, 99.5) == 8.0
    assert percentile(counts, 8.0, 100) == 8.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "ReLU", "heavy tail"])
def test_percentiles_are_those_of_onnx_runtime_to_a_bin(kind):
    values = values_of(kind)
    counts, largest = histogram(values)
    theirs = HistogramCollector("percentile", True, BINS, None, 99.9, None)
    theirs.collect({"tensor": [values.astype(np.float32)]})
    _, expected = theirs.compute_collection_result()["tensor"][:2]
    assert percentile(counts, largest, 99.9) == pytest.approx(
        float(expected), abs=2 * largest / BINS
    )
