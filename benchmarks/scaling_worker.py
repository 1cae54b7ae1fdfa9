"""One of the processes that ``benchmarks.scaling`` starts.

    python -m benchmarks.scaling_worker JSON

What it is to do comes as JSON, and the first process writes what was found as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path


def main() -> None:
    given = json.loads(sys.argv[1])
    place = int(os.environ.get("HOROVOD_LOCAL_RANK", 0))
    take_cores(place, given["threads"])

    from benchmarks.cases import Case

    found = run(
        Case(**given["case"]), Path(given["pictures"]), given["runs"], threads=given["threads"]
    )
    if found is not None:
        Path(given["output"]).write_text(json.dumps(found))


def take_cores(place: int, number: int) -> None:
    """Stay on ``number`` cores that no process of another place is on, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        own = cores[place * number : (place + 1) * number]
        if len(own) < number:
            sys.exit(f"process {place} of {number} threads has no cores left: there are {cores}")
        os.sched_setaffinity(0, own)


def run(case, pictures: Path, runs: int, *, threads: int) -> dict | None:
    """What this process and the others found; None in all but the first one."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)

    from benchmarks.scaling import COMPRESSED, COMPRESSED_EXCHANGE, EXCHANGE, STEP, WITHOUT
    from benchmarks.timing import times
    from frcnn_core import assemble
    from frcnn_core.plugin import installed
    from frcnn_core.processes import distributed

    workers = distributed.connect()
    spec = case.spec(pictures)
    trainer = assemble.training(
        spec, installed(), use_amp=case.use_amp, workers=workers, max_bad=0
    ).trainer
    batch = next(iter(trainer.batches(0, 0)))

    def stepping(**changed) -> Callable[[], object]:
        """The step of a trainer of the same variables, with what is ``changed``."""
        other = replace(trainer, progress=type(trainer.progress)(), **changed)
        other.batches = lambda epoch, step: repeat(batch)
        steps = other.run()
        return lambda: next(steps)

    programs = {STEP: stepping()}
    if workers.size > 1:
        compressing = replace(workers, compress=True)
        variables = trainer.model.detector.trainable_variables
        programs |= {
            WITHOUT: stepping(workers=distributed.ALONE),
            COMPRESSED: stepping(workers=compressing),
            EXCHANGE: exchanging(workers, variables),
            COMPRESSED_EXCHANGE: exchanging(compressing, variables),
        }
    # All start at once, so that no process waits in an exchange for what another did before.
    seconds = times(programs, runs, before=lambda: workers.gather(None))
    everywhere = workers.gather(seconds)
    if not workers.is_first:
        return None
    return {
        "seconds": {
            name: [max(run) for run in zip(*(found[name] for found in everywhere), strict=True)]
            for name in programs
        },
        "gradient_bytes": sum(
            4 * variable.value.shape.num_elements()
            for variable in trainer.model.detector.trainable_variables
        ),
    }


def exchanging(workers, variables) -> Callable[[], object]:
    """The exchange of gradients of these variables."""
    import tensorflow as tf

    gradients = [tf.random.normal(variable.shape) for variable in variables]
    weight = tf.constant(1.0)
    number = len(gradients)
    return tf.function(
        lambda: workers.average(gradients, weight, compressible=number), autograph=False
    )


if __name__ == "__main__":
    main()
