import xml.etree.ElementTree as ElementTree

import pytest

from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.errors import DataError
from frcnn_voc_labels import VocLabels

PERSON = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <folder>VOC2007</folder>
  <filename>somewhere_else.png</filename>
  <size><width>500</width><height>375</height><depth>3</depth></size>
  <object>
    <name>Person</name>
    <pose>Left</pose>
    <truncated>1</truncated>
    <occluded>1</occluded>
    <difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>500</xmax><ymax>375</ymax></bndbox>
    <part>
      <name>head</name>
      <bndbox><xmin>7</xmin><ymin>8</ymin><xmax>9</xmax><ymax>10</ymax></bndbox>
    </part>
  </object>
</annotation>
"""
OBJECT = "<object>{}</object>"
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"


def read(folder, text, name="a", **options):
    path = folder / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return VocLabels().open(folder, VocLabels.Options(**options)).read(name, None)


def test_a_box_is_taken_as_written_and_what_belongs_to_parts_is_not(tmp_path):
    labels = read(tmp_path, PERSON, "day/a")
    assert labels.objects == (Object("person", 1, 2.5, 500, 375),)
    assert labels.places == (f"{tmp_path}/day/a.xml:6",)
    assert labels.size == (375, 500)


def test_pixels_that_count_from_1_are_moved_so_that_the_box_covers_the_image(tmp_path):
    text = PERSON.replace("2.5", "1")
    (item,) = read(tmp_path, text, one_based=True).objects
    assert (item.x1, item.y1, item.x2, item.y2) == (0, 0, 500, 375)


def test_difficult_is_an_occlusion_of_1_and_occluded_alone_is_none(tmp_path):
    text = PERSON.replace("<difficult>0", "<difficult>1")
    assert [item.occlusion for item in read(tmp_path, text).objects] == [1]
    assert [item.occlusion for item in read(tmp_path, PERSON).objects] == [0]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_a_size_that_is_missing_or_0_is_not_stated(tmp_path, size):
    assert read(tmp_path, f"<annotation>{size}</annotation>").size is None


def test_a_file_may_be_in_another_encoding_that_it_declares(tmp_path):
    text = f"""<?xml version="1.0" encoding="iso-8859-1"?>
        <annotation>{OBJECT.format("<name>Kühe</name>" + BOX)}</annotation>"""
    (item,) = read(tmp_path, text.encode("latin-1")).objects
    assert item.class_name == "kühe"


@pytest.mark.parametrize(
    "inside, problem",
    [
        (BOX, "2: the object has no <name>."),
        ("<name>a</name>", "2: the object has no <bndbox> with <ymin>."),
        ("<name>a</name>" + BOX.replace("2", "two"), "2: ymin is 'two', but must be a number."),
        ("<name>a</name>" + BOX.replace("3", "nan"), "2: xmax is 'nan', but must be a number."),
        (f"<name>a</name><difficult>no</difficult>{BOX}", "2: difficult is 'no', but must be 0"),
    ],
)
def test_an_object_that_cannot_be_used_is_named_by_its_line(tmp_path, inside, problem):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "<annotation>\n" + OBJECT.format(inside) + "</annotation>")
    assert f"{tmp_path}/a.xml:{problem}" in str(caught.value)


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    objects = (OBJECT.format(BOX) + "\n") * 3
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"<annotation>\n{objects}</annotation>")
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "3", "4"]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("<annotation>\n<object>\n</annotation>", "a.xml:3: not well-formed XML: mismatched tag."),
        ("", "a.xml:1: not well-formed XML: no element found."),
        ("<svg/>", "a.xml:1: begins with <svg>, but VOC labels begin with <annotation>."),
        ("<?xml version='1.0' encoding='klingon'?><svg/>", "a.xml: cannot be read as XML: unknown"),
    ],
)
def test_what_is_no_voc_file_is_an_error_with_its_line(tmp_path, text, problem):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)


def test_entities_are_never_expanded(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<annotation>&b;</annotation>'
    with pytest.raises(DataError, match=r"a.xml:1: has a <!DOCTYPE"):
        read(tmp_path, bomb)


def test_an_independent_reader_finds_everything_where_voc_has_it(tmp_path):
    item = Object("r&d <lab>", 1.5, 2, 30, 40, truncation=0.5, occlusion=2)
    image = LabelledImage("day/a.jpg", (375, 500), (item,))
    VocLabels().write([image], tmp_path / "new", VocLabels.Options())
    root = ElementTree.parse(tmp_path / "new" / "day" / "a.xml").getroot()
    assert (root.findtext("folder"), root.findtext("filename")) == ("day", "a.jpg")
    assert (root.findtext("size/height"), root.findtext("size/width")) == ("375", "500")
    found = root.find("object")
    assert found.findtext("name") == "r&d <lab>"
    assert [side.text for side in found.find("bndbox")] == ["1.5", "2", "30", "40"]
    assert (found.findtext("truncated"), found.findtext("difficult")) == ("1", "1")


@pytest.mark.slow
def test_what_was_written_counting_from_1_is_read_so(tmp_path):
    options = VocLabels.Options(one_based=True)
    image = LabelledImage("a.jpg", (375, 500), (Object("car", 0, 0, 500, 375),))
    VocLabels().write([image], tmp_path / "new", options)
    assert "<xmin>1</xmin>" in (tmp_path / "new" / "a.xml").read_text()
    assert VocLabels().open(tmp_path / "new", options).read("a", None).objects == image.objects
