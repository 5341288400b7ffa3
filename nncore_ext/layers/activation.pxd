"""Activations z = f(a), and their derivative: written from the output z where that determines it.

All work in place on flat arrays of n elements: the caller's a becomes z, its dz becomes da. param is what
leaky_relu(slope) and elu(alpha) have in parentheses. Derivatives at kinks: relu and leaky_relu 0: the left one, so
relu'(0) = 0; elu 0: the right one; hard_sigmoid -3 and 3: 0.
"""

from cython cimport floating
from libc.math cimport log
from nncore_ext.arithmetic.vmath cimport vdot, vexp, vmax, vsigmoid, vsum, vtanh

cdef extern from "layers/activation.h" nogil:
    const double NN_SELU_SCALE
    const double NN_SELU_ALPHA
    void nn_elu_f32(float *z, float scale, float alpha, Py_ssize_t n)
    void nn_elu_f64(double *z, double scale, double alpha, Py_ssize_t n)
    void nn_softplus_f32(float *z, Py_ssize_t n)
    void nn_softplus_f64(double *z, Py_ssize_t n)
    void nn_softplus_backward_f32(const float *z, float *da, Py_ssize_t n)
    void nn_softplus_backward_f64(const double *z, double *da, Py_ssize_t n)
    void nn_silu_f32(float *z, float *slope, Py_ssize_t n)
    void nn_silu_f64(double *z, double *slope, Py_ssize_t n)
    void nn_gelu_f32(float *z, float *slope, Py_ssize_t n)
    void nn_gelu_f64(double *z, double *slope, Py_ssize_t n)
    void nn_mish_f32(float *z, float *slope, Py_ssize_t n)
    void nn_mish_f64(double *z, double *slope, Py_ssize_t n)
    void nn_softsign_f32(float *z, Py_ssize_t n)
    void nn_softsign_f64(double *z, Py_ssize_t n)
    const Py_ssize_t NN_SOFTMAX_COLUMNS
    void nn_softmax_f32(const float *a, float *y, double *tops, double *log_sums, Py_ssize_t m, Py_ssize_t n)
    void nn_softmax_f64(const double *a, double *y, double *tops, double *log_sums, Py_ssize_t m, Py_ssize_t n)

cdef enum Activation:
    IDENTITY, RELU, TANH, SIGMOID, SOFTMAX, LEAKY_RELU, ELU, SELU, GELU, SILU, SOFTPLUS, HARD_SIGMOID
    # the sigmoid of an output layer whose loss takes logits: they stay in z, as those of a softmax
    LOGISTIC
    MISH, SOFTSIGN


cdef enum:
    # Fewer rows are faster one by one.
    MIN_SOFTMAX_ROWS = 4
    MAX_KINKS = 2


cdef inline bint keeps_slope(int kind) noexcept nogil:
    """Whether the output does not determine the derivative"""
    return kind == GELU or kind == SILU or kind == MISH


cdef inline int kinks_of(int kind, double param, double *at) noexcept nogil:
    """How many a there are where the derivative jumps, MAX_KINKS at most; at = these"""
    if kind == HARD_SIGMOID:
        at[0], at[1] = -3, 3
        return 2
    at[0] = 0
    return kind == RELU or kind == LEAKY_RELU or kind == SELU or (kind == ELU and param != 1)


cdef inline void activation_forward(
    int kind, double param, floating *z, floating *slope, Py_ssize_t n
) noexcept nogil:
    """z = f(z) elementwise; slope = f' where keeps_slope, unless NULL. SOFTMAX, LOGISTIC leave z: see network_output"""
    cdef Py_ssize_t i
    cdef floating factor = <floating> param
    if kind == RELU or (kind == LEAKY_RELU and factor == 0):  # 0 * -inf is NaN
        for i in range(n):
            z[i] = 0 if z[i] < 0 else z[i]  # this way round NaN stays NaN
    elif kind == TANH:
        vtanh(z, z, n)
    elif kind == SIGMOID:
        vsigmoid(z, z, n)
    elif kind == LEAKY_RELU:
        for i in range(n):
            z[i] = factor * z[i] if z[i] < 0 else z[i]
    elif kind == HARD_SIGMOID:
        for i in range(n):
            z[i] = (z[i] + 3) / 6
            z[i] = 0 if z[i] < 0 else 1 if z[i] > 1 else z[i]
    elif kind == ELU:
        elu(z, 1.0, param, n)
    elif kind == SELU:
        elu(z, NN_SELU_SCALE, NN_SELU_ALPHA, n)
    elif kind == GELU:
        if floating is float:
            nn_gelu_f32(z, slope, n)
        else:
            nn_gelu_f64(z, slope, n)
    elif kind == SILU:
        if floating is float:
            nn_silu_f32(z, slope, n)
        else:
            nn_silu_f64(z, slope, n)
    elif kind == SOFTPLUS:
        if floating is float:
            nn_softplus_f32(z, n)
        else:
            nn_softplus_f64(z, n)
    elif kind == MISH:
        if floating is float:
            nn_mish_f32(z, slope, n)
        else:
            nn_mish_f64(z, slope, n)
    elif kind == SOFTSIGN:
        if floating is float:
            nn_softsign_f32(z, n)
        else:
            nn_softsign_f64(z, n)


cdef inline void elu(floating *z, double scale, double alpha, Py_ssize_t n) noexcept nogil:
    """z = scale * z, for negative z scale * alpha * (exp(z) - 1)"""
    if floating is float:
        nn_elu_f32(z, <float> scale, <float> alpha, n)
    else:
        nn_elu_f64(z, scale, alpha, n)


cdef inline void activation_backward(
    int kind, double param, const floating *z, const floating *slope, floating *da, Py_ssize_t n
) noexcept nogil:
    """da = da * f'(a), with f' from the output, or slope where keeps_slope

    relu z > 0, tanh 1 - z^2, sigmoid z(1 - z), elu 1 or z + alpha, softplus 1 - exp(-z), hard_sigmoid 1/6 inside,
    softsign (1 - |z|)^2.
    """
    cdef Py_ssize_t i
    cdef floating factor = <floating> param, right = 1
    if kind == RELU:
        for i in range(n):
            da[i] = da[i] if z[i] > 0 else 0
    elif kind == TANH:
        for i in range(n):
            da[i] *= 1 - z[i] * z[i]
    elif kind == SIGMOID or kind == LOGISTIC:
        for i in range(n):
            da[i] *= z[i] * (1 - z[i])
    elif kind == LEAKY_RELU:
        for i in range(n):
            da[i] *= <floating> 1 if z[i] > 0 else factor
    elif kind == HARD_SIGMOID:
        for i in range(n):
            da[i] *= <floating> (1.0 / 6) if 0 < z[i] < 1 else <floating> 0
    elif kind == ELU or kind == SELU:
        if kind == SELU:
            factor, right = <floating> (NN_SELU_SCALE * NN_SELU_ALPHA), <floating> NN_SELU_SCALE
        for i in range(n):
            da[i] *= z[i] + factor if z[i] < 0 else right
    elif kind == SOFTPLUS:
        if floating is float:
            nn_softplus_backward_f32(z, da, n)
        else:
            nn_softplus_backward_f64(z, da, n)
    elif kind == SOFTSIGN:
        for i in range(n):
            factor = 1 - (z[i] if z[i] > 0 else -z[i])
            da[i] *= factor * factor
    elif keeps_slope(kind):
        for i in range(n):
            da[i] *= slope[i]


cdef inline double softmax_row(const floating *a, floating *y, double *largest, Py_ssize_t n) noexcept nogil:
    """y = exp(a) / sum(exp(a)) for one row; returns log(sum(exp(a - max(a)))), and max(a) unless NULL. y may be a.

    The two apart: their sum would have lost the second one where the first is large.
    """
    # the row maximum keeps exp in range, and one term of the sum is then exactly 1
    cdef floating top = vmax(a, n), total
    cdef Py_ssize_t k
    if largest != NULL:
        largest[0] = top
    vexp(a, top, y, n)
    total = vsum(y, n)
    for k in range(n):
        y[k] /= total
    return log(<double> total)


cdef inline void softmax_rows(
    const floating *a, floating *y, double *tops, double *log_sums, Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """softmax_row of m rows; tops, log_sums (m,) = the largest and what it returns, unless NULL"""
    cdef Py_ssize_t s
    cdef double log_sum
    if m >= MIN_SOFTMAX_ROWS and n <= NN_SOFTMAX_COLUMNS:
        if floating is float:
            nn_softmax_f32(a, y, tops, log_sums, m, n)
        else:
            nn_softmax_f64(a, y, tops, log_sums, m, n)
        return
    for s in range(m):
        log_sum = softmax_row(a + s * n, y + s * n, NULL if tops == NULL else tops + s, n)
        if log_sums != NULL:
            log_sums[s] = log_sum


cdef inline void softmax_backward_row(const floating *y, floating *da, Py_ssize_t n) noexcept nogil:
    """da = y * (dy - sum(y * dy)) for one row, y = softmax(a); da holds dy on entry"""
    cdef floating mean = vdot(y, da, n)
    cdef Py_ssize_t k
    for k in range(n):
        da[k] = y[k] * (da[k] - mean)
