"""Each thing that can be wrong is reported where it is, and nothing else is; mended, nothing is."""

import pytest

from .broken_set import BrokenSet, cars, jpeg, line, png, told

CASES = {}


def case(*expected):
    """Registers a function that breaks a set, or with ``mended`` does the same without the flaw.

    Args:
        expected: (code, place) of every finding.
    """

    def register(function):
        CASES[function.__name__] = (function, sorted(expected))
        return function

    return register


@case(("missing-image", "train.list:3"))
def an_image_that_is_listed_is_missing(made: BrokenSet, mended: bool):
    if mended:
        made.write("images/train_9.png", png(9))
        made.write("labels/train_9.txt", cars())
    else:
        made.also_listed = "train_9\n"


@case(("unreadable-image", "train_1.png"))
def a_png_file_is_cut_short(made: BrokenSet, mended: bool):
    made.write("images/train_1.png", png(1) if mended else png(1)[:2000])


@case(("unreadable-image", "train_9.jpg"))
def a_jpeg_file_is_cut_short(made: BrokenSet, mended: bool):
    made.write("images/train_9.jpg", jpeg(9) if mended else jpeg(9)[:-200])
    made.write("labels/train_9.txt", cars())


@case(("unreadable-image", "train_1.png"))
def a_bit_of_the_pixels_is_flipped(made: BrokenSet, mended: bool):
    data = bytearray(png(1))
    data[len(data) // 2] ^= 0 if mended else 0xFF
    made.write("images/train_1.png", bytes(data))


@case(("unreadable-image", "train_1.png"))
def an_image_is_no_image(made: BrokenSet, mended: bool):
    made.write("images/train_1.png", png(1) if mended else b"<html>not found</html>")


@case(("missing-label", "train_1.txt"))
def an_image_has_no_label_file(made: BrokenSet, mended: bool):
    if not mended:
        made.remove("labels/train_1.txt")


@case(("bad-label", "train_1.txt:11"), ("bad-label", "train_1.txt:13"))
def two_lines_of_a_label_file_cannot_be_read(made: BrokenSet, mended: bool):
    broken = "car 0 0\n" + line(8, 9, 30, 30) + line("x", 9, 30, 30)
    made.write("labels/train_1.txt", cars() + ("" if mended else broken))


@case(("bad-label", "train_1.txt:1"))
def a_coordinate_of_a_label_file_is_no_number(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", line("11" if mended else "nan", 9, 31, 30) + cars())


@case(("zero-area", "train_1.txt:11"))
def a_box_has_no_width(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", cars() + line(20, 3, 37 if mended else 20, 20))


@case(("inside-out", "train_1.txt:11"))
def a_box_is_inside_out(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", cars() + line(*((8, 9, 30, 30) if mended else (30, 9, 8, 30))))


@case(("outside", "train_1.txt:11"))
def a_box_is_outside_of_the_image(made: BrokenSet, mended: bool):
    x = 30 if mended else 60
    made.write("labels/train_1.txt", cars() + line(x, 9, x + 20, 30))


@case(("slightly-outside", "train_1.txt:11"))
def a_box_reaches_out_a_little(made: BrokenSet, mended: bool):
    # Half a pixel is what tools differ by.
    x2 = 60.5 if mended else 62
    made.write("labels/train_1.txt", cars() + line(40, 9, x2, 30))


@case(("largely-outside", "val_0.txt:11"))
def most_of_a_box_is_outside(made: BrokenSet, mended: bool):
    x2 = 60 if mended else 80
    made.write("labels/val_0.txt", cars() + line(40, 9, x2, 30))


@case(("duplicate-image", "train_9.png"))
def an_image_is_twice_in_a_split(made: BrokenSet, mended: bool):
    made.write("images/train_9.png", png(9 if mended else 1))
    made.write("labels/train_9.txt", cars())


@case(("duplicate-across-splits", "val_9.png"))
def a_training_image_is_validated_on(made: BrokenSet, mended: bool):
    made.write("images/val_9.png", png(9 if mended else 1))
    made.write("labels/val_9.txt", cars())


@case(("duplicate-box", "train_1.txt:11"))
def a_box_is_twice_in_an_image(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", cars() + line(*((5, 6, 25, 25) if mended else (5, 5, 25, 25))))


@case(("too-many-objects", "train_1.txt"))
def there_are_more_objects_than_training_takes(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", cars(12 if mended else 13))


@case(("image-cut", "train_9.txt"))
def an_image_is_larger_than_the_network(made: BrokenSet, mended: bool):
    made.write("images/train_9.png", png(9, width=60 if mended else 61))
    made.write("labels/train_9.txt", cars())


@case(("image-cut", "train_9.txt"))
def a_box_is_in_what_is_cut_off(made: BrokenSet, mended: bool):
    made.write("images/train_9.png", png(9, width=60 if mended else 100))
    x = 30 if mended else 70
    made.write("labels/train_9.txt", cars() + line(x, 9, x + 20, 30))


@case(("unknown-class", "cra"))
def a_class_is_not_mapped(made: BrokenSet, mended: bool):
    made.write("labels/train_1.txt", cars() + line(8, 9, 30, 30, "car" if mended else "cra"))


@case(("absent-class", "bus"), ("absent-class", "bus"))
def a_class_that_is_wanted_is_nowhere(made: BrokenSet, mended: bool):
    made.more_classes = 'target_class_mapping { key: "bus" value: "bus" }'
    buses = cars().replace("car", "bus").splitlines(keepends=True)
    for name in ("train_0", "val_0") if mended else ():
        made.write(f"images/{name}_bus.png", png(len(name)))
        made.write(f"labels/{name}_bus.txt", "".join(buses))


@case(("rare-class", "bus"), ("rare-class", "bus"))
def a_class_has_few_objects(made: BrokenSet, mended: bool):
    made.more_classes = 'target_class_mapping { key: "bus" value: "bus" }'
    buses = cars().replace("car", "bus").splitlines(keepends=True)
    for name in ("train_0", "val_0"):
        made.write(f"images/{name}_bus.png", png(len(name)))
        made.write(f"labels/{name}_bus.txt", "".join(buses[: 10 if mended else 9]))


@case(("unused-label", "train_9.txt"))
def a_label_file_has_no_image(made: BrokenSet, mended: bool):
    made.write("labels/train_9.txt", cars())
    if mended:
        made.write("images/train_9.png", png(9))


@case(("dropped-box", "train_1.txt:11"))
def a_box_is_below_the_smallest_size(made: BrokenSet, mended: bool):
    made.preprocessing = "min_bbox_height: 5"
    made.write("labels/train_1.txt", cars() + line(8, 9, 30, 9 + (5 if mended else 4)))


@case(("small-box", "val_0.txt:11"))
def a_box_is_smaller_than_a_cell(made: BrokenSet, mended: bool):
    made.write("labels/val_0.txt", cars() + line(8, 9, 8 + 15, 9 + (16 if mended else 15)))


@case(("empty-image", "train_9.txt"))
def an_image_has_no_objects(made: BrokenSet, mended: bool):
    made.write("images/train_9.png", png(9))
    made.write("labels/train_9.txt", cars() if mended else "")


@case(("turned-image", "train_9.jpg"))
def an_image_is_stored_turned(made: BrokenSet, mended: bool):
    made.write("images/train_9.jpg", jpeg(9, orientation=1 if mended else 3))
    made.write("labels/train_9.txt", cars())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_flaw_is_reported_where_it_is_and_nothing_else(name, tmp_path):
    breaks, expected = CASES[name]
    made = BrokenSet(tmp_path)
    breaks(made, mended=False)
    assert told(made.validate()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_reported_where_the_flaw_is_mended(name, tmp_path):
    breaks, _ = CASES[name]
    made = BrokenSet(tmp_path)
    breaks(made, mended=True)
    assert told(made.validate()) == []


def test_all_flaws_of_a_set_are_reported_at_once(tmp_path):
    made = BrokenSet(tmp_path)
    for number, (name, label) in enumerate(
        {
            "cut": cars(),
            "unlabelled": None,
            "unreadable": "car 0 0\n",
            "flat": cars() + line(20, 3, 40, 3),
            "turned": cars() + line(30, 9, 8, 30),
            "away": cars() + line(70, 9, 90, 30),
            "crowded": cars(13),
            "stranger": cars() + line(8, 9, 30, 30, "cra"),
            "empty": "",
        }.items(),
        start=10,
    ):
        image = png(number)
        made.write(f"images/train_{name}.png", image[:2000] if name == "cut" else image)
        if label is not None:
            made.write(f"labels/train_{name}.txt", label)
    made.write("images/val_9.png", png(1))
    made.write("labels/val_9.txt", cars())
    made.write("labels/nothing.txt", cars())
    assert told(made.validate()) == sorted(
        [
            ("unreadable-image", "train_cut.png"),
            ("missing-label", "train_unlabelled.txt"),
            ("bad-label", "train_unreadable.txt:1"),
            ("zero-area", "train_flat.txt:11"),
            ("inside-out", "train_turned.txt:11"),
            ("outside", "train_away.txt:11"),
            ("too-many-objects", "train_crowded.txt"),
            ("unknown-class", "cra"),
            ("empty-image", "train_empty.txt"),
            ("duplicate-across-splits", "val_9.png"),
            ("unused-label", "nothing.txt"),
        ]
    )


@pytest.mark.slow
def test_a_quick_look_knows_the_same_pixels_again_only_in_the_same_file(tmp_path):
    made = BrokenSet(tmp_path)
    data = jpeg(9)
    made.write("images/train_9.jpg", data)
    made.write("labels/train_9.txt", cars())
    comment = b"\xff\xfe\0\2"
    made.write("images/val_9.jpg", data[:2] + comment + data[2:])
    made.write("labels/val_9.txt", cars())
    assert told(made.validate()) == [("duplicate-across-splits", "val_9.jpg")]
    assert told(made.validate(quick=True)) == []
