from pathlib import Path

import pytest
import tensorflow as tf

from frcnn_core.data.excerpt import excerpt
from frcnn_core.data.records import from_example
from frcnn_core.errors import DataError


@pytest.fixture
def sources(make_source):
    """Two sources of 5 and 4 images, in 2 and 3 files."""
    a = make_source({f"a{i}": (20, 30, []) for i in range(5)}, "a", shards=2)
    b = make_source({f"b{i}": (20, 30, []) for i in range(4)}, "b", shards=3)
    return a, b


def contents(sources) -> list[bytes]:
    files = [str(path) for source in sources for path in source.records]
    return [record.numpy() for record in tf.data.TFRecordDataset(files)]


def stems(sources) -> list[str]:
    return [Path(from_example(record).frame_id).name for record in contents(sources)]


@pytest.mark.slow
def test_an_excerpt_has_so_many_records_each_once_and_with_its_own_source(sources, tmp_path):
    part = excerpt(sources, 6, tmp_path, seed=0)
    assert len(set(stems(part))) == len(stems(part)) == 6
    for source in part:
        assert {stem[0] for stem in stems([source])} == {source.images.name}
    assert set(contents(part)) < set(contents(sources))


@pytest.mark.slow
def test_an_excerpt_of_more_than_there_is_is_all(sources, tmp_path):
    assert sorted(contents(excerpt(sources, 99, tmp_path, seed=0))) == sorted(contents(sources))


@pytest.mark.slow
def test_equal_seeds_choose_alike_and_every_record_can_be_chosen(sources, tmp_path):
    def chosen(seed, name):
        (tmp_path / name).mkdir()
        return stems(excerpt(sources, 3, tmp_path / name, seed=seed))

    assert chosen(1, "x") == chosen(1, "y")
    assert len({stem for seed in range(12) for stem in chosen(seed, str(seed))}) == 9


@pytest.mark.slow
def test_no_records_are_an_error(make_source, tmp_path):
    with pytest.raises(DataError, match="no records in"):
        excerpt([make_source({})], 3, tmp_path, seed=0)
