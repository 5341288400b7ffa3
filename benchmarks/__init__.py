"""One harness for all speed figures: nncore beside its peers, job by job, in one run.

``python -m benchmarks moons mnist`` from the root of the repository; ``--help`` says the rest.

- ``jobs.py``: the table of jobs: data, network, start, samples. A new job is a new line there, and in the table
  ``JOBS`` of every peer that has a version of it.
- ``peers/``: one module a peer, named in the table of ``peers/__init__.py``.
- ``harness.py``: agreement first, then interleaved repeats.
- ``report.py``: the table and the JSON.
"""
