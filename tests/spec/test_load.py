import random
import re

import pytest
from google.protobuf import text_format

from frcnn_core.errors import SpecError
from frcnn_core.spec.experiment_pb2 import Experiment
from frcnn_core.spec.load import (
    load,
    load_dataset_spec,
    load_either,
    loads,
    loads_dataset_spec,
)
from frcnn_core.spec.model_pb2 import GRAY_SCALE, RGB

EXPERIMENTS = ["dynamic_shape.txt", "kitti_resnet18.txt", "tao5_resnet50.txt"]
DATASETS = ["convert_kitti_random.txt", "convert_kitti_sequence.txt", "convert_kitti_shuffled.txt"]


@pytest.fixture
def examples(request):
    return request.config.rootpath / "examples" / "specs"


def errors(text, read=loads):
    with pytest.raises(SpecError) as caught:
        read(text)
    return str(caught.value).splitlines()


# --- the language


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_published_spec_means_to_us_what_it_means_to_protobuf(examples, name):
    spec = load(examples / name)
    assert spec.given == text_format.Merge(spec.text, Experiment())


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_spec_is_read(examples, name):
    assert load_dataset_spec(examples / name).given.kitti_config.root_directory_path


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("model_config { use_pooling:False }", "use_pooling", False),
        ("model_config: { use_pooling: True }", "use_pooling", True),
        ("model_config < use_pooling: true >", "use_pooling", True),
        ("model_config { use_pooling: 1 }", "use_pooling", True),
        ("model_config { use_pooling: t }", "use_pooling", True),
        ("model_config { arch: 'resnet:10' }", "arch", "resnet:10"),
        ('model_config { arch: "resnet:10" }', "arch", "resnet:10"),
        ("model_config { arch: 'res' \"net:\"\n '10' }", "arch", "resnet:10"),
        (r"model_config { arch: 'a\'b\x41' }", "arch", "a'bA"),
        ("model_config { arch: 'a # b' } # c", "arch", "a # b"),
        ("model_config { dropout_rate: 1e-4 }", "dropout_rate", pytest.approx(1e-4)),
        ("model_config { dropout_rate: .5 }", "dropout_rate", 0.5),
        ("model_config { dropout_rate: 0.5f }", "dropout_rate", 0.5),
        ("model_config { dropout_rate: 0 }", "dropout_rate", 0.0),
        ("model_config { roi_mini_batch: 0x10 }", "roi_mini_batch", 16),
        ("model_config { freeze_blocks: [0, 1.0] }", "freeze_blocks", [0, 1]),
        ("model_config { freeze_blocks: 0 freeze_blocks: 1 }", "freeze_blocks", [0, 1]),
        ("model_config { freeze_blocks: 0, freeze_blocks: 1; }", "freeze_blocks", [0, 1]),
        ("model_config { freeze_blocks: [] }", "freeze_blocks", []),
        ("model_config { roi_mini_batch: 8 roi_mini_batch: 9 }", "roi_mini_batch", 9),
        ("model_config { arch: 'a' } model_config { use_bias: 1 }", "arch", "a"),
    ],
)
def test_every_way_to_write_a_value_is_understood_as_protobuf_does(text, field, value):
    given = loads(text).given
    assert getattr(given.model_config, field) == value
    assert given == text_format.Merge(text, Experiment())


@pytest.mark.parametrize("written", ["GRAY_SCALE", "1"])
def test_an_enum_is_written_by_name_or_by_number(written):
    spec = loads(f"model_config {{ input_image_config {{ image_type: {written} }} }}")
    assert spec.message.model_config.input_image_config.image_type == GRAY_SCALE


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_protobuf_makes_of_a_damaged_spec_we_make_of_it_too(examples, seed):
    text = (examples / EXPERIMENTS[0]).read_text()
    tokens = re.findall(r"\s+|#[^\n]*|'[^']*'|\"[^\"]*\"|[\w.+-]+|.", text)
    marks = [*"-1'\"{}<>[]:,;#\\", "'x'", "0x1F", "1e3", "1f", "077", "t", "RGB", ".5", "+1", ""]
    choose = random.Random(seed)
    for _ in range(60):
        damaged = list(tokens)
        for _ in range(2):
            damaged[choose.randrange(len(tokens))] = choose.choice([*marks, choose.choice(tokens)])
        assert_read_alike("".join(damaged))


def assert_read_alike(text):
    try:
        expected = text_format.Merge(text, Experiment())
    except text_format.ParseError:
        with pytest.raises(SpecError):
            loads(text)
        return
    try:
        assert loads(text).given == expected
    except SpecError as error:  # the one thing that protobuf lets through here and we do not
        assert "this entry has no" in str(error)


def test_a_list_of_blocks_may_be_written_in_brackets():
    spec = loads("dataset_config { data_sources: [{ tfrecords_path: 'a' }, <>] }")
    assert [source.tfrecords_path for source in spec.given.dataset_config.data_sources] == ["a", ""]


def test_of_two_map_entries_with_one_key_the_last_counts():
    entry = "target_class_mapping {{ key: 'van' value: '{}' }}"
    spec = loads(f"dataset_config {{ {entry.format('car')} {entry.format('truck')} }}")
    assert dict(spec.message.dataset_config.target_class_mapping) == {"van": "truck"}


def test_validation_fold_0_is_not_the_same_as_none():
    dataset = loads("dataset_config { validation_fold: 0 }").message.dataset_config
    assert dataset.WhichOneof("dataset_split_type") == "validation_fold"
    assert loads("").message.dataset_config.WhichOneof("dataset_split_type") is None


def test_tlt_3_names_an_output_model():
    spec = loads("training_config { output_model: 'a/b.tlt' }")
    assert spec.message.training_config.output_model == "a/b.tlt"


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "spec.txt").write_text("random_seed: 7", encoding="utf-8-sig")
    assert load(tmp_path / "spec.txt").message.random_seed == 7


# --- defaults


def test_what_is_left_out_has_the_value_of_the_documented_sample():
    training = loads("").message.training_config
    assert training.num_epochs == 12
    assert training.rpn_nms_max_boxes == 2000
    assert training.optimizer.sgd.momentum == pytest.approx(0.9)
    assert dict(training.classifier_regr_std) == {"x": 10, "y": 10, "w": 5, "h": 5}


def test_a_flag_that_is_left_out_is_off():
    message = loads("").message
    assert not message.model_config.freeze_bn
    assert not message.model_config.all_projections
    assert not message.training_config.enable_augmentation


def test_what_only_the_data_can_tell_has_no_default():
    message = loads("").message
    assert message.model_config.input_image_config.WhichOneof("image_size_config") is None
    assert not message.dataset_config.data_sources
    assert not message.dataset_config.target_class_mapping
    assert not message.training_config.HasField("output_model")
    assert not message.training_config.HasField("early_stopping")
    assert not message.inference_config.HasField("trt_inference")


@pytest.mark.parametrize("written", ["0", "0.0"])
def test_an_explicit_zero_beats_the_default(written):
    spec = loads(f"training_config {{ lambda_rpn_regr: {written} }}")
    assert spec.message.training_config.lambda_rpn_regr == 0
    assert spec.message.training_config.lambda_rpn_class == 1


def test_an_explicit_false_is_told_from_a_flag_left_out():
    assert loads("verbose: False").given.HasField("verbose")
    assert not loads("").given.HasField("verbose")


def test_a_list_of_ones_own_replaces_the_default_list():
    anchors = loads("model_config { anchor_box_config { scale: 32 } }").message.model_config
    assert anchors.anchor_box_config.scale == [32]
    assert anchors.anchor_box_config.ratio == [1, 0.5, 2]


def test_a_map_of_ones_own_replaces_the_default_map():
    mean = "image_channel_mean { key: 'r' value: 1 }"
    image = loads(f"model_config {{ input_image_config {{ {mean} }} }}").message.model_config
    assert dict(image.input_image_config.image_channel_mean) == {"r": 1}


def test_a_chosen_optimizer_takes_its_own_defaults_and_no_others():
    optimizer = loads(
        "training_config { optimizer { adam { beta_1: 0.0 } } }"
    ).message.training_config.optimizer
    assert optimizer.WhichOneof("optim") == "adam"
    assert optimizer.adam.beta_1 == 0
    assert optimizer.adam.beta_2 == pytest.approx(0.999)


def test_a_chosen_plugin_is_left_alone():
    rate = loads(
        "training_config { learning_rate { plugin { name: 'cosine' } } }"
    ).message.training_config.learning_rate
    assert rate.WhichOneof("lr_config") == "plugin"


def test_a_range_of_iou_thresholds_replaces_the_single_one():
    evaluation = loads(
        "evaluation_config { gt_matching_iou_threshold_range { start: 0.6 } }"
    ).message.evaluation_config
    assert evaluation.WhichOneof("iou_threshold_config") == "gt_matching_iou_threshold_range"
    assert evaluation.gt_matching_iou_threshold_range.end == 1
    assert loads("").message.evaluation_config.gt_matching_iou_threshold == 0.5


def test_a_grayscale_image_has_one_mean_and_order_l():
    image = loads(
        "model_config { input_image_config { image_type: GRAY_SCALE } }"
    ).message.model_config.input_image_config
    assert image.image_channel_order == "l"
    assert dict(image.image_channel_mean) == {"l": pytest.approx(117.3786)}
    assert image.image_scaling_factor == 1
    assert loads("").message.model_config.input_image_config.image_type == RGB


def test_a_new_dataset_spec_is_shuffled_and_one_of_tlt_stays_sorted():
    assert loads_dataset_spec("kitti_config {}").message.kitti_config.partition_mode == "shuffled"
    spec = loads_dataset_spec("kitti_config { partition_mode: 'random' }")
    assert spec.message.kitti_config.partition_mode == "random"


# --- places


def test_a_field_is_found_by_line_and_column():
    spec = loads("training_config {\n  num_epochs: 3\n}", "spec.txt")
    assert spec.where("training_config.num_epochs") == "spec.txt:2:3"


def test_a_field_that_was_left_out_is_where_its_block_is():
    spec = loads("random_seed: 1\ntraining_config { optimizer {} }", "spec.txt")
    assert spec.where("training_config.optimizer.sgd.momentum") == "spec.txt:2:19"
    assert spec.where("model_config.arch") == "spec.txt"


def test_entries_of_lists_and_maps_have_places_of_their_own():
    spec = loads(
        "dataset_config {\n"
        " data_sources { tfrecords_path: 'a' }\n"
        " data_sources { tfrecords_path: 'b' }\n"
        " target_class_mapping { key: 'van' value: 'car' }\n"
        "}\n"
        "model_config { freeze_blocks: [0,\n 1] }",
        "s",
    )
    assert spec.where("dataset_config.data_sources[1].tfrecords_path") == "s:3:17"
    assert spec.where("dataset_config.target_class_mapping[van]") == "s:4:2"
    assert spec.where("dataset_config.target_class_mapping[bus]") == "s:4:2"
    assert spec.where("model_config.freeze_blocks[1]") == "s:7:2"


def test_of_a_field_written_twice_the_place_is_that_of_the_value_that_counts():
    spec = loads("random_seed: 1\nrandom_seed: 2", "s")
    assert spec.where("random_seed") == "s:2:1"


def test_writing_zero_is_writing():
    spec = loads("verbose: False")
    assert spec.wrote("verbose")
    assert not spec.wrote("random_seed")


# --- mistakes


def test_all_unknown_fields_and_wrong_values_are_reported_at_once():
    text = "model_config {\n  arhc: 'a'\n  roi_mini_batch: -1\n}\nrandom_sed: 1"
    assert errors(text) == [
        "spec:2:3: model_config.arhc: unknown field. Did you mean 'arch'?",
        "spec:3:19: model_config.roi_mini_batch: expected a whole number, 0 or more, not -1.",
        "spec:5:1: random_sed: unknown field. Did you mean 'random_seed'?",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("training_config { freeze_bn: 1 }", "It belongs in model_config."),
        ("batch_size_per_gpu: 1", "It belongs in training_config."),
        ("kitti_config { }", "It is a field of a dataset spec."),
    ],
)
def test_a_field_in_the_wrong_place_is_told_where_it_belongs(text, hint):
    assert errors(text)[0].endswith(f"unknown field. {hint}")


def test_an_experiment_spec_is_not_taken_for_a_dataset_spec():
    message = errors("model_config {}", loads_dataset_spec)
    assert message == [
        "spec:1:1: model_config: unknown field. It is a field of an experiment spec."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config { arch: resnet }", "1:22: model_config.arch: expected a text in quotes"),
        ("verbose: yes", "1:10: verbose: expected True or False, not yes."),
        ("random_seed: 1.5", "1:14: random_seed: expected a whole number, 0 or more, not 1.5."),
        ("random_seed: 5000000000", "1:14: random_seed: expected a whole number"),
        ("random_seed: [1]", "1:1: random_seed: takes one value, not a list."),
        ("random_seed {}", "1:13: random_seed: expected a whole number"),
        ("model_config: 1", "1:15: model_config: expected a block, model_config { ... }."),
        ("model_config { dropout_rate: nan }", "1:30: model_config.dropout_rate: expected a num"),
        ("model_config { dropout_rate: -inf }", "1:30: model_config.dropout_rate: expected a num"),
        ("model_config { dropout_rate: 1e39 }", "1:30: model_config.dropout_rate: expected a num"),
        ("dataset_config { sampling_mode: 7 }", "expected USER_DEFINED, PROPORTIONAL or UNIFORM"),
        (
            "dataset_config { target_class_mapping { key: 'a' } }",
            "1:18: dataset_config.target_class_mapping: this entry has no 'value'.",
        ),
        (
            "dataset_config { target_class_mapping { kye: 'a' value: 'b' } }",
            "1:41: dataset_config.target_class_mapping.kye: unknown field. Did you mean 'key'?",
        ),
    ],
)
def test_a_wrong_value_is_answered_with_the_right_kind(text, message):
    assert message in errors(text)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {\n b {\n}", "spec:1:3: this '{' is never closed."),
        ("verbose: True }", "spec:1:15: this '}' closes nothing."),
        ("verbose = True", "spec:1:9: expected ':' or '{' after 'verbose', not '='."),
        ("random_seed 3", "spec:1:13: expected ':' or '{' after 'random_seed', not '3'."),
        ("random_seed", "spec:1:12: expected ':' or '{' after 'random_seed'."),
        (
            "random_seed:",
            "spec:1:13: expected a value after 'random_seed', not the end of the file.",
        ),
        ("enc_key: 'abc\n'", "spec:1:10: this quote is not closed on its line."),
        ("# ok\n$", "spec:2:1: '$' does not belong here."),
        ("a: [1 2]", "spec:1:7: expected ',' or ']' in this list."),
        ("{}", "spec:1:1: expected the name of a field, not '{'."),
    ],
)
def test_broken_grammar_is_reported_where_it_breaks(text, message):
    assert errors(text) == [message]


def test_a_file_that_is_not_there_or_not_text_is_a_spec_error(tmp_path):
    (tmp_path / "image.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load(tmp_path / "spec.txt")
    with pytest.raises(SpecError, match="not a text file"):
        load(tmp_path / "image.txt")


# --- what was read but is probably not what was meant


def test_a_value_that_is_replaced_further_down_is_worth_a_warning():
    spec = loads("random_seed: 1\nrandom_seed: 2")
    assert spec.message.random_seed == 2
    assert list(map(str, spec.warnings)) == ["spec:2:1: random_seed: replaces the value of line 1."]


def test_of_two_members_of_a_oneof_the_last_counts_and_a_warning_tells():
    spec = loads("training_config { optimizer { adam { lr: 1 } sgd {} } }")
    assert spec.message.training_config.optimizer.WhichOneof("optim") == "sgd"
    assert [problem.message for problem in spec.warnings] == ["replaces adam, written before."]
    assert not spec.wrote("training_config.optimizer.adam.lr")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"), [(EXPERIMENTS[0], "Experiment"), (DATASETS[0], "DatasetExportConfig")]
)
def test_the_top_level_fields_tell_which_kind_of_spec_it_is(examples, name, kind):
    assert load_either(examples / name).message.DESCRIPTOR.name == kind
