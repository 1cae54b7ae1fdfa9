"""What every label format must do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frcnn_core.data import LabelledImage, LabelSet, Object
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.plugin import LabelFormat
from frcnn_core.testing.component import ComponentContract

SIZE = (375, 1242)
"""Height and width of the pictures; nothing divides by them evenly."""
MISSING = "no_such_folder/no_such_image"
PRECISION = 1e-6
"""Pixels that a box may be off: the last bits, but not the last digits of an annotation tool."""


class LabelFormatContract(ComponentContract):
    """Subclass as ``class TestVoc(LabelFormatContract): label_format = VocLabels()``."""

    label_format: LabelFormat

    @property
    def component(self) -> LabelFormat:
        return self.label_format

    def write(self, images: Iterable[LabelledImage], output: Path) -> list[Path]:
        """Write as the commands do, who may go through images only once."""
        return self.label_format.write(iter(tuple(images)), output, self.options())

    def open(self, labels: Path) -> LabelSet:
        return self.label_format.open(labels, self.options())

    def written(self, folder: Path) -> LabelSet:
        """The labels of ``_images``, written and opened."""
        self.write(_images(), folder / "labels")
        return self.open(folder / "labels")

    def test_boxes_and_classes_come_back_in_their_order(self, tmp_path: Path) -> None:
        labels = self.written(tmp_path)
        for image in _images():
            _assert_same(labels.read(image.name, image.size).objects, image.objects)

    def test_boxes_without_area_and_partly_outside_of_the_image_are_kept(
        self, tmp_path: Path
    ) -> None:
        """What is wrong with them is for others to say."""
        height, _ = SIZE
        objects = (
            Object("car", 10, 20, 10, 40),
            Object("car", -4.5, 20, 30, 40),
            Object("car", 20, 300, 30, height + 3.25),
        )
        image = LabelledImage("a.png", SIZE, objects)
        self.write([image], tmp_path / "labels")
        _assert_same(self.open(tmp_path / "labels").read("a", SIZE).objects, objects)

    def test_each_object_has_a_place_of_its_own_that_names_the_file(self, tmp_path: Path) -> None:
        files = {path.name for path in self.write(_images(), tmp_path / "labels")}
        labels = self.open(tmp_path / "labels")
        for image in _images():
            places = labels.read(image.name, image.size).places
            assert len(set(places)) == len(image.objects), f"places are {places}"
            assert all(any(name in place for name in files) for place in places), places

    def test_the_names_are_those_of_the_images(self, tmp_path: Path) -> None:
        labels, images = self.written(tmp_path), _images()
        names = {image.name for image in images}
        assert set(labels.names) <= names
        assert {image.name for image in images if image.objects} <= set(labels.names)
        if labels.lists_images:
            assert set(labels.names) == names
        assert len(set(map(labels.place, names))) == len(names)

    def test_a_size_that_is_stated_is_that_of_the_image(self, tmp_path: Path) -> None:
        labels = self.written(tmp_path)
        for image in _images():
            assert labels.read(image.name, image.size).size in (None, image.size)

    def test_class_names_are_read_as_lower_case(self, tmp_path: Path) -> None:
        image = LabelledImage("a.png", SIZE, (Object("zebrafish", 1, 2, 30, 40),))
        files = self.write([image], tmp_path / "labels")
        if not any(b"zebrafish" in path.read_bytes() for path in files):
            pytest.skip("class names are not plain text in its files")
        for path in files:
            path.write_bytes(path.read_bytes().replace(b"zebrafish", b"ZebraFish"))
        (item,) = self.open(tmp_path / "labels").read("a", SIZE).objects
        assert item.class_name == "zebrafish"

    def test_a_crowd_stays_one_or_is_refused(self, tmp_path: Path) -> None:
        crowd = Object("person", 1, 2, 30, 40, crowd=True)
        image = LabelledImage("a.png", SIZE, (crowd, Object("car", 1, 2, 30, 40)))
        try:
            self.write([image], tmp_path / "labels")
        except DataError as error:
            assert "a.png" in str(error)
            return
        read = self.open(tmp_path / "labels").read("a", SIZE).objects
        assert [item.crowd for item in read] == [True, False]

    def test_an_image_that_is_not_there_has_no_objects_or_is_an_error(self, tmp_path: Path) -> None:
        labels = self.written(tmp_path)
        assert isinstance(labels.place(MISSING), str)
        try:
            assert labels.read(MISSING, SIZE).objects == ()
        except DataError as error:
            assert MISSING in str(error)

    @pytest.mark.parametrize("content", [b"no label at all <{\n", b"\xff\xfe\x00\xd8 \x80\n"])
    def test_a_damaged_file_is_an_error_that_names_it(self, tmp_path: Path, content: bytes) -> None:
        files = self.write(_images(), tmp_path / "labels")
        labels = self.open(tmp_path / "labels")
        image = _images()[0]
        (place, *_) = labels.read(image.name, image.size).places
        (file,) = [path for path in files if str(path) in place]
        file.write_bytes(content)
        with pytest.raises(DataError) as caught:
            self.open(tmp_path / "labels").read(image.name, image.size)
        assert all(line.startswith(str(file)) for line in str(caught.value).splitlines())

    def test_several_threads_read_the_same_as_one(self, tmp_path: Path) -> None:
        labels, images = self.written(tmp_path), _images()
        alone = [labels.read(image.name, image.size) for image in images]
        with ThreadPoolExecutor(8) as pool:
            together = list(
                pool.map(lambda image: labels.read(image.name, image.size), images * 20)
            )
        assert together == alone * 20

    def test_the_files_it_says_it_wrote_are_there_and_no_others(self, tmp_path: Path) -> None:
        files = self.write(_images(), tmp_path / "deep" / "labels")
        found = {path for path in (tmp_path / "deep").rglob("*") if path.is_file()}
        assert set(files) == found

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        files = self.write(_images(), tmp_path / "labels")
        before = [path.read_bytes() for path in files]
        with pytest.raises(FrcnnError):
            self.write(_images()[:1], tmp_path / "labels")
        assert [path.read_bytes() for path in files] == before

    def test_what_there_is_nothing_of_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="missing"):
            self.open(tmp_path / "missing")
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(DataError, match="pictures"):
            self.open(tmp_path / "pictures")

    def test_it_recognises_what_it_wrote_and_no_pictures(self, tmp_path: Path) -> None:
        self.write(_images(), tmp_path / "labels")
        assert self.label_format.recognises(tmp_path / "labels")
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        assert not self.label_format.recognises(tmp_path / "pictures")
        assert not self.label_format.recognises(tmp_path / "pictures" / "a.png")


def _images() -> list[LabelledImage]:
    """Images in folders and with names as people give them; one is empty."""
    objects = (
        Object("car", 712.4, 143.0, 810.73, 307.92),
        Object("person", 0.0, 0.125, 1242.0, 375.0),
        Object("car", 100 / 3, 200 / 3, 500 / 7, 700 / 9),
        Object("stop_sign-2", 1.0, 2.0, 3.0, 4.0),
    )
    return [
        LabelledImage("000000.png", SIZE, objects),
        LabelledImage("day/000000.jpg", SIZE, objects[1:3]),
        LabelledImage("day/late/empty.jpg", SIZE, ()),
        LabelledImage("img 7 (copy).v2.JPG", (48, 64), (Object("car", 0.1, 0.2, 0.3, 0.7),)),
        LabelledImage("größe & <mehr>.jpeg", SIZE, objects[::-1]),
    ]


def _assert_same(read: tuple[Object, ...], written: tuple[Object, ...]) -> None:
    assert [item.class_name for item in read] == [item.class_name for item in written]
    assert [_box(item) for item in read] == [
        pytest.approx(_box(item), abs=PRECISION, rel=0) for item in written
    ]


def _box(item: Object) -> tuple[float, ...]:
    return dataclasses.astuple(item)[1:5]
