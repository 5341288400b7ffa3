"""How many steps each call of the core gets, and on how many threads, by what the calls before took."""

# Python gets control back about this often: progress, Ctrl-C.
CALL_SECONDS = 0.05
# A shorter call that was slow may have been interrupted by another program.
HICCUP_SECONDS = 0.02


class Pace:
    """How many steps each call of the core gets so that Python has control back in time, and on how many threads.

    With a choice of threads it goes by measurement, which costs nothing as the result does not depend on them: a
    step that is shared gains on a quiet machine and loses badly where another program keeps a core busy.
    """

    def __init__(self, choices: tuple[int, ...], seconds: float = CALL_SECONDS) -> None:
        self.seconds_per_step, self.seconds = dict.fromkeys(choices, 0.0), seconds
        self.steps, self.elapsed, self.next_look, self.phase = 1, 0.0, 0.0, "run"
        self.latest = choices[0]

    @property
    def fastest(self) -> int:
        """The number of threads with the shortest step; a choice not yet measured comes first."""
        return min(self.seconds_per_step, key=lambda n: self.seconds_per_step[n])

    @property
    def found(self) -> int:
        """The number of threads for the history: the fastest, or that of the last call until all are measured."""
        return self.fastest if all(self.seconds_per_step.values()) else self.latest

    def next(self) -> tuple[int, int]:
        """Return threads and steps of the next call: the fastest, and now and then a short look at the other choice.

        A look takes a 64th of a call, by what a step took there, as where a core is busy a shared step can take 20
        times as long. Before it one step wakes the threads, which can take longer than the look itself. Steps of looks
        take no more than a 16th of the time, less and less; what waking takes is not counted.
        """
        others = [n for n in self.seconds_per_step if n != self.fastest]
        if not others or self.elapsed < self.next_look:
            self.phase, self.latest = "run", self.fastest
            return self.latest, self.steps
        self.phase, self.latest = "look" if self.phase == "wake" else "wake", others[0]
        known = max(self.seconds_per_step[self.latest], self.seconds / self.steps)
        return self.latest, max(1, int(self.seconds / (64 * known))) if self.phase == "look" else 1

    def took(self, n_threads: int, steps: int, seconds: float) -> None:
        """Learn from a call of so many steps; the next has 8 times as many at most, as short ones mislead."""
        self.elapsed += seconds
        if self.phase == "wake":
            return
        if self.phase == "look":
            with_waking = seconds + seconds / steps
            self.next_look = self.elapsed + max(16 * with_waking, min(self.elapsed, 64 * self.seconds))
        new, before = seconds / steps, self.seconds_per_step[n_threads]
        if seconds < HICCUP_SECONDS and before:
            new = min(new, 2 * before)
        # one slow call does not decide
        self.seconds_per_step[n_threads] = new if new < before or not before else 0.75 * before + 0.25 * new
        per_step = max(min(filter(None, self.seconds_per_step.values()), default=0.0), 1e-9)
        self.steps = max(1, min(8 * self.steps, int(self.seconds / per_step)))
