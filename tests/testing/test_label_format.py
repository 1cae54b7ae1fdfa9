import json
from pathlib import Path

import pytest

from frcnn_core import LabelFormat
from frcnn_core.data.labels import Labels, LabelSet, Object
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.plugin.components import NoOptions
from frcnn_core.testing import LabelFormatContract


class Lines(LabelSet):
    """One JSON object a line, one line an image."""

    lists_images = True

    def __init__(self, path):
        self.path = path
        self.images = {}
        if not path.is_file():
            raise DataError(f"{path}: there is no such file.")
        try:
            entries = [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError as error:
            raise DataError(f"{path}: not JSON.") from error
        self.images = {entry["name"]: entry for entry in entries}

    @property
    def names(self):
        return self.images.keys()

    def read(self, name, size):
        if name not in self.images:
            raise DataError(f"{self.path}: has no image {name}.")
        image = self.images[name]
        objects = tuple(
            Object(kind.lower(), *box, crowd=crowd) for kind, box, crowd in image["objects"]
        )
        places = tuple(f"{self.place(name)}: {i}" for i, _ in enumerate(objects))
        return Labels(objects, places, tuple(image["size"]))

    def place(self, name):
        return f"{self.path}: {name}"


class JsonLines(LabelFormat):
    name = "json_lines"
    summary = "a line of JSON for each image"
    labels = Lines

    def open(self, labels, options):
        return self.labels(labels)

    def entry(self, image):
        objects = [
            (item.class_name, (item.x1, item.y1, item.x2, item.y2), item.crowd)
            for item in image.objects
        ]
        return {"name": image.name, "size": image.size, "objects": objects}

    def write(self, images, output, options):
        if output.exists():
            raise FrcnnError(f"{output} exists.")
        output.parent.mkdir(exist_ok=True)
        output.write_text("".join(json.dumps(self.entry(image)) + "\n" for image in images))
        return [output]

    def recognises(self, labels):
        return labels.is_file() and labels.read_bytes().startswith(b'{"name"')


class Rounding(JsonLines):
    def entry(self, image):
        entry = super().entry(image)
        entry["objects"] = [
            (k, [round(side, 3) for side in box], c) for k, box, c in entry["objects"]
        ]
        return entry


class Backwards(JsonLines):
    def entry(self, image):
        entry = super().entry(image)
        return entry | {"objects": entry["objects"][::-1]}


class TwicePassing(JsonLines):
    def write(self, images, output, options):
        self.count = sum(1 for _ in images)
        return super().write(images, output, options)


class Tidy(JsonLines):
    """Leaves out what has no area, and cuts what reaches out of the image."""

    def entry(self, image):
        entry = super().entry(image)
        entry["objects"] = [
            (k, [max(side, 0) for side in box], c)
            for k, box, c in entry["objects"]
            if box[0] < box[2]
        ]
        return entry


class Crowdless(JsonLines):
    def entry(self, image):
        entry = super().entry(image)
        return entry | {"objects": [(*one[:2], False) for one in entry["objects"]]}


class Untidy(JsonLines):
    def write(self, images, output, options):
        files = super().write(images, output, options)
        output.with_suffix(".tmp").touch()
        return files


class Overwriting(JsonLines):
    def write(self, images, output, options):
        output.unlink(missing_ok=True)
        return super().write(images, output, options)


class Unrecognised(JsonLines):
    def recognises(self, labels):
        return False


class Everything(JsonLines):
    def recognises(self, labels):
        return True


class Placeless(Lines):
    def read(self, name, size):
        labels = super().read(name, size)
        return Labels(labels.objects, (), labels.size)


class OnePlace(Lines):
    def read(self, name, size):
        labels = super().read(name, size)
        return Labels(labels.objects, (self.place(name),) * len(labels.objects), labels.size)


class Flat(Lines):
    @property
    def names(self):
        return {Path(name).name for name in self.images}


class WidthFirst(Lines):
    def read(self, name, size):
        labels = super().read(name, size)
        return Labels(labels.objects, labels.places, labels.size[::-1])


class CaseKeeping(Lines):
    def read(self, name, size):
        labels = super().read(name, size)
        kinds = [kind for kind, *_ in self.images[name]["objects"]]
        objects = tuple(
            Object(kind, item.x1, item.y1, item.x2, item.y2)
            for kind, item in zip(kinds, labels.objects, strict=True)
        )
        return Labels(objects, labels.places, labels.size)


class Trusting(Lines):
    def read(self, name, size):
        self.images[name]  # KeyError for one that is not there
        return super().read(name, size)


class Bursting(Lines):
    def __init__(self, path):
        try:
            super().__init__(path)
        except DataError as error:
            raise error.__cause__ or error from None


class Nameless(Lines):
    def __init__(self, path):
        try:
            super().__init__(path)
        except DataError as error:
            raise DataError("something is wrong.") from error


class Careless(Lines):
    """Opens whatever it is given."""

    def __init__(self, path):
        try:
            super().__init__(path)
        except DataError:
            self.images = {}


class Stateful(Lines):
    """Goes on in a file where the last image ended, as with a shared file handle."""

    wanted = None

    def read(self, name, size):
        import time

        self.wanted = name
        time.sleep(0.001)
        return super().read(self.wanted, size)


def contract_of(component):
    return type("Contract", (LabelFormatContract,), {"label_format": component})


def reading(labels):
    return type("Broken", (JsonLines,), {"labels": labels})()


@pytest.mark.slow
def test_a_good_format_passes(failures):
    assert failures(contract_of(JsonLines())) == {}


ROUND_TRIP = "test_boxes_and_classes_come_back_in_their_order"
ODD_BOXES = "test_boxes_without_area_and_partly_outside_of_the_image_are_kept"
PLACES = "test_each_object_has_a_place_of_its_own_that_names_the_file"
DAMAGE = "test_a_damaged_file_is_an_error_that_names_it"
RECOGNISED = "test_it_recognises_what_it_wrote_and_no_pictures"


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, check",
    [
        (Rounding(), ROUND_TRIP),
        (Backwards(), ROUND_TRIP),
        (TwicePassing(), ROUND_TRIP),
        (Tidy(), ODD_BOXES),
        (reading(Placeless), PLACES),
        (reading(OnePlace), PLACES),
        (reading(Flat), "test_the_names_are_those_of_the_images"),
        (reading(WidthFirst), "test_a_size_that_is_stated_is_that_of_the_image"),
        (reading(CaseKeeping), "test_class_names_are_read_as_lower_case"),
        (Crowdless(), "test_a_crowd_stays_one_or_is_refused"),
        (reading(Trusting), "test_an_image_that_is_not_there_has_no_objects_or_is_an_error"),
        (reading(Bursting), DAMAGE),
        (reading(Nameless), DAMAGE),
        (reading(Stateful), "test_several_threads_read_the_same_as_one"),
        (Untidy(), "test_the_files_it_says_it_wrote_are_there_and_no_others"),
        (Overwriting(), "test_nothing_is_overwritten"),
        (reading(Careless), "test_what_there_is_nothing_of_cannot_be_opened"),
        (Unrecognised(), RECOGNISED),
        (Everything(), RECOGNISED),
    ],
)
def test_a_broken_one_fails(failures, broken, check):
    assert failures(contract_of(broken), check)


def test_every_check_has_a_broken_format():
    ours = {name for name in vars(LabelFormatContract) if name.startswith("test_")}
    marks = test_a_broken_one_fails.pytestmark
    (mark,) = [mark for mark in marks if mark.name == "parametrize"]
    assert {check for _, check in mark.args[1]} == ours


@pytest.mark.slow
def test_its_options_are_those_of_the_component():
    assert contract_of(JsonLines())().options() == NoOptions()
