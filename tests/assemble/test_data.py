import pytest

from frcnn_core import assemble
from frcnn_core.errors import DataError
from frcnn_core.spec.load import loads


def small(text):
    return loads(text, "spec.txt")


def test_gray_images_have_one_channel_and_one_mean():
    spec = small(
        "model_config { input_image_config { image_type: GRAY_SCALE "
        "size_height_width { height: 32 width: 48 } "
        'image_channel_mean { key: "l" value: 117.3 } image_scaling_factor: 2 } }'
    )
    found = assemble.preprocessing(spec)
    assert found.shape == (32, 48, 1)
    assert (found.channel_order, found.means, found.scale) == ("l", (117.3,), 2.0)


def test_augmentation_is_none_unless_it_is_enabled():
    flips = "augmentation_config { spatial_augmentation { hflip_probability: 0.3 } }"
    assert assemble.augmentation(small(flips)) is None
    enabled = small(flips + "training_config { enable_augmentation: True }")
    assert assemble.augmentation(enabled).hflip_probability == 0.3


def test_a_fold_of_the_records_is_set_apart(tmp_path):
    for fold in range(3):
        (tmp_path / f"set-fold-00{fold}-of-003-shard-00000-of-00001").touch()
    spec = small(
        f'dataset_config {{ data_sources {{ tfrecords_path: "{tmp_path}/set*" '
        f'image_directory_path: "{tmp_path}" }} validation_fold: 1 }}'
    )
    training, validation = assemble.sources(spec)
    assert [path.name[:12] for path in training[0].records] == ["set-fold-000", "set-fold-002"]
    assert [path.name[:12] for path in validation[0].records] == ["set-fold-001"]


def test_a_source_may_have_an_ending_and_a_weight_of_its_own(tmp_path):
    (tmp_path / "set").touch()
    block = f'tfrecords_path: "{tmp_path}/set" image_directory_path: "{tmp_path}"'
    spec = small(
        f"dataset_config {{ data_sources {{ {block} }} "
        f'data_sources {{ {block} image_extension: "jpg" source_weight: 0.5 }} '
        f"data_sources {{ {block} source_weight: 0 }} }}"
    )
    training, _ = assemble.sources(spec)
    assert [source.extension for source in training] == ["png", "jpg", "png"]
    assert [source.weight for source in training] == [1.0, 0.5, 1.0]


@pytest.mark.slow
def test_records_of_which_none_is_in_the_validation_fold_are_an_error(tmp_path):
    (tmp_path / "set-fold-000-of-002").touch()
    spec = small(
        f'dataset_config {{ data_sources {{ tfrecords_path: "{tmp_path}/set*" '
        f'image_directory_path: "{tmp_path}" }} validation_fold: 1 }}'
    )
    with pytest.raises(DataError, match="no image in fold 1"):
        assemble.sources(spec)
