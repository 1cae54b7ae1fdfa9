import contextlib
import io
import json

import pytest

from frcnn_coco_labels import CocoLabels
from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.errors import DataError
from frcnn_core.testing.component import run_python

IMAGES = [
    {"id": 7, "file_name": "day/a.jpg", "height": 480, "width": 640},
    {"id": 9, "file_name": "b.png"},
]
LIGHT = {"id": 10, "name": "Traffic Light"}


def annotation(**fields):
    return {"id": 17, "image_id": 7, "category_id": 10, "bbox": [10.5, 20, 30, 40]} | fields


def opened(folder, *annotations, images=IMAGES, categories=(LIGHT,), **options):
    path = folder / "instances.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return CocoLabels().open(path, CocoLabels.Options(**options))


def problems(folder, *annotations, **sections):
    """What is wrong, in opening the file or in reading its first image; its path left out."""
    with pytest.raises(DataError) as caught:
        opened(folder, *annotations, **sections).read("day/a", None)
    return [
        line.removeprefix(f"{folder}/instances.json: ") for line in str(caught.value).splitlines()
    ]


def test_boxes_become_corners_and_names_keep_their_words(tmp_path):
    labels = opened(tmp_path, annotation()).read("day/a", None)
    assert labels.objects == (Object("traffic light", 10.5, 20, 40.5, 60),)
    assert labels.places == (f"{tmp_path}/instances.json: annotation 17",)
    assert labels.size == (480, 640)


def test_ends_are_sums_of_decimals(tmp_path):
    (item,) = opened(tmp_path, annotation(bbox=[10.1, 0, 20.2, 1])).read("day/a", None).objects
    assert item.x2 == 30.3


def test_names_are_compacted_as_in_tlt_if_asked_for(tmp_path):
    (item,) = opened(tmp_path, annotation(), compact_names=True).read("day/a", None).objects
    assert item.class_name == "trafficlight"


def test_the_images_are_those_that_are_listed_with_objects_or_without(tmp_path):
    labels = opened(tmp_path, annotation())
    assert labels.lists_images
    assert list(labels.names) == ["day/a", "b"]
    assert labels.read("b", None).objects == ()
    assert labels.read("b", None).size is None
    assert labels.place("b") == f"{tmp_path}/instances.json: image b.png"


def test_a_file_name_may_be_written_as_on_windows(tmp_path):
    labels = opened(tmp_path, images=[{"id": 1, "file_name": ".\\day\\late\\a.b.jpg"}])
    assert list(labels.names) == ["day/late/a.b"]


def test_crowds_are_marked_and_their_masks_passed_over(tmp_path):
    mask = {"counts": [1, 2, 3], "size": [480, 640]}
    crowd = annotation(iscrowd=1, segmentation=mask)
    assert [item.crowd for item in opened(tmp_path, crowd).read("day/a", None).objects] == [True]


def test_what_pascal_in_cocos_format_ignores_is_difficult(tmp_path):
    (item,) = opened(tmp_path, annotation(ignore=1)).read("day/a", None).objects
    assert item.occlusion == 1


@pytest.mark.parametrize(
    "fields, problem",
    [
        ({"bbox": [1, 2, 3]}, "bbox is [1, 2, 3], but must be four numbers: x, y, width, height."),
        ({"bbox": [1, 2, 3, "4"]}, "bbox is [1, 2, 3, '4'], but must be four numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox is [1, 2, 3, nan], but must be four numbers"),
        ({"bbox": None}, "bbox is None, but must be four numbers"),
        ({"category_id": 11}, "category_id 11 is no category's id."),
        ({"category_id": [10]}, "category_id [10] is no category's id."),
        ({"image_id": 8}, "image_id 8 is no image's id."),
        ({"iscrowd": "yes"}, "iscrowd is 'yes', but must be 0 or 1."),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named_by_its_id(tmp_path, fields, problem):
    (found,) = problems(tmp_path, annotation(**fields))
    assert found.startswith(f"annotation 17: {problem}")


def test_an_annotation_without_an_id_is_named_by_its_place(tmp_path):
    bad = annotation(bbox=[])
    del bad["id"]
    assert problems(tmp_path, bad)[0].startswith("annotation [0]: bbox is []")


def test_an_id_that_is_there_twice_is_told_in_one_image_and_across_two(tmp_path):
    assert problems(tmp_path, annotation(), annotation()) == ["annotation 17: is there twice."]
    (found,) = problems(tmp_path, annotation(), annotation(image_id=9))
    assert found == "annotation 17: another one has this id too."


@pytest.mark.parametrize(
    "sections, problem",
    [
        ({"images": [*IMAGES, {"id": 7, "file_name": "c.png"}]}, "images[2]: another image has"),
        ({"images": [*IMAGES, {"id": 1, "file_name": "b.jpg"}]}, "images[2]: b.png is there too"),
        ({"images": [*IMAGES, {"id": 1}]}, "images[2]: needs an id and a file_name."),
        ({"images": [*IMAGES, 3]}, "images[2]: needs an id and a file_name."),
        ({"categories": [LIGHT, LIGHT]}, "categories[1]: another category has the id 10 too."),
        ({"categories": [LIGHT, {"id": 3}]}, "categories[1]: needs an id and a name."),
    ],
)
def test_images_and_categories_that_contradict_each_other_are_told(tmp_path, sections, problem):
    (found,) = problems(tmp_path, **sections)
    assert found.startswith(problem)


def test_the_wrong_file_of_coco_is_told_in_a_few_lines(tmp_path):
    captions = [{"id": i, "image_id": 7, "caption": "a light"} for i in range(100)]
    found = problems(tmp_path, *captions)
    assert found[0] == "annotations[0]: needs an image_id, a category_id and a bbox."
    assert len(found) == 21
    assert found[-1] == "and 80 more."


@pytest.mark.parametrize(
    "text, problem",
    [
        ('{"images": [\n  {"id": 1 "x"}\n]}', "instances.json:2:12: not JSON: "),
        ("[1, 2]", "instances.json: not COCO labels, which are an object"),
        ('{"images": []}', "instances.json: not COCO labels: has no list called annotations or"),
        ("[" * 200_000, "instances.json"),
    ],
)
def test_what_is_no_coco_file_is_an_error_that_names_it(tmp_path, text, problem):
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(DataError) as caught:
        CocoLabels().open(tmp_path / "instances.json", CocoLabels.Options())
    assert problem in str(caught.value)


def test_a_folder_stands_for_the_one_file_in_it(tmp_path):
    opened(tmp_path, annotation())
    labels = CocoLabels().open(tmp_path, CocoLabels.Options())
    assert list(labels.names) == ["day/a", "b"]
    (tmp_path / "captions.json").write_text("{}")
    with pytest.raises(DataError, match=r"has several .json files, captions.json, instances.json"):
        CocoLabels().open(tmp_path, CocoLabels.Options())


def test_pycocotools_reads_the_same_from_what_is_written(tmp_path):
    objects = (
        Object("traffic light", 1.5, 2, 30.25, 40),
        Object("car", 0, 0, 640, 480, crowd=True),
        Object("car", 5, 5, 5, 9, occlusion=1),
    )
    images = [LabelledImage("day/a.jpg", (480, 640), objects), LabelledImage("b.png", (5, 6), ())]
    (path,) = CocoLabels().write(images, tmp_path / "new.json", CocoLabels.Options())
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert {entry["name"] for entry in coco.loadCats(coco.getCatIds())} == {"car", "traffic light"}
    entries = coco.loadImgs(coco.getImgIds())
    assert [(one["file_name"], one["height"], one["width"]) for one in entries] == [
        ("day/a.jpg", 480, 640),
        ("b.png", 5, 6),
    ]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=entries[0]["id"]))
    assert [one["bbox"] for one in annotations] == [
        [1.5, 2, 28.75, 38],
        [0, 0, 640, 480],
        [5, 5, 0, 4],
    ]
    assert [one["iscrowd"] for one in annotations] == [0, 1, 0]
    assert CocoLabels().open(path, CocoLabels.Options()).read("day/a", None).objects == objects


def test_two_images_of_one_name_are_refused(tmp_path):
    images = [LabelledImage("a.jpg", (1, 1), ()), LabelledImage("a.png", (1, 1), ())]
    with pytest.raises(DataError, match=r"a.png: a.jpg is there too"):
        CocoLabels().write(images, tmp_path / "new.json", CocoLabels.Options())


OPEN_AND_MEASURE = """
import resource, time
from pathlib import Path
from frcnn_coco_labels import CocoLabels
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.perf_counter()
labels = CocoLabels().open(Path({path!r}), CocoLabels.Options())
print(time.perf_counter() - start, peak() - before, len(labels.read("99999", None).objects))
"""


@pytest.mark.slow
def test_a_hundred_thousand_images_take_seconds_and_masks_no_memory(tmp_path):
    """A mask of 60 numbers for each of 300 000 objects would take more than all that is kept."""
    mask = json.dumps([[0.5 + number for number in range(60)]])
    path = tmp_path / "large.json"
    with open(path, "w") as file:
        file.write('{"categories": [{"id": 1, "name": "car"}], "images": [')
        images = ({"id": i, "file_name": f"{i}.jpg", "height": 9, "width": 9} for i in range(10**5))
        file.write(",".join(map(json.dumps, images)) + '], "annotations": [')
        file.write(
            ",".join(
                f'{{"id": {i}, "image_id": {i % 10**5}, "category_id": 1,'
                f' "bbox": [1.5, 2.5, 3.5, 4.5], "segmentation": {mask}}}'
                for i in range(3 * 10**5)
            )
            + "]}"
        )
    # Apart from this process, whose peak may be that of another test.
    seconds, grown, count = map(float, run_python(OPEN_AND_MEASURE.format(path=str(path))).split())
    assert count == 3
    assert seconds < 30
    # The text and its bytes may be there at once; then come some hundred bytes an object.
    assert grown < 2 * path.stat().st_size + 3 * 10**5 * 1000


def test_an_image_that_is_not_listed_is_an_error_and_still_has_a_place(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    labels = CocoLabels().open(path, CocoLabels.Options())
    assert labels.place("a") == f"{path}: image a"
    with pytest.raises(DataError, match="has no image called 'a'"):
        labels.read("a", None)


@pytest.mark.slow
def test_labels_that_are_neither_file_nor_folder_are_told(tmp_path):
    coco = CocoLabels()
    with pytest.raises(DataError, match="there is no such file"):
        coco.open(tmp_path / "absent.json", coco.Options())
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    assert not coco.recognises(loop)
