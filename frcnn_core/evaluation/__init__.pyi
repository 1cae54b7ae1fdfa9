from . import scoring as scoring
from .original_pixels import detections_per_image as detections_per_image
from .original_pixels import truth_per_image as truth_per_image
from .report import EvaluationReport as EvaluationReport
from .report import evaluate as evaluate
from .triage import Triage as Triage
