import pytest

from frcnn_core.errors import FrcnnError
from frcnn_tensorrt.profile import Range, check, of_batches, parse


def test_only_inputs_of_any_batch_size_get_a_range():
    inputs = {"image": (-1, 3, 64, 96), "anchors": (5, 4)}
    assert of_batches(inputs, least=1, optimal=2, most=4) == {
        "image": Range((1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96))
    }


def test_inputs_of_any_size_need_shapes_and_the_message_shows_how():
    with pytest.raises(FrcnnError, match="-p image,"):
        of_batches({"image": (-1, 3, -1, -1)}, least=1, optimal=1, most=1)


def test_the_documentations_text_is_a_range():
    assert parse("input_image,1x3x64x96,2x3x64x96,4x3x64x96") == (
        "input_image",
        Range((1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("image", "expected NAME,MIN,OPT,MAX"),
        ("image,1x3,2x3", "expected NAME,MIN,OPT,MAX"),
        ("image,1x3,axb,2x3", "expected NAME,MIN,OPT,MAX"),
        ("image,1x3,2x3x4,4x3x4", "different lengths"),
        ("image,4x3,2x3,1x3", "does not go from smallest to largest"),
    ],
)
def test_text_that_is_no_range_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse(text)


@pytest.mark.slow
def test_a_range_must_be_of_an_input_and_fit_it():
    inputs = {"image": (-1, 3, 64, 96)}
    shapes = [(number, 3, 64, 96) for number in (1, 2, 4)]
    check({"image": Range(*shapes)}, inputs)
    with pytest.raises(FrcnnError, match="the model's inputs are image"):
        check({"images": Range(*shapes)}, inputs)
    with pytest.raises(FrcnnError, match="-1x3x64x96"):
        check({"image": Range(*shapes[:2], (4, 3, 64, 97))}, inputs)
    with pytest.raises(FrcnnError, match="-1x3x64x96"):
        check({"image": Range((1, 3), (1, 3), (1, 3))}, inputs)
