"""One harness for all speed figures: nncore beside its peers, job by job, in one run.

``python -m benchmarks moons mnist`` from the root of the repository; ``--help`` says the rest.

- ``jobs.py``: the table of jobs: data, network, start. A new job is a new line there, and in the table ``JOBS`` of
  every peer that has a version of it. ``problem.py``: what a job is, and what a peer is given of it.
- ``peers/``: one module a peer, named in the table of ``peers/__init__.py``.
- ``harness.py``: agreement first, then interleaved repeats.
- ``floor.py``: the least that a dense step costs. ``many.py``: networks side by side, the one job without peers.
- ``report.py``: the table, the page and the JSON; ``chart.py``: their picture.
- ``scaling.py``: nncore alone, by size; ``python -m benchmarks.scaling``.
- ``estimators.py``: the estimators beside those of scikit-learn; ``python -m benchmarks.estimators``.
"""
