"""Losses of one sample, each with the exact gradient of that very expression.

y, t, dy (n_out,); the loss is accumulated and returned in double. The mean over a batch, and sample weights,
belong to the caller: a loss kernel sees one row. w (n_out,), unless NULL, weighs the terms of the sum over outputs.
Formulas and reductions within a sample are those of torch.nn with reduction="sum", but for squared_error's half.
"""

from cython cimport floating
from libc.math cimport exp, fabs, log, log1p, sinh, tanh
from nncore_ext.layers.activation cimport softmax_row

cdef extern from *:
    """
    #define NN_SUM_ERROR_F32 1e-3
    #define NN_SUM_ERROR_F64 1e-5
    #define NN_LOG_2 0.69314718055994530942
    """
    # By how much probabilities may miss a sum of 1, which rounding does.
    const double SUM_ERROR_F32 "NN_SUM_ERROR_F32"
    const double SUM_ERROR_F64 "NN_SUM_ERROR_F64"
    const double LOG_2 "NN_LOG_2"

cdef enum Loss:
    SQUARED_ERROR, SOFTMAX_CROSS_ENTROPY, ABSOLUTE_ERROR, HUBER, QUANTILE, POISSON, SIGMOID_CROSS_ENTROPY
    BINARY_CROSS_ENTROPY, HINGE, LOG_COSH


cdef inline bint is_fit(int kind, const floating *t, Py_ssize_t n_out) noexcept nogil:
    """Whether a loss is defined for a row of targets: what TARGETS in loss.pyx says; a NaN is not"""
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n_out):
        if kind == POISSON:
            if not t[k] >= 0:
                return False
        elif kind == HINGE:
            if not (t[k] == 1 or t[k] == -1):
                return False
        elif not 0 <= t[k] <= 1:
            return False
        total += t[k]
    if kind != SOFTMAX_CROSS_ENTROPY:
        return True
    return fabs(total - 1) <= (SUM_ERROR_F32 if sizeof(floating) == sizeof(float) else SUM_ERROR_F64)


cdef inline double loss_term(int kind, double param, double y, double t, double *dy) noexcept nogil:
    """The term of one output, and its derivative; param is what huber(delta) and quantile(q) have in parentheses

    absolute_error |y - t|; huber (y - t)^2 / 2 within delta, delta (|y - t| - delta / 2) beyond; quantile
    max(q (t - y), (q - 1) (t - y)); poisson exp(y) - t y: y is the log of the mean; sigmoid_cross_entropy of the logit
    y: log(1 + exp(y)) - t y; binary_cross_entropy of the probability y, its logarithms at least -100; hinge
    max(0, 1 - t y), t -1 or 1; log_cosh log(cosh(y - t)), which is half the square of a small error and |y - t| - log 2
    of a large one.
    """
    cdef double d = y - t, e
    if kind == ABSOLUTE_ERROR:
        dy[0] = (d > 0) - (d < 0)
        return fabs(d)
    if kind == HUBER:
        dy[0] = -param if d < -param else param if d > param else d
        return 0.5 * d * d if fabs(d) <= param else param * (fabs(d) - 0.5 * param)
    if kind == QUANTILE:
        dy[0] = (1 - param if d > 0 else -param) if d != 0 else 0
        return max(-param * d, (1 - param) * d)
    if kind == POISSON:
        e = exp(y)
        dy[0] = e - t
        return e - t * y
    if kind == SIGMOID_CROSS_ENTROPY:
        e = exp(-fabs(y))
        # y - t * y and 1 / (1 + e) - t would lose what is small beside y and t
        if y >= 0:
            dy[0] = (1 - t) - e / (1 + e)
            return (1 - t) * y + log1p(e)
        dy[0] = e / (1 + e) - t
        return log1p(e) - t * y
    if kind == BINARY_CROSS_ENTROPY:
        dy[0] = d / max(y * (1 - y), 1e-12)
        return -t * max(log(y), -100.0) - (1 - t) * max(log1p(-y), -100.0)
    if kind == HINGE:
        dy[0] = -t if t * y < 1 else 0
        return max(0, 1 - t * y)
    if kind == LOG_COSH:
        dy[0] = tanh(d)
        if fabs(d) > 1:
            return fabs(d) - LOG_2 + log1p(exp(-2 * fabs(d)))
        e = sinh(d)  # the other form would lose what is small beside log 2
        return 0.5 * log1p(e * e)
    dy[0] = d
    return 0.5 * d * d


cdef inline double terms_row(
    int kind, double param, const floating *y, const floating *t, const double *w, floating *dy, Py_ssize_t n_out
) noexcept nogil:
    """loss = sum(w * term(y, t)), dy = w * its derivative; dy may be y"""
    cdef double total = 0, slope, weight
    cdef Py_ssize_t k
    for k in range(n_out):
        weight = 1 if w == NULL else w[k]
        total += weight * loss_term(kind, param, y[k], t[k], &slope)
        dy[k] = <floating> (weight * slope)
    return total


cdef inline double squared_error_row(
    const floating *y, const floating *t, floating *dy, Py_ssize_t n_out
) noexcept nogil:
    """loss = 0.5 * sum((y - t)^2),  dy = y - t"""
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n_out):
        dy[k] = y[k] - t[k]
        total += <double> dy[k] * dy[k]
    return 0.5 * total


cdef inline double cross_entropy_row(
    const floating *y, const floating *t, floating *dy, double delta, Py_ssize_t n_out
) noexcept nogil:
    """loss = -sum(t * log(y + delta)),  dy = -t / (y + delta)

    y are probabilities. Where t = 0 both are 0, also at y = delta = 0: the limit of t log(t).
    """
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n_out):
        dy[k] = 0
        if t[k] != 0:
            total -= t[k] * log(y[k] + delta)
            dy[k] = <floating> (-t[k] / (y[k] + delta))
    return total


cdef inline double softmax_cross_entropy_row(
    const floating *a, const floating *t, floating *da, double delta, Py_ssize_t n_out
) noexcept nogil:
    """loss = -sum(t * log(softmax(a) + delta)), and its gradient by the logits a; da may not be a

    delta = 0: log-softmax, finite for every finite a, da = softmax(a) * sum(t) - t. With the book's delta > 0
    the gradient of that expression differs from it by a factor p / (p + delta).
    """
    cdef double top = 0, log_sum = softmax_row(a, da, &top, n_out)
    return cross_entropy_of_softmax(a, top, log_sum, t, da, delta, n_out)


cdef inline double cross_entropy_of_softmax(
    const floating *a, double top, double log_sum, const floating *t, floating *da, double delta, Py_ssize_t n_out
) noexcept nogil:
    """softmax_cross_entropy_row where da = softmax(a) already; top = max(a), log_sum = log(sum(exp(a - top)))"""
    cdef double total = 0, weight = 0
    cdef floating p
    cdef Py_ssize_t k
    if delta == 0:
        for k in range(n_out):
            total += t[k] * (log_sum - (a[k] - top))
            weight += t[k]
        for k in range(n_out):
            da[k] = <floating> (da[k] * weight - t[k])
        return total
    # dy = -t / (p + delta), then da = p * (dy - sum(p * dy)); p and dy share da, so the sum comes first
    for k in range(n_out):
        p = da[k]
        if t[k] != 0:
            total -= t[k] * log(p + delta)
            weight += t[k] * (p / (p + delta))
    for k in range(n_out):
        p = da[k]
        da[k] = <floating> (p * weight - t[k] * (p / (p + delta)))
    return total
