"""The exceptions of skviz: each says what was expected, what was got, and how to mend it."""


class SkvizError(Exception):
    """Anything skviz refuses to do; every other exception of the package derives from it."""


class DataError(SkvizError):
    """A shipped or user's file is missing, altered or not of the promised form."""


class SceneError(SkvizError):
    """A scene cannot be composed as asked: scale, position or picture is out of range."""


class ModelError(SkvizError):
    """A network cannot be built or loaded as asked."""


class RecordingError(SkvizError):
    """Branch weights could not be recorded, or are not what a softmax would give."""


class UnitError(SkvizError):
    """Units could not be looked for, or one was asked for that is not there."""


class InterventionError(SkvizError):
    """Branch weights cannot be changed as asked."""


class AttributionError(SkvizError):
    """An attribution cannot be made as asked, or does not hold what its method promises."""
