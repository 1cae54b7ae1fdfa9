"""TensorFlow SavedModels: preprocessing, network and postprocessing in one folder."""

from frcnn_core import Exporter, hookimpl


class SavedModel(Exporter):
    name = "saved_model"
    summary = "TensorFlow SavedModel, for TensorFlow Serving and tf.saved_model.load"
    suffix = ".saved_model"

    def export(self, model, output, *, settings, options, images=None):
        from frcnn_saved_model import folder

        return folder.write(model, output, settings)

    def recognises(self, path):
        from frcnn_core.model_files import Format, recognise

        return recognise(path) is Format.SAVED_MODEL

    def load(self, path, *, key=""):
        from frcnn_saved_model import folder

        return folder.load(path)


@hookimpl
def frcnn_register_exporters():
    return [SavedModel()]
