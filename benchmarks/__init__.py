"""How fast a detector trains and detects, stage by stage, and in several processes:
``python -m benchmarks``.

Whole steps are those of ``frcnn train`` (its own trainer, specs and data pipeline); the work of a
stage is counted from the Keras graphs, so that rates do not depend on how it was implemented.
"""
