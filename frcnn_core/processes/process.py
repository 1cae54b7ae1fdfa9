"""Which of several processes that were started together this one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One of several processes that train together, as its environment tells it."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def this_process(environment: Mapping[str, str]) -> Process | None:
    """Which of several processes this one is, or None where it was not started as one of them.

    Args:
        environment: ``os.environ``; the variables are those of horovodrun, of Open MPI's mpirun,
            of MPICH's and Intel's, and of srun.
    """
    for rank, size, local_rank, local_size in _VARIABLES:
        if rank not in environment:
            continue
        found = Process(
            int(environment[rank]),
            int(environment.get(size, 1)),
            int(environment.get(local_rank, 0)),
            int(environment.get(local_size, "1").split("(")[0].split(",")[0]),
        )
        # srun and mpirun also start programs that are no training of several processes.
        return found if found.size > 1 or rank == "HOROVOD_RANK" else None
    return None


_VARIABLES = (
    ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"),
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    # A batch script has the first too, but only srun sets the second.  The last is e.g. 4(x2).
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)
