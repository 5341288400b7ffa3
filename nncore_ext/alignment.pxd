"""Typed memoryviews say nothing of where their elements lie: kernels load whole numbers."""

from libc.stdint cimport uintptr_t


cdef inline int expect_aligned(const void *data, Py_ssize_t itemsize, str name) except -1:
    """Refuse elements that do not begin at multiples of their size; data: where a memoryview begins, or None"""
    if <uintptr_t> data % itemsize:
        raise ValueError(f"{name} is not aligned in memory, expected an array that is: np.require(array, "
                         f"requirements='A') makes one")
    return 0
