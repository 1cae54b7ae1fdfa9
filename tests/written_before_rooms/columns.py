"""The label format of docs/writing-plugins.md as it was in frcnn 0.1, unchanged."""

from frcnn_core import LabelFormat, hookimpl


class Columns(LabelFormat):
    name = "columns"
    summary = "a .csv for each image: class,x1,y1,x2,y2"

    def open(self, labels, options):
        from frcnn_core.label_files import LabelFiles, decode
        from frcnn_core.labels import Labels, Object, class_name

        from frcnn_core.errors import DataError

        class ColumnFiles(LabelFiles):
            suffix = ".csv"

            def parse(self, data, place, size):
                objects, places, problems = [], [], []
                for number, line in enumerate(decode(data, place).splitlines(), start=1):
                    try:
                        name, *box = line.split(",")
                        x1, y1, x2, y2 = map(float, box)
                    except ValueError:
                        problems.append(f"{place}:{number}: must be class,x1,y1,x2,y2.")
                        continue
                    objects.append(Object(class_name(name), x1, y1, x2, y2))
                    places.append(f"{place}:{number}")
                if problems:
                    raise DataError("\n".join(problems))
                return Labels(tuple(objects), tuple(places))

        return ColumnFiles(labels)

    def write(self, images, output, options):
        from frcnn_core import label_files

        def text(image):
            boxes = ((one.class_name, one.x1, one.y1, one.x2, one.y2) for one in image.objects)
            return "".join(",".join(map(str, box)) + "\n" for box in boxes)

        images = list(images)
        label_files.refuse_crowds(images, "columns")
        return label_files.write(images, output, ".csv", text)

    def recognises(self, labels):
        from frcnn_core.label_files import sample

        return any(text.splitlines()[0].count(",") == 4 for text in sample(labels, ".csv"))


@hookimpl
def frcnn_register_label_formats():
    return [Columns()]
