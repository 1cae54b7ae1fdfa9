"""What starters of processes write into the environment, as their documentation has it."""

import pytest

from frcnn_core.processes.process import Process, this_process


@pytest.mark.parametrize(
    "environment, process",
    [
        ({}, None),
        (
            {
                "HOROVOD_RANK": "3",
                "HOROVOD_SIZE": "4",
                "HOROVOD_LOCAL_RANK": "1",
                "HOROVOD_LOCAL_SIZE": "2",
            },
            Process(3, 4, 1, 2),
        ),
        (
            {
                "OMPI_COMM_WORLD_RANK": "3",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            },
            Process(3, 4, 1, 2),
        ),
        (
            {
                "SLURM_PROCID": "3",
                "SLURM_STEP_NUM_TASKS": "4",
                "SLURM_LOCALID": "1",
                "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
            },
            Process(3, 4, 1, 2),
        ),
        # srun or mpirun with a single task, and a batch script, which srun did not start.
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),
        # The launcher below mpirun -np 1.
        ({"PMI_RANK": "0", "PMI_SIZE": "1", "HOROVOD_RANK": "0", "HOROVOD_SIZE": "2"}, (0, 2)),
    ],
)
def test_a_process_knows_by_its_environment_that_it_is_one_of_several(environment, process):
    found = this_process(environment)
    assert (found.rank, found.size) == process if isinstance(process, tuple) else found == process
