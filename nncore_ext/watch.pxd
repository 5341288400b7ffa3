"""Looks of a long call for Ctrl-C: between layers, and within products that take long.

The thread that called looks, if it is the one that runs the handlers of signals; what a handler raises ends the call.
Calls of other threads end when the interpreter does.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport threadid

cdef extern from "watch.h" nogil:
    double nn_seconds()
    bint nn_flag(const int *flag)

cdef enum:
    # Multiply-adds between two looks at the clock: 10 ms or less.
    CLOCK_WORK = 1 << 26
    # An activation costs as much as so many.
    UNIT_WORK = 20

# Seconds between two looks: each may wait for another thread to give the GIL.
cdef extern from *:
    """
    #define NN_LOOK_SECONDS 0.05
    """
    const double NN_LOOK_SECONDS

cdef struct Watch:
    bint looks  # by the main thread
    const int *ending  # of other threads: set when the interpreter ends
    int stop
    Py_ssize_t work  # multiply-adds since the last look at the clock
    double next_look
    void *raised  # a list for the exception of a handler


cdef inline bint stopped(const Watch *watch) noexcept nogil:
    """Whether what this call computes is not wanted any more; NULL: it never stops"""
    if watch == NULL:
        return False
    return nn_flag(&watch.stop) or (watch.ending != NULL and nn_flag(watch.ending))


cdef inline bint look(Watch *watch, Py_ssize_t work) noexcept nogil:
    """Whether to stop, asked before about so many multiply-adds"""
    if watch != NULL and watch.looks and threadid() == 0 and not watch.stop:
        watch.work += work
        if watch.work > CLOCK_WORK:
            watch.work = 0
            if not 0 < watch.next_look - nn_seconds() <= NN_LOOK_SECONDS:  # the clock may be set back
                ask(watch)
    return stopped(watch)


cdef inline void ask(Watch *watch) noexcept nogil:
    """Have the handlers of signals called"""
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<list> watch.raised).append(error)
            watch.stop = True
    watch.next_look = nn_seconds() + NN_LOOK_SECONDS
