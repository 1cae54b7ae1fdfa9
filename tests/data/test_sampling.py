"""Epochs of sources large and small; shuffles are judged by a statistic that bad ones fail."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.data.sampling import SamplingMode, epoch_order, quotas
from frcnn_core.errors import DataError

USER, PROPORTIONAL, UNIFORM = SamplingMode


def order(*counts, weights=None, mode=USER, seed=1, epoch=0):
    return epoch_order(counts, weights=weights, mode=mode, seed=seed, epoch=epoch)


# --- how many images of each source


def test_shares_are_counts_times_weights():
    assert quotas([300, 100], [1, 3], USER) == [200, 200]


def test_weights_mean_nothing_where_the_mode_is_not_user_defined():
    assert quotas([300, 100], [1, 3], PROPORTIONAL) == [300, 100]
    assert quotas([300, 100], [1, 3], UNIFORM) == [200, 200]


def test_rounding_loses_no_image():
    assert quotas([1, 1, 1], [1, 1, 2], USER) == [1, 1, 1]
    assert quotas([5, 3, 2], [1, 1, 1], UNIFORM) == [4, 3, 3]


@pytest.mark.parametrize("mode", SamplingMode)
def test_equal_weights_keep_what_there_is_exactly(mode):
    """Counts whose shares are no round binary fractions."""
    counts = [49, 49] if mode is UNIFORM else [3, 7, 11, 49, 100_003]
    assert quotas(counts, [0.1] * len(counts), mode) == counts


def test_a_source_of_weight_zero_or_without_images_is_left_out():
    assert quotas([10, 30], [0, 1], USER) == [0, 40]
    assert quotas([0, 30], [1, 1], UNIFORM) == [0, 30]


def test_weights_that_make_no_sense_are_errors():
    with pytest.raises(DataError, match="source_weight -1"):
        quotas([10, 30], [1, -1], USER)
    with pytest.raises(DataError, match="no source with images has a weight above 0"):
        quotas([10, 0], [0, 1], USER)


# --- which images


def test_every_record_comes_once_unless_weights_say_otherwise():
    assert sorted(order([3, 4], [0, 5])) == list(range(12))


def test_an_image_comes_again_only_when_all_of_its_source_have_come():
    # 3 and 97 images, half and half: the three come 16 or 17 times.
    times = Counter(order([3], [97], mode=UNIFORM).tolist())
    assert sum(times.values()) == 100
    assert sorted(times[i] for i in range(3)) == [16, 17, 17]
    assert sorted({times[i] for i in range(3, 100)}) == [0, 1]


def test_what_is_left_out_or_repeated_is_drawn_anew_for_each_epoch():
    seen = [set(order([3], [97], mode=UNIFORM, epoch=epoch).tolist()) for epoch in range(12)]
    assert seen[0] != seen[1]
    assert set.union(*seen) == set(range(100))


# --- in what order


def interleaved_and_shuffled(sizes, seed, epoch):
    """What the pipeline of the first frcnn did, with numbers in the place of records."""
    rng = np.random.default_rng((seed, epoch))
    starts = np.cumsum([0, *sizes])
    files = [list(range(starts[i], starts[i + 1])) for i in rng.permutation(len(sizes))]
    files = tf.data.Dataset.from_tensor_slices(tf.ragged.constant(files, tf.int64))
    numbers = files.interleave(
        tf.data.Dataset.from_tensor_slices, cycle_length=16, block_length=1
    ).shuffle(10_000, seed=int(rng.integers(2**31)), reshuffle_each_iteration=False)
    return list(numbers.as_numpy_iterator())


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[1], [7], [4, 3, 3], [5] * 20 + [1, 9]])
def test_small_sets_keep_the_order_they_always_had(sizes):
    expected = interleaved_and_shuffled(sizes, 5, 2)
    assert order(sizes, seed=5, epoch=2).tolist() == expected
    # Weights of one change nothing, nor does it matter which source a file is of.
    assert order(*([n] for n in sizes), weights=[1.0] * len(sizes), seed=5, epoch=2).tolist() == (
        expected
    )


@pytest.mark.parametrize("sizes", [[30], [9000, 2000]])
def test_the_order_is_a_function_of_seed_and_epoch(sizes):
    first = order(sizes, seed=1, epoch=0).tolist()
    assert order(sizes, seed=1, epoch=0).tolist() == first
    assert order(sizes, seed=1, epoch=1).tolist() != first
    assert order(sizes, seed=2, epoch=0).tolist() != first


def mean_displacement(numbers) -> float:
    """How far records are from where they were, as a share of the set: 1/3 if by chance."""
    return np.abs(np.asarray(numbers) - np.arange(len(numbers))).mean() / len(numbers)


def files_in_a_batch(numbers, file_size: int, batch_size: int = 32) -> float:
    """Mean number of different files that the records of a batch are from."""
    batches = np.asarray(numbers)[: len(numbers) // batch_size * batch_size] // file_size
    return float(np.mean([len(set(batch)) for batch in batches.reshape(-1, batch_size).tolist()]))


def drift(numbers, file_size: int) -> float:
    """Correlation of the place in the epoch with that in the file: 0 by chance."""
    return np.corrcoef(np.asarray(numbers) % file_size, np.arange(len(numbers)))[0, 1]


def well_shuffled(numbers, file_size: int) -> bool:
    num_files = len(numbers) / file_size
    by_chance = num_files * (1 - (1 - 1 / num_files) ** 32)
    return (
        abs(mean_displacement(numbers) - 1 / 3) < 0.01
        and files_in_a_batch(numbers, file_size) > 0.97 * by_chance
        and abs(drift(numbers, file_size)) < 0.02
    )


@pytest.mark.parametrize("num_files", [10, 100])
def test_a_large_set_is_shuffled_through_all_of_its_files(num_files):
    file_size = 100_000 // num_files
    assert well_shuffled(order([file_size] * num_files), file_size)


def test_one_file_after_the_other_is_not_well_shuffled():
    """As they would come if only the files were shuffled, or only the records within each."""
    rng = np.random.default_rng(0)
    files = [rng.permutation(10_000) + 10_000 * number for number in range(10)]
    assert not well_shuffled(np.concatenate(files), 10_000)
    assert not well_shuffled(np.concatenate([files[i] for i in rng.permutation(10)]), 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("num_files", [10, pytest.param(100, marks=pytest.mark.conformance)])
def test_a_buffer_of_ten_thousand_does_not_shuffle_a_large_set_well(num_files):
    """What the first frcnn did to 100,000 sorted records."""
    file_size = 100_000 // num_files
    assert not well_shuffled(interleaved_and_shuffled([file_size] * num_files, 1, 0), file_size)


@pytest.mark.slow
def test_where_a_record_of_a_large_set_comes_says_nothing_of_the_next_epoch():
    places = [np.argsort(order([10_000] * 10, epoch=epoch)) for epoch in range(2)]
    assert abs(np.corrcoef(*places)[0, 1]) < 0.02
