"""Update rules over the flat parameter vector: one pass over parameters, gradients and state.

The formulas are those of torch.optim, with g the gradient and p the parameters. A weight decay adds weight_decay * p
to g; ADAMW shrinks p instead. Where gradients stay 0 a mean would shrink to subnormal numbers, which are slow, and stay
there: it becomes 0 (Adam's step on an AMD EPYC 2 to 3 times faster then; it moves p by less than eps would show).
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport pow, sqrt
from nncore_ext.arithmetic.vmath cimport axpby, flushed, square_root
from nncore_ext.watch cimport Watch  # for its header, before a prange

cdef enum OptimizerKind:
    SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, ADAMW, ADAM_HAT, NADAM
    N_RULES

cdef enum:
    # One block; several of them before waking a second thread pays.
    UPDATE_BLOCK = 1 << 14
    MIN_SHARED = 1 << 18

cdef extern from *:
    """
    #define NN_NEGLIGIBLE 1e-17
    """
    const double NEGLIGIBLE "NN_NEGLIGIBLE"  # beside 1

cdef struct OptimizerSpec:
    int kind
    double lr
    double weight_decay
    double beta1  # momentum of MOMENTUM and NESTEROV
    double beta2  # alpha of RMSPROP
    double eps
    double momentum_decay  # of NADAM
    double momenta  # product of the momenta of NADAM in all steps begun so far; 0 where 1 less it is 1
    Py_ssize_t n_steps  # begun so far
    double correction1  # 1 - beta1**n_steps, for ADAM and what follows it
    double correction2  # sqrt(1 - beta2**n_steps)
    void *state  # state_vectors(kind) vectors of n_params elements, all 0 before the first step
    Py_ssize_t n_params


cdef inline int state_vectors(int kind) noexcept nogil:
    """How many numbers a parameter's state has"""
    return 0 if kind == SGD else 2 if kind >= <int> ADAM else 1


cdef inline OptimizerSpec optimizer_spec(
    int kind, double weight_decay, double beta1, double beta2, double eps, double momentum_decay, Py_ssize_t n_steps,
    void *state, Py_ssize_t n_params
) noexcept nogil:
    """A rule after n_steps steps, before begin_step; settings that its kind does not have are not read"""
    cdef OptimizerSpec rule
    cdef Py_ssize_t step = 0
    rule.kind, rule.lr, rule.weight_decay = kind, 0, weight_decay
    rule.beta1, rule.beta2, rule.eps = beta1, beta2, eps
    rule.n_steps, rule.correction1, rule.correction2 = n_steps, 1, 1
    rule.state, rule.n_params = state, n_params
    rule.momentum_decay, rule.momenta = momentum_decay, 1
    while kind == NADAM and step < n_steps and rule.momenta > 0:
        step += 1
        multiply_momenta(&rule, step)
    return rule


cdef inline double momentum_at(const OptimizerSpec *rule, Py_ssize_t step) noexcept nogil:
    """beta1 * (1 - 0.96**(step * momentum_decay) / 2), the momentum of NADAM: it grows to beta1"""
    return rule.beta1 * (1 - 0.5 * pow(0.96, step * rule.momentum_decay))


cdef inline void multiply_momenta(OptimizerSpec *rule, Py_ssize_t step) noexcept nogil:
    """momenta *= the momentum of a step"""
    rule.momenta *= momentum_at(rule, step)
    if rule.momenta < NEGLIGIBLE:
        rule.momenta = 0


cdef inline bint is_plain(const OptimizerSpec *rule) noexcept nogil:
    """Whether a step is p -= lr * g and nothing else"""
    return rule.kind == SGD and rule.weight_decay == 0


cdef inline void begin_step(OptimizerSpec *rule, double lr) noexcept nogil:
    """Before the updates of a step: sets its rate, counts it, corrects the bias of means that began at 0"""
    rule.lr = lr
    rule.n_steps += 1
    if rule.kind >= <int> ADAM:
        rule.correction1 = 1 - pow(rule.beta1, <double> rule.n_steps)
        rule.correction2 = sqrt(1 - pow(rule.beta2, <double> rule.n_steps))
    if rule.kind == NADAM:
        multiply_momenta(rule, rule.n_steps)


cdef inline void optimizer_update(
    const OptimizerSpec *rule, floating *params, const floating *grads, Py_ssize_t begin, Py_ssize_t end,
    int n_threads
) noexcept nogil:
    """Update the elements from begin to end; blocks are cut by their number alone: the same bits for any n_threads"""
    cdef Py_ssize_t n_blocks = (end - begin + UPDATE_BLOCK - 1) // UPDATE_BLOCK, block
    if n_threads == 1 or end - begin < MIN_SHARED:
        for block in range(n_blocks):
            update_block(rule, params, grads, begin + block * UPDATE_BLOCK, end)
    else:
        for block in prange(n_blocks, num_threads=n_threads, schedule="static"):
            update_block(rule, params, grads, begin + block * UPDATE_BLOCK, end)


cdef inline void update_block(
    const OptimizerSpec *rule, floating *params, const floating *grads, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """Update UPDATE_BLOCK elements from begin on, or fewer before end"""
    cdef Py_ssize_t n = min(end - begin, <Py_ssize_t> UPDATE_BLOCK)
    cdef floating *p = params + begin
    cdef const floating *g = grads + begin
    cdef floating *state
    if rule.kind == SGD:
        sgd_update(rule, g, p, n)
        return
    state = <floating *> rule.state + begin
    if rule.kind == MOMENTUM or rule.kind == NESTEROV:
        momentum_update(rule, g, p, state, n)
    elif rule.kind == ADAGRAD or rule.kind == RMSPROP:
        scaled_update(rule, g, p, state, n)
    elif rule.kind == NADAM:
        nadam_update(rule, g, p, state, state + rule.n_params, n)
    else:
        adam_update(rule, g, p, state, state + rule.n_params, n)


cdef inline void sgd_update(const OptimizerSpec *rule, const floating *g, floating *p, Py_ssize_t n) noexcept nogil:
    """p = p - lr * g"""
    cdef floating lr = <floating> rule.lr, decay = <floating> rule.weight_decay
    cdef Py_ssize_t i
    if is_plain(rule):
        axpby(-lr, g, True, p, n)
    else:
        for i in range(n):
            p[i] -= lr * (g[i] + decay * p[i])


cdef inline void momentum_update(
    const OptimizerSpec *rule, const floating *g, floating *p, floating *v, Py_ssize_t n
) noexcept nogil:
    """v = momentum * v + g,  p = p - lr * v,  for NESTEROV p = p - lr * (g + momentum * v)"""
    cdef floating lr = <floating> rule.lr, decay = <floating> rule.weight_decay, momentum = <floating> rule.beta1
    cdef floating direct = 1 if rule.kind == NESTEROV else 0, by_v = momentum if rule.kind == NESTEROV else 1, g_i
    cdef Py_ssize_t i
    for i in range(n):
        g_i = g[i] + decay * p[i]
        v[i] = flushed(momentum * v[i] + g_i)
        p[i] -= lr * (direct * g_i + by_v * v[i])


cdef inline void scaled_update(
    const OptimizerSpec *rule, const floating *g, floating *p, floating *s, Py_ssize_t n
) noexcept nogil:
    """p = p - lr * g / (sqrt(s) + eps),  s = s + g**2 for ADAGRAD, alpha * s + (1 - alpha) * g**2 for RMSPROP"""
    cdef floating lr = <floating> rule.lr, decay = <floating> rule.weight_decay, eps = <floating> rule.eps
    cdef floating old = <floating> (rule.beta2 if rule.kind == RMSPROP else 1.0)
    cdef floating new = <floating> (1 - rule.beta2 if rule.kind == RMSPROP else 1.0), g_i
    cdef Py_ssize_t i
    for i in range(n):
        g_i = g[i] + decay * p[i]
        s[i] = flushed(old * s[i] + new * g_i * g_i)
        p[i] -= lr * g_i / (square_root(s[i]) + eps)


cdef inline void adam_update(
    const OptimizerSpec *rule, const floating *g, floating *p, floating *m, floating *v, Py_ssize_t n
) noexcept nogil:
    """m = beta1 * m + (1 - beta1) * g,  v = beta2 * v + (1 - beta2) * g**2,
    p = p - lr / correction1 * m / (sqrt(v) / correction2 + eps),  for ADAMW after p = p - lr * weight_decay * p,
    for ADAM_HAT with the paper's epsilon hat: (sqrt(v) + eps) / correction2
    """
    cdef bint decoupled = rule.kind == ADAMW
    cdef floating decay = <floating> (0.0 if decoupled else rule.weight_decay)
    cdef floating keep = <floating> (1 - rule.lr * rule.weight_decay if decoupled else 1.0)
    cdef floating new1 = <floating> (1 - rule.beta1), old2 = <floating> rule.beta2, new2 = <floating> (1 - rule.beta2)
    cdef floating lr = <floating> (rule.lr / rule.correction1), scale = <floating> (1 / rule.correction2)
    cdef floating eps = <floating> (rule.eps / rule.correction2 if rule.kind == ADAM_HAT else rule.eps), g_i
    cdef Py_ssize_t i
    for i in range(n):
        g_i = g[i] + decay * p[i]
        m[i] = flushed(m[i] + new1 * (g_i - m[i]))
        v[i] = flushed(old2 * v[i] + new2 * g_i * g_i)
        p[i] = keep * p[i] - lr * m[i] / (square_root(v[i]) * scale + eps)


cdef inline void nadam_update(
    const OptimizerSpec *rule, const floating *g, floating *p, floating *m, floating *v, Py_ssize_t n
) noexcept nogil:
    """m and v as for ADAM, and with the momenta mu of this step and of the next
    p = p - lr * ((1 - mu) / (1 - momenta) * g + next / (1 - momenta * next) * m) / (sqrt(v) / correction2 + eps)
    """
    cdef double after = momentum_at(rule, rule.n_steps + 1)
    cdef floating by_g = <floating> (rule.lr * (1 - momentum_at(rule, rule.n_steps)) / (1 - rule.momenta))
    cdef floating by_m = <floating> (rule.lr * after / (1 - rule.momenta * after))
    cdef floating decay = <floating> rule.weight_decay, eps = <floating> rule.eps, g_i
    cdef floating new1 = <floating> (1 - rule.beta1), old2 = <floating> rule.beta2, new2 = <floating> (1 - rule.beta2)
    cdef floating scale = <floating> (1 / rule.correction2)
    cdef Py_ssize_t i
    for i in range(n):
        g_i = g[i] + decay * p[i]
        m[i] = flushed(m[i] + new1 * (g_i - m[i]))
        v[i] = flushed(old2 * v[i] + new2 * g_i * g_i)
        p[i] -= (by_g * g_i + by_m * m[i]) / (square_root(v[i]) * scale + eps)
