/* What a long call of the core needs to end early: the time, a flag that another thread sets, and who has the GIL. */
#ifndef NNCORE_WATCH_H
#define NNCORE_WATCH_H

#include <time.h>

/* Cython asks before each parallel loop whether this thread has the GIL, to release it. Python 3.11 says yes to every
 * thread while the interpreter ends, or where there are several: releasing what one has not ends the process. */
#if PY_VERSION_HEX < 0x030C0000
static inline int nn_has_gil(void)
{
    PyThreadState *own = PyGILState_GetThisThreadState();
    return own != NULL && own == _PyThreadState_UncheckedGet();
}
#define PyGILState_Check nn_has_gil
#endif

static inline double nn_seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* As it is now: another thread may have set it */
static inline int nn_flag(const int *flag) { return *(const volatile int *)flag; }

#endif
