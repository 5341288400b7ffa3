# Who uses a network now: one training, or several readers.

cdef enum Use:
    TRAINING, READING, PAUSE


cdef class Turn:
    """The context of a use of a network, see Turns.training, reading, pause."""

    cdef Turns net
    cdef str what
    cdef Use use

    def __cinit__(self, Turns net, str what, Use use):
        self.net, self.what, self.use = net, what, use

    def __enter__(self):
        if self.use == TRAINING:
            self.net.begin_training(self.what)
        elif self.use == READING:
            self.net.begin_reading()
        else:
            self.net.paused = True

    def __exit__(self, *exc):
        if self.use == TRAINING:
            self.net.depth -= 1
            if self.net.depth <= 0:
                self.net.training_by = None
        elif self.use == READING:
            self.net.readers = max(0, self.net.readers - 1)
        else:
            self.net.paused = False


cdef class Turns:
    """A network is changed by one caller at a time, and read by several."""

    cdef Py_ssize_t busy  # generation of the call that has the workspace; 0: none
    cdef str training_by  # what trains the network for long, None: nothing
    cdef unsigned long trainer  # the thread it runs in
    cdef Py_ssize_t trainer_generation
    cdef bint paused
    cdef int depth  # 2 where its steps are made, 1 around
    cdef Py_ssize_t readers  # calls that must not see it trained
    cdef Py_ssize_t readers_generation

    def training(self, str what):
        """A context in which this thread alone uses the network, but for predictions; what: the name in messages"""
        return Turn(self, what, TRAINING)

    def reading(self, str what):
        """A context in which nobody begins to train the network, nor does but for this thread, unless it has it rest"""
        return Turn(self, what, READING)

    def pause(self):
        """A context within a training, of its callbacks: other threads may save and copy the network as it is then"""
        return Turn(self, "", PAUSE)

    def expect_still(self, bint pause=False):
        """Refuse where another thread trains the network; pause: or has it rest, while callbacks are called"""
        if not self.is_trained() or (pause and self.paused):
            return
        if self.trainer != <unsigned long> PyThread_get_thread_ident():
            raise RuntimeError(f"this network is in use by another thread ({self.training_by}), expected one caller at "
                               f"a time: wait for the other call to end, or train a copy that was made before")

    cdef bint is_trained(self):
        """Whether something trains it; what was begun before a fork, by a thread that is not here, does not"""
        if self.training_by is not None and self.trainer_generation != generation and self.trainer != survivor:
            self.training_by = None
        return self.training_by is not None

    cdef int begin_training(self, str what) except -1:
        self.expect_still()
        if self.is_trained() and not self.paused and self.depth == 1 and self.training_by == what:
            self.depth = 2  # the same training: its checks, then its steps
            return 0
        if self.is_trained():
            raise RuntimeError(f"{what} was called within {self.training_by} of the same network, by a callback of it, "
                               f"expected one at a time: train a copy")
        if self.readers_generation == generation and self.readers > 0:
            raise RuntimeError(f"this network is in use by another thread, expected {what} to have it for itself: wait "
                               f"for the other call to end, or train a copy")
        self.expect_free()
        self.training_by, self.trainer, self.trainer_generation = what, PyThread_get_thread_ident(), generation
        self.depth, self.paused = 1, False
        return 0

    cdef int begin_reading(self) except -1:
        self.expect_still(pause=True)
        if self.readers_generation != generation:
            self.readers, self.readers_generation = 0, generation
        self.readers += 1
        return 0

    cdef int expect_free(self) except -1:
        """Refuse where a call has the workspace"""
        if self.busy == generation:
            raise RuntimeError("this network is in use by another thread or a call that has not ended, expected one "
                               "caller at a time: wait for the other call to end, or train a copy")
        return 0

    def release(self):
        """Give the network back"""
        self.busy = 0
