from .comparison import Comparison as Comparison
from .comparison import Limits as Limits
from .comparison import Unpaired as Unpaired
from .verification import VerificationReport as VerificationReport
from .verification import verify as verify
