"""Errors whose message is meant for the person at the keyboard."""


class FrcnnError(Exception):
    """Base of every error the command line prints without a traceback (exit code 2)."""


class SpecError(FrcnnError):
    """A spec file that cannot be read, or a value in it that makes no sense."""


class UnknownComponentError(SpecError):
    """A spec names a component that no installed plugin provides."""


class PluginError(FrcnnError):
    """A plugin broke its side of a contract, e.g. two plugins claim one name."""


class DataError(FrcnnError):
    """An image, label or record that cannot be used; the message names file and line."""


class ModelFileError(FrcnnError):
    """A model file that cannot be read: wrong key, truncated, altered, or of another kind."""


class TrainingError(FrcnnError):
    """Training cannot go on, e.g. a loss is not finite; the message names the images."""


class WorkerLost(FrcnnError):
    """Another process of the same training ended, so this one cannot go on."""
