# Calls without the GIL: their threads, Ctrl-C, forks, and the end of the interpreter.

# Set when the interpreter ends: calls of other threads than the main one stop. How many of those there are.
cdef int ending = 0
cdef Py_ssize_t n_running = 0
# Counts the forks this process comes from: who held a network in the parent is not here, but for the one that forked.
cdef Py_ssize_t generation = 1
cdef unsigned long survivor = 0


def forked():
    """Take note that this process is a fork: only the calling thread is still there."""
    global generation, survivor, n_running
    generation += 1
    survivor = PyThread_get_thread_ident()
    n_running = 0


def end_calls():
    """Have long calls of other threads end, and refuse them new ones: the interpreter is about to end."""
    global ending
    ending = 1


def n_calls():
    """Long calls of other threads than the main one that run now."""
    return n_running


@cython.freelist(8)
cdef class Call:
    """One call without the GIL, from begin to end: its threads, and its looks for Ctrl-C if it may take long."""

    cdef NetworkSpec net
    cdef Spec spec  # whose layers net has
    cdef Watch watch
    cdef list raised
    cdef bint counted

    def __cinit__(self, Spec spec, int n_threads, double macs):
        global n_running
        self.spec, self.net = spec, spec.net
        self.net.n_threads = max(1, n_threads)
        if macs < WATCHED_MACS and n_threads == 1:
            expect_not_ending_elsewhere()
            return
        memset(&self.watch, 0, sizeof(Watch))
        self.watch.looks = threading.main_thread().ident == PyThread_get_thread_ident()
        self.raised = []
        self.watch.raised = <void *> self.raised
        self.net.watch = &self.watch
        if not self.watch.looks:
            self.watch.ending = &ending
            expect_not_ending()
            self.counted = True
            n_running += 1

    def __dealloc__(self):
        global n_running
        if self.counted and n_running > 0:
            n_running -= 1

    cdef int end(self) except -1:
        """Raise what ended it too early, if anything did"""
        if self.raised:
            raise self.raised[0]
        if stopped(self.net.watch):
            expect_not_ending()
        return 0


cdef int expect_not_ending() except -1:
    """Refuse where the interpreter ends under this thread, which then ends as well: nobody sees a SystemExit of it"""
    if ending:
        raise SystemExit("the interpreter is ending")
    return 0


cdef int expect_not_ending_elsewhere() except -1:
    """The same of a short call, for any thread"""
    if ending and threading.main_thread().ident != PyThread_get_thread_ident():
        expect_not_ending()
    return 0


cdef void *allocate(double n_elements, size_t itemsize) except NULL:
    """Memory for a call"""
    cdef void *memory = malloc(<size_t> (n_elements * itemsize)) if n_elements * itemsize < 2**60 else NULL
    if memory == NULL:
        raise MemoryError(f"this call needs {n_elements * itemsize:.3g} bytes beside its data, which are not there: "
                          f"give it fewer samples, or the network narrower layers")
    return memory
