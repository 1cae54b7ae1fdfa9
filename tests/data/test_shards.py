import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_core.data.shards import evaluation_places, num_batches, training_places

COUNTS = st.integers(0, 60)
RANKS = st.integers(1, 8)
SIZES = st.integers(1, 7)


def batches(places, batch_size):
    return [places[at : at + batch_size].tolist() for at in range(0, len(places), batch_size)]


def test_five_images_in_two_processes_with_batches_of_two():
    first, few = training_places(5, (0, 2), batch_size=2)
    second, too_few = training_places(5, (1, 2), batch_size=2)
    assert (first.tolist(), few) == ([0, 2, 4], 0)
    assert (second.tolist(), too_few) == ([1, 3], 1)


@given(COUNTS, RANKS, SIZES)
def test_an_epoch_is_every_image_once(count, ranks, batch_size):
    parts = [training_places(count, (r, ranks), batch_size=batch_size)[0] for r in range(ranks)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))


@given(COUNTS, RANKS, SIZES)
def test_step_by_step_all_processes_have_what_one_with_the_larger_batch_would(
    count, ranks, batch_size
):
    parts = [training_places(count, (rank, ranks), batch_size=batch_size) for rank in range(ranks)]
    own = [batches(places, batch_size) + [[]] * few for places, few in parts]
    together = [sorted(p for part in step for p in part) for step in zip(*own, strict=True)]
    assert together == batches(np.arange(count), batch_size * ranks)
    assert len(together) == num_batches(count, batch_size * ranks)


@given(COUNTS, RANKS, SIZES, st.integers(0, 20))
def test_going_on_in_mid_epoch_leaves_out_the_steps_that_are_done(
    count, ranks, batch_size, first_step
):
    for rank in range(ranks):
        whole, few = training_places(count, (rank, ranks), batch_size=batch_size)
        rest, still_few = training_places(
            count, (rank, ranks), batch_size=batch_size, first_step=first_step
        )
        steps = batches(whole, batch_size) + [[]] * few
        assert batches(rest, batch_size) + [[]] * still_few == steps[first_step:]


@pytest.mark.slow
@given(COUNTS, RANKS, SIZES)
def test_evaluation_deals_out_the_batches_of_one_process(count, ranks, batch_size):
    parts = [
        batches(evaluation_places(count, (rank, ranks), batch_size=batch_size), batch_size)
        for rank in range(ranks)
    ]
    dealt = [
        part[turn] for turn in range(count + 1) for part in parts if turn < len(part)
    ]  # in turns
    assert dealt == batches(np.arange(count), batch_size)
