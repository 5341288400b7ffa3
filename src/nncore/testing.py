"""For test suites: a gradient check that fails with its table."""

from typing import Any

from nncore.checking.check import check_gradient
from nncore.checking.report import GradientReport


def assert_gradient(f: Any, x: Any, *args: Any, **settings: Any) -> GradientReport:
    """Check a gradient as check_gradient does, and raise if it is wrong.

    Parameters
    ----------
    f, x, *args, **settings
        As check_gradient has them.

    Returns
    -------
    GradientReport
        Of the check that passed.

    Raises
    ------
    GradientMismatch
        An AssertionError whose message starts with the worst element, followed by the table and what is likely wrong.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0])
    >>> _ = assert_gradient(lambda x: np.sum(x**2), x, grad=2 * x)
    """
    __tracebackhide__ = True  # pytest then shows the caller's line
    report = check_gradient(f, x, *args, **settings)
    report.raise_if_failed()
    return report
