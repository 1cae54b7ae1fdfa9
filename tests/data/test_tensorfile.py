import h5py
import numpy as np
import pytest

from frcnn_core.data.tensorfile import Tensorfile, write
from frcnn_core.errors import DataError

KEY = "_tensorfile_array_key_"


def as_tlt_writes(path, batches):
    """What TLT's own writer makes of batches (B, C, H, W); its attributes are of numpy."""
    with h5py.File(path, "w") as file:
        file.attrs["count"] = len(batches)
        file.attrs["shape"] = batches[0].shape
        for number, batch in enumerate(batches):
            group = file.create_group(f"{KEY}_{number}")
            group.create_dataset(KEY, data=batch, compression="gzip")


def numbered(*shape, start=0):
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_tensorfile_of_tlt_is_read_with_the_channels_last(tmp_path):
    batches = [numbered(2, 3, 4, 5), numbered(2, 3, 4, 5, start=1000)]
    as_tlt_writes(tmp_path / "cal.tensor", batches)
    found = Tensorfile.open(tmp_path / "cal.tensor")
    assert (found.num_batches, found.shape) == (2, (2, 4, 5, 3))
    read = list(found.batches(10))
    assert [batch.dtype for batch in read] == [np.float32] * 2
    # Image 1, channel 2, row 3, column 4 of the second batch, which is its last number.
    assert read[1][1, 3, 4, 2] == 1000 + 2 * 3 * 4 * 5 - 1
    np.testing.assert_array_equal(read[0], batches[0].transpose(0, 2, 3, 1))


def test_no_more_batches_are_read_than_asked_for(tmp_path):
    as_tlt_writes(tmp_path / "cal.tensor", [numbered(1, 1, 2, 2)] * 3)
    assert len(list(Tensorfile.open(tmp_path / "cal.tensor").batches(2))) == 2


def test_a_written_tensorfile_has_the_layout_of_tlt(tmp_path):
    batches = [numbered(2, 4, 5, 3), numbered(2, 4, 5, 3, start=7)]
    write(tmp_path / "ours", batches)
    as_tlt_writes(tmp_path / "theirs", [batch.transpose(0, 3, 1, 2) for batch in batches])
    with h5py.File(tmp_path / "ours") as ours, h5py.File(tmp_path / "theirs") as theirs:
        assert sorted(ours) == sorted(theirs)
        assert ours.attrs["count"] == theirs.attrs["count"] == 2
        assert ours.attrs["shape"].tolist() == theirs.attrs["shape"].tolist() == [2, 3, 4, 5]
        for name in theirs:
            np.testing.assert_array_equal(ours[name][KEY][()], theirs[name][KEY][()])
            assert ours[name][KEY].dtype == np.float32
            assert ours[name][KEY].compression == "gzip"


def test_a_writing_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield numbered(1, 2, 2, 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "cal.tensor", failing())
    assert list(tmp_path.iterdir()) == []


def test_batches_of_other_number_types_are_read_too(tmp_path):
    as_tlt_writes(tmp_path / "cal.tensor", [np.full((1, 1, 2, 2), 0.5, np.float64)])
    (batch,) = Tensorfile.open(tmp_path / "cal.tensor").batches(1)
    assert batch.dtype == np.float32
    assert batch.max() == 0.5


def test_what_is_no_tensorfile_says_so(tmp_path):
    (tmp_path / "text").write_text("?")
    with pytest.raises(DataError, match="text is no tensorfile, or damaged"):
        Tensorfile.open(tmp_path / "text")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("conv1")
    with pytest.raises(DataError, match=r"weights\.h5 is no tensorfile, or an empty one"):
        Tensorfile.open(tmp_path / "weights.h5")


def test_a_batch_that_is_missing_or_of_another_shape_is_named(tmp_path):
    path = tmp_path / "cal.tensor"
    as_tlt_writes(path, [numbered(1, 1, 2, 2), numbered(1, 1, 2, 3)])
    with pytest.raises(DataError, match=r"batch 1 is of shape \(1, 1, 2, 3\)"):
        list(Tensorfile.open(path).batches(2))
    with h5py.File(path, "a") as file:
        del file[f"{KEY}_1"]
    with pytest.raises(DataError, match="batch 1 is missing"):
        list(Tensorfile.open(path).batches(2))


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_refused(tmp_path):
    as_tlt_writes(tmp_path / "cal.tensor", [np.float32([[[[1.0, np.nan]]]])])
    with pytest.raises(DataError, match="batch 0 has a number that is not finite"):
        list(Tensorfile.open(tmp_path / "cal.tensor").batches(1))
