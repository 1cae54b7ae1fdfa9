from .cores import num_cores as num_cores
from .distributed import ALONE as ALONE
from .distributed import Workers as Workers
from .process import Process as Process
from .process import this_process as this_process
