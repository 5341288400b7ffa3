"""The vector loops of vmath.h for both float types."""

from cython cimport floating
from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport sqrt, sqrtf

cdef extern from "arithmetic/vmath.h" nogil:
    void nn_exp_f32(const float *x, float shift, float *y, Py_ssize_t n)
    void nn_exp_f64(const double *x, double shift, double *y, Py_ssize_t n)
    void nn_log_f32(const float *x, float *y, Py_ssize_t n)
    void nn_log_f64(const double *x, double *y, Py_ssize_t n)
    void nn_sigmoid_f32(const float *x, float *y, Py_ssize_t n)
    void nn_sigmoid_f64(const double *x, double *y, Py_ssize_t n)
    void nn_tanh_f32(const float *x, float *y, Py_ssize_t n)
    void nn_tanh_f64(const double *x, double *y, Py_ssize_t n)
    float nn_dot_f32(const float *x, const float *y, Py_ssize_t n)
    double nn_dot_f64(const double *x, const double *y, Py_ssize_t n)
    float nn_sum_f32(const float *x, Py_ssize_t n)
    double nn_sum_f64(const double *x, Py_ssize_t n)
    float nn_nothing_f32(const float *x, Py_ssize_t n)
    double nn_nothing_f64(const double *x, Py_ssize_t n)
    float nn_crossings_f32(const float *x, const float *y, Py_ssize_t n)
    double nn_crossings_f64(const double *x, const double *y, Py_ssize_t n)
    float nn_max_f32(const float *x, Py_ssize_t n)
    double nn_max_f64(const double *x, Py_ssize_t n)
    void nn_vecmat_f32(const float *x, const float *W, float *a, Py_ssize_t n_in, Py_ssize_t n_out)
    void nn_vecmat_f64(const double *x, const double *W, double *a, Py_ssize_t n_in, Py_ssize_t n_out)
    void nn_add_rows_f32(const float *x, float *y, Py_ssize_t n_rows, Py_ssize_t n)
    void nn_add_rows_f64(const double *x, double *y, Py_ssize_t n_rows, Py_ssize_t n)
    void nn_add_products_f32(const float *x, const float *w, float *y, Py_ssize_t n_rows, Py_ssize_t n)
    void nn_add_products_f64(const double *x, const double *w, double *y, Py_ssize_t n_rows, Py_ssize_t n)
    void nn_axpby_f32(float alpha, const float *x, bint beta, float *y, Py_ssize_t n)
    void nn_axpby_f64(double alpha, const double *x, bint beta, double *y, Py_ssize_t n)


cdef inline void vexp(const floating *x, floating shift, floating *y, Py_ssize_t n) noexcept nogil:
    """y = exp(x - shift)"""
    if floating is float:
        nn_exp_f32(x, shift, y, n)
    else:
        nn_exp_f64(x, shift, y, n)


cdef inline void vlog(const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = log(x), x positive and normal; inf gives NaN"""
    if floating is float:
        nn_log_f32(x, y, n)
    else:
        nn_log_f64(x, y, n)


cdef inline void vsigmoid(const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = 1 / (1 + exp(-x))"""
    if floating is float:
        nn_sigmoid_f32(x, y, n)
    else:
        nn_sigmoid_f64(x, y, n)


cdef inline void vtanh(const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = tanh(x)"""
    if floating is float:
        nn_tanh_f32(x, y, n)
    else:
        nn_tanh_f64(x, y, n)


cdef inline floating square_root(floating x) noexcept nogil:
    """sqrt(x), which the compiler turns into one instruction for a whole vector"""
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline floating flushed(floating x) noexcept nogil:
    """x, or 0 where it is too small for a normal number, with which processors are up to a hundred times slower"""
    cdef floating tiny = <floating> (FLT_MIN if floating is float else DBL_MIN)
    return <floating> 0 if -tiny < x and x < tiny else x


cdef inline floating vdot(const floating *x, const floating *y, Py_ssize_t n) noexcept nogil:
    """sum(x * y)"""
    if floating is float:
        return nn_dot_f32(x, y, n)
    else:
        return nn_dot_f64(x, y, n)


cdef inline floating vsum(const floating *x, Py_ssize_t n) noexcept nogil:
    """sum(x)"""
    if floating is float:
        return nn_sum_f32(x, n)
    else:
        return nn_sum_f64(x, n)


cdef inline bint vfinite(const floating *x, Py_ssize_t n) noexcept nogil:
    """all(isfinite(x))"""
    if floating is float:
        return nn_nothing_f32(x, n) == 0
    else:
        return nn_nothing_f64(x, n) == 0


cdef inline bint vcrosses(const floating *x, const floating *y, Py_ssize_t n) noexcept nogil:
    """any((x > 0) != (y > 0))"""
    if floating is float:
        return nn_crossings_f32(x, y, n) > 0
    else:
        return nn_crossings_f64(x, y, n) > 0


cdef inline floating vmax(const floating *x, Py_ssize_t n) noexcept nogil:
    """max(x), n >= 1"""
    if floating is float:
        return nn_max_f32(x, n)
    else:
        return nn_max_f64(x, n)


cdef inline void vecmat(
    const floating *x, const floating *W, floating *a, Py_ssize_t n_in, Py_ssize_t n_out
) noexcept nogil:
    """a += x @ W for one row x (n_in,), W (n_in, n_out), n_out below 64"""
    if floating is float:
        nn_vecmat_f32(x, W, a, n_in, n_out)
    else:
        nn_vecmat_f64(x, W, a, n_in, n_out)


cdef inline void add_rows(const floating *x, floating *y, Py_ssize_t n_rows, Py_ssize_t n) noexcept nogil:
    """y (n,) += sum(x, axis=0), x (n_rows, n)"""
    if floating is float:
        nn_add_rows_f32(x, y, n_rows, n)
    else:
        nn_add_rows_f64(x, y, n_rows, n)


cdef inline void add_products(
    const floating *x, const floating *w, floating *y, Py_ssize_t n_rows, Py_ssize_t n
) noexcept nogil:
    """y (n,) += sum(x * w, axis=0), x and w (n_rows, n)"""
    if floating is float:
        nn_add_products_f32(x, w, y, n_rows, n)
    else:
        nn_add_products_f64(x, w, y, n_rows, n)


cdef inline void axpby(
    floating alpha, const floating *x, bint beta, floating *y, Py_ssize_t n
) noexcept nogil:
    """y = alpha * x + beta * y, beta 0 or 1 (with 0, y need not be initialised)"""
    if floating is float:
        nn_axpby_f32(alpha, x, beta, y, n)
    else:
        nn_axpby_f64(alpha, x, beta, y, n)
