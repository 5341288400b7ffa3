"""Writing files: as a whole or not at all, regular files only, nothing left behind, no more memory than needed."""

import errno
import multiprocessing
import os
import re
import stat
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import numpy as np
import pytest

from nncore import Layer, NeuralNetwork
from nncore.files import atomic
from nncore.files import checkpoints as checkpoint
from nncore.files import models as persistence
from nncore.training.callbacks import CSVLog, PlotHistory
from nncore.training.history import History

FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None


@pytest.fixture(autouse=True)
def stays_on(monkeypatch):
    """The machine does: nothing waits for its disk."""
    monkeypatch.setattr(os, "fsync", os.fstat)


def small_net(seed=0):
    return NeuralNetwork([Layer(3, 4, "tanh"), Layer(4, 2)], loss="softmax_cross_entropy", rng=seed)


def checkpointed(path):
    small_net().fit(np.ones((2, 3)), [0, 1], epochs=1, checkpoint=path, progress=False)


def logged(path):
    CSVLog(path)(History(loss=np.ones(2), epoch_ends=[2], epoch_loss=[1.0]))


WRITERS = {
    "save": lambda path: small_net().save(path),
    "export_c": lambda path: small_net().export_c(path, name="net"),
    "export_torch": lambda path: small_net().export_torch(path),
    "checkpoint": checkpointed,
    "csv": logged,
    "picture": lambda path: PlotHistory(path)(History(loss=np.ones(2))),
    "bytes": lambda path: persistence.write_atomically(path, b"12345"),
}


def run(script, *arguments):
    """A process of its own; what it printed."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# What is no regular file


@pytest.mark.parametrize("writer", WRITERS)
def test_pipes_devices_and_folders_stay_what_they_are(tmp_path, writer):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    names = sorted(os.listdir(tmp_path))
    before = [os.lstat(tmp_path / name).st_mode for name in names]
    for name, what in (("pipe", "a pipe"), ("folder", "a folder"), ("link", "a pipe"), ("null", "a device")):
        with pytest.raises(OSError, match=rf"{name}(, which)? is {what}|{name}, which is {what}"):
            WRITERS[writer](tmp_path / name)
    with pytest.raises(OSError, match="/dev/null is a device"):
        WRITERS[writer]("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(os.listdir(tmp_path)) == names
    assert [os.lstat(tmp_path / name).st_mode for name in names] == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_stays_one_and_its_target_is_written(tmp_path, writer):
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(f"there/{name}")
    (tmp_path / "there/old").write_bytes(b"old")
    for name in ("old", "new"):
        WRITERS[writer](tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).stat().st_size > 3
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match=r"circle.* cannot be written: Too many levels of symbolic links"):
        persistence.write_atomically(tmp_path / "circle", b"")


NO_PATHS = ["", "a\0b", "folder/", "\ud800", 3, None, b"bytes", True]


@pytest.mark.parametrize("path", NO_PATHS, ids=repr)
@pytest.mark.parametrize("writer", ["save", "checkpoint", "csv", "picture", "bytes", "export_torch", "export_c"])
def test_what_is_no_path(tmp_path, monkeypatch, writer, path):
    monkeypatch.chdir(tmp_path)
    if writer == "checkpoint" and path is None:
        return  # no checkpoint
    with pytest.raises((TypeError, ValueError), match=r"(path|checkpoint) is .*, expected the path of a file"):
        WRITERS[writer](path)
    assert os.listdir(tmp_path) == []


# Names


@pytest.mark.parametrize("writer", ["save", "checkpoint", "csv", "bytes", "export_torch", "export_c"])
@pytest.mark.parametrize("letter", ["n", "é"])
def test_names_of_every_length(tmp_path, writer, letter):
    size = len(letter.encode())
    for count in {n // size for n in (228, 240, 241, 242, 250, 255)}:
        path = tmp_path / (letter * count)
        WRITERS[writer](path)
        WRITERS[writer](path)
        assert os.listdir(tmp_path) == [path.name]
        path.unlink()
    with pytest.raises(OSError, match="cannot be written: File name too long: 256 bytes, expected at most 255"):
        WRITERS[writer](tmp_path / (letter * (256 // size)))
    assert os.listdir(tmp_path) == []


def test_long_names_that_begin_alike_have_temporary_files_of_their_own(tmp_path):
    one, two = (atomic.beside(tmp_path / f"{'n' * 250}{end}", ".", ".12345678.tmp") for end in "ab")
    assert one != two
    assert len(one) == len(two) == 255


# Permissions


def test_the_umask_is_not_touched_and_obeyed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)  # nobody calls it
    before = run("""
        import os, stat, sys
        from nncore import Layer, NeuralNetwork
        for mask in (0o077, 0o022, 0o002, 0):
            os.umask(mask)
            for path in sys.argv[1:]:
                NeuralNetwork([Layer(1, 1)]).save(f"{path}{mask}")
                print(oct(stat.S_IMODE(os.stat(f"{path}{mask}").st_mode)), oct(os.umask(mask)))
    """, tmp_path / "m")  # fmt: skip
    assert before.split() == ["0o600", "0o77", "0o644", "0o22", "0o664", "0o2", "0o666", "0o0"]
    WRITERS["bytes"](tmp_path / "f")


def test_files_of_other_threads_get_no_more_permissions(tmp_path):
    """The case as it was found: files made beside a loop of saves."""
    assert run("""
        import os, sys, threading
        from nncore.files import models as persistence
        os.fsync = os.fstat
        os.umask(0o077); sys.setswitchinterval(1e-6)
        stop, seen = threading.Event(), 0
        def other():
            global seen
            while not stop.is_set():
                os.close(os.open(sys.argv[1] + "/x", os.O_CREAT | os.O_WRONLY, 0o666))
                seen += bool(os.stat(sys.argv[1] + "/x").st_mode & 0o077)
                os.unlink(sys.argv[1] + "/x")
        thread = threading.Thread(target=other); thread.start()
        for i in range(50):
            persistence.write_atomically(f"{sys.argv[1]}/n{i}", b"")
        stop.set(); thread.join(); print(seen)
    """, tmp_path) == "0\n"  # fmt: skip


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o755])
def test_the_mode_of_the_file_before_is_kept(tmp_path, mode):
    path = tmp_path / "m"
    path.write_bytes(b"x")
    path.chmod(mode)
    small_net().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_is_never_more_open_than_the_one_before(tmp_path, monkeypatch):
    path, modes = tmp_path / "m", []
    path.write_bytes(b"x")
    path.chmod(0o600)
    real = os.fchmod
    monkeypatch.setattr(
        os, "fchmod", lambda fd, mode: (modes.append(stat.S_IMODE(os.fstat(fd).st_mode)), real(fd, mode))
    )
    small_net().save(path)
    assert modes == [0o600]


def test_a_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"x")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda target, how: os.stat(target).st_mode & 0o222 != 0)  # root may all
    with pytest.raises(PermissionError, match="m is read-only, expected a file that may be replaced"):
        small_net().save(path)
    assert path.read_bytes() == b"x"


# Faults


def failure(write, path):
    try:
        write(path)
    except OSError as error:
        return error
    return None


FAULTS = ["open", "fsync", "fchmod", "replace"]


@pytest.mark.parametrize("call", FAULTS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("writer", ["save", "checkpoint", "bytes"])
def test_a_fault_leaves_the_old_or_the_new_file_and_names_it(tmp_path, monkeypatch, writer, code, call):
    """Whichever call of the system fails, at whichever time."""
    path = tmp_path / "file"
    WRITERS[writer](path)
    real, done = getattr(os, call), False
    for n in range(1, 20):
        path.write_bytes(b"old")
        counted = iter(range(1, 100))

        def fails(*arguments, n=n, counted=counted, **more):
            if next(counted) == n:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            error = failure(WRITERS[writer], path)
        if error is None:
            done = True
        else:
            assert error.errno == code
            assert re.search(rf"file.* (cannot be written: {os.strerror(code)}|is written, but)", str(error))
            assert (path.read_bytes() != b"old") == ("is written, but" in str(error))
        # the lock's own fault is one of them: nothing is locked afterwards
        assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []
        if done:
            break
    assert done


@pytest.mark.parametrize("writer", ["save", "checkpoint", "csv", "bytes"])
def test_no_permission(tmp_path, monkeypatch, writer):
    real = os.open

    def refused(path, flags, *more):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError, match=r"m cannot be written: Permission denied$"):
        WRITERS[writer](tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch, code):
    """As on some network file systems, and in folders that may be written to and not read."""
    path, (old, new) = tmp_path / "m", (small_net(0), small_net(1))
    old.save(path)
    for name in ("fsync", "open"):  # of the folder
        real = getattr(os, name)

        def fails(what, *more, real=real, name=name):
            folder = what == tmp_path if name == "open" else stat.S_ISDIR(os.fstat(what).st_mode)
            if folder:
                raise OSError(code, os.strerror(code))
            return real(what, *more)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fails)
            new.save(path)
        np.testing.assert_array_equal(NeuralNetwork.load(path).params["W1"], new.params["W1"])


def test_a_folder_whose_flush_fails_says_what_is_there(tmp_path, monkeypatch):
    path, (old, new) = tmp_path / "m", (small_net(0), small_net(1))
    old.save(path)
    real = os.fsync

    def fails(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="m is written, but after a power failure the file before may be back"):
        new.save(path)
    np.testing.assert_array_equal(NeuralNetwork.load(path).params["W1"], new.params["W1"])


def test_too_large_a_file_names_path_and_bytes(tmp_path):
    """The limit of the process, as a quota would be."""
    said = run("""
        import resource, signal, sys
        from nncore import Layer, NeuralNetwork
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        net = NeuralNetwork([Layer(100, 100)])
        try:
            net.save(sys.argv[1])
        except OSError as error:
            print(error)
    """, tmp_path / "m")  # fmt: skip
    size = 100 * 101 * 8
    assert re.search(r"m cannot be written: File too large; ([\d,]+) bytes are needed", said)
    assert size < int(re.search(r"([\d,]+) bytes are needed", said)[1].replace(",", "")) < size + 2000
    assert os.listdir(tmp_path) == []


def test_a_full_disk_names_bytes_needed_and_free(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"m cannot be written: No space left.*; 5 bytes are needed, [\d,]+ are free"):
        persistence.write_atomically(tmp_path / "m", b"12345")
    assert os.listdir(tmp_path) == []


def test_missing_folders_and_files_in_their_place(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="cannot be written: there is no folder"):
        small_net().save(tmp_path / "nowhere" / "m")
    with pytest.raises(OSError, match="file/m cannot be written: Not a directory"):
        small_net().save(tmp_path / "file" / "m")


# Processes that are killed, and several at once


def test_a_save_killed_at_any_call_leaves_the_old_or_the_new_file(tmp_path):
    """A child is ended at its 1st, 2nd, 3rd ... call of a built-in function while it saves."""
    said = run("""
        import os, sys
        import numpy as np
        from nncore.files import tensors as _tensors
        from nncore.files import models as persistence
        os.fsync = os.fstat  # the machine stays on
        path = sys.argv[1] + "/m"
        old, new = (_tensors.Encoded({"a": np.ones(n)}, {}, signed=True) for n in (30, 20))
        before, after = old.to_bytes(), new.to_bytes()
        persistence.write_atomically(path, old)
        def killed_at(n):
            calls = 0
            def count(frame, event, argument):
                nonlocal calls
                if event == "c_call":
                    calls += 1
                    if calls == n:
                        os._exit(9)
            if (child := os.fork()) == 0:
                sys.setprofile(count)
                persistence.write_atomically(path, new)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        n, seen, left = 0, set(), 0
        while killed_at(n := n + 1):
            found = open(path, "rb").read()
            assert found in (before, after), n
            seen.add(found == after)
            left += len(os.listdir(sys.argv[1])) > 1
            persistence.write_atomically(path, old)  # which also removes what was left
            assert os.listdir(sys.argv[1]) == ["m"], (n, os.listdir(sys.argv[1]))
        print(n, sorted(seen), left)
    """, tmp_path)  # fmt: skip
    n, seen, left = re.fullmatch(r"(\d+) (.*) (\d+)\n", said).groups()
    assert int(n) > 30
    assert seen == "[False, True]"
    assert int(left) > 5


def test_a_checkpoint_killed_at_any_call_leaves_one_that_is_whole(tmp_path):
    """The last or the one before, at every moment; and whatever was left is removed by the next run."""
    said = run("""
        import os, sys
        import numpy as np
        from nncore.files import checkpoints as checkpoint
        os.fsync = os.fstat
        files = [checkpoint._encoded({"a": np.full(50, float(k))}, {"k": k}) for k in range(4)]
        checkpoint._encoded = lambda tensors, state: files[state["k"]]
        def run(k):
            return {}, {"k": k}, k
        def anew():
            with checkpoint.Checkpoint(sys.argv[1], 1) as one:
                one.start(0)
                one.write(*run(1)); one.write(*run(2))
            return one
        def killed_at(n):
            calls, one = 0, anew()
            def count(frame, event, argument):
                nonlocal calls
                calls += event == "c_call"
                if event == "c_call" and calls == n:
                    os._exit(9)
            if (child := os.fork()) == 0:
                with one:
                    sys.setprofile(count)
                    one.write(*run(3))
                    os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        n, seen = 0, set()
        while killed_at(n := n + 1):
            found = []
            for path in (sys.argv[1], sys.argv[1] + ".previous"):
                if os.path.exists(path):
                    tensors, state = checkpoint._from_bytes(path)
                    assert (tensors["a"] == state["k"]).all()
                    found.append(state["k"])
            seen.add(tuple(found))
        anew()
        print(n, sorted(seen), sorted(os.listdir(os.path.dirname(sys.argv[1]))))
    """, tmp_path / "c")  # fmt: skip
    n, seen, names = re.fullmatch(r"(\d+) (\[\(.*\)\]) (\[.*\])\n", said).groups()
    assert int(n) > 30
    assert seen == "[(2,), (2, 1), (2, 2), (3, 2)]"
    assert names == "['c', 'c.previous']"


def test_only_what_killed_saves_of_this_file_left_is_removed(tmp_path):
    kept = [".m.tmp", ".other.abcdefgh.tmp", "m.abcdefgh.tmp", ".m.abcdefg.tmp", ".m.ABCDEFGH.tmp", ".m.x.abcdefgh.tmp"]
    for name in (*kept, ".m.abcdefgh.tmp"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".m.abcdefg2.tmp").symlink_to("m.abcdefgh.tmp")
    (tmp_path / ".m.abcdefg3.tmp").mkdir()
    small_net().save(tmp_path / "m")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "m", ".m.abcdefg2.tmp", ".m.abcdefg3.tmp"])


def test_a_file_that_is_being_written_is_not_taken_for_one_that_was_left(tmp_path):
    """Another save of the same file begins and ends in the middle of one."""
    path = tmp_path / "m"

    class Slow:
        size = 5

        def write_to(self, file):
            persistence.write_atomically(path, b"other")
            assert len(os.listdir(tmp_path)) == 2
            file.write(b"slow!")

    persistence.write_atomically(path, Slow())
    assert path.read_bytes() == b"slow!"
    assert os.listdir(tmp_path) == ["m"]


def test_a_temporary_file_taken_before_its_lock_is_made_again(tmp_path, monkeypatch):
    """Between making and locking a file another process may remove it, as if it had been left."""
    real, taken = atomic._locked, []

    def late(handle):
        if not taken:
            taken.extend(name for name in os.listdir(tmp_path) if name.endswith(".tmp"))
            os.unlink(tmp_path / taken[0])
        return real(handle)

    monkeypatch.setattr(atomic, "_locked", late)
    persistence.write_atomically(tmp_path / "m", b"12345")
    assert (tmp_path / "m").read_bytes() == b"12345"
    assert len(taken) == 1


def test_many_processes_and_threads_save_one_file(tmp_path):
    path = tmp_path / "m"
    said = run("""
        import os, sys, threading
        from nncore import Layer, NeuralNetwork
        os.fsync = os.fstat
        nets = [NeuralNetwork([Layer(20, 20)], rng=seed) for seed in range(2)]
        children = []
        for k in range(3):
            if (child := os.fork()) == 0:
                def work():
                    for i in range(40):
                        nets[i % 2].save(sys.argv[1])
                        NeuralNetwork.load(sys.argv[1])
                threads = [threading.Thread(target=work) for _ in range(2)]
                failed = []
                threading.excepthook = lambda args: (failed.append(1), print(args.exc_value, flush=True))
                [t.start() for t in threads]; [t.join() for t in threads]
                os._exit(len(failed))
            children.append(child)
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    """, path)  # fmt: skip
    assert said == "[0, 0, 0]\n"
    assert os.listdir(tmp_path) == ["m"]


def train(path, **settings):
    x = np.random.default_rng(0).normal(size=(40, 3))
    return small_net().fit(
        x, [0, 1] * 20, iterations=40, checkpoint=path, checkpoint_every=1, progress=False, rng=0, **settings
    )


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_run_on_one_checkpoint_is_refused_at_once(tmp_path, resume):
    path, seen = tmp_path / "c", []

    def second(history):
        net = small_net(3)
        before = net.core.params.copy()
        with pytest.raises(BlockingIOError, match=rf"c, which another run \(process {os.getpid()}\) is writing: wait"):
            net.fit(np.ones((40, 3)), [0, 1] * 20, iterations=40, checkpoint=path, resume=resume, progress=False)
        np.testing.assert_array_equal(net.core.params, before)
        seen.append(history.iterations)

    (tmp_path / "link").symlink_to("c")
    train(path, callbacks=[second])
    assert seen
    assert sorted(set(os.listdir(tmp_path))) == ["c", "c.previous", "link"]
    train(tmp_path / "link", resume=resume)  # the lock is gone


def test_two_processes_on_one_checkpoint(tmp_path):
    """The case as it was found: one of them was ended by a FileNotFoundError of its temporary file."""
    queue = FORK.Queue()

    def work():
        try:
            for _ in range(10):
                train(tmp_path / "c")
            queue.put("ok")
        except Exception as error:
            queue.put(repr(error))

    both = [FORK.Process(target=work) for _ in range(2)]
    for process in both:
        process.start()
    results = [queue.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    allowed = r"ok|BlockingIOError\(.*c, which another run \(process \d+\) is writing: .*\)"
    assert all(re.fullmatch(allowed, result) for result in results)
    assert "ok" in results
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_the_lock_ends_with_its_process_and_not_with_its_children(tmp_path):
    """Killed, the next run begins; a process that was forked meanwhile and lives on holds nothing."""
    said = run("""
        import os, signal, sys, time
        from pathlib import Path
        from nncore.files import atomic
        path = Path(sys.argv[1])
        read, write = os.pipe()
        if (parent := os.fork()) == 0:
            lock = atomic.Lock(path, "checkpoint")
            if os.fork() == 0:
                os.write(write, str(os.getpid()).encode())  # it has forgotten the lock by now
                signal.pause()
            signal.pause()
        child = int(os.read(read, 20))
        try:
            atomic.Lock(path, "checkpoint")
        except BlockingIOError as error:
            print(f"process {parent}" in str(error))
        os.kill(parent, signal.SIGKILL); os.waitpid(parent, 0)
        again = atomic.Lock(path, "checkpoint")
        os.kill(child, signal.SIGKILL)
        print(os.listdir(path.parent)); again.release(); print(os.listdir(path.parent))
    """, tmp_path / "c")  # fmt: skip
    assert said == "True\n['.c.lock']\n[]\n"


def test_where_files_cannot_be_locked_all_works_without(tmp_path, monkeypatch):
    def cannot(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic.fcntl, "flock", cannot)
    (tmp_path / ".c.abcdefgh.tmp").write_bytes(b"x")
    train(tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == [".c.abcdefgh.tmp", "c", "c.previous"]  # it may be another's


# Contents


def test_a_save_takes_no_copy_of_the_parameters(tmp_path):
    """All that is allocated meanwhile, by Python and NumPy, beside a model of 80 MB."""
    n = 10_000_000
    net = NeuralNetwork([Layer(n // 10, 10, weights=np.zeros((n // 10, 10)), use_bias=False)])
    parameters = net.core.params
    tensors = {"params": parameters, "moments": parameters, "transposed": net.params["W1"].T[:, : n // 40]}
    for write in (
        lambda path: net.save(path),
        lambda path: persistence.write_atomically(path, checkpoint._encoded(tensors, {})),
    ):
        tracemalloc.start()
        write(tmp_path / "m")
        extra = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert extra < 0.6 * parameters.nbytes


def test_the_digest_is_of_what_was_written_though_parameters_change(tmp_path):
    """Another thread trains while one saves: whatever mixture was written, the file is whole."""
    net = NeuralNetwork([Layer(500, 400)], rng=0)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            net.params["W1"][:] += 1.0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            net.save(tmp_path / "m")
            NeuralNetwork.load(tmp_path / "m")
    finally:
        stop.set()
        thread.join()


def test_a_name_that_another_program_reads_is_warned_of_and_written(tmp_path):
    for name in ("a.h5", "a.onnx", "a.PT", "a.pkl", "a.npz", "a.csv", "a.json"):
        with pytest.warns(UserWarning, match=rf"{name} ends in .*, and what was written is safetensors") as caught:
            small_net().save(tmp_path / name)
        assert caught[0].filename == __file__
        NeuralNetwork.load(tmp_path / name)
    with pytest.warns(UserWarning, match=r"m.safetensors ends in .* and what was written is C: .*'.h'"):
        small_net().export_c(tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match=r"m.pt ends in '.pt' as files of torch.save do"):
        small_net().export_torch(tmp_path / "m.pt")
    for name in ("m", "m.safetensors", "m.v1.2", "model.bin", "m.nncore"):
        small_net().save(tmp_path / name)


def test_a_log_is_begun_anew_and_added_to_by_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text("old\n" * 100)
    log, history = CSVLog(path), History(loss=np.ones(2), epoch_ends=[2], epoch_loss=[1.0])
    log(history)
    assert path.read_text().splitlines() == ["epoch,iteration,loss", "1,2,1"]
    inode = path.stat().st_ino
    history.loss, history.epoch_ends, history.epoch_loss = np.array([1.0, 1.0, 0.5, 0.5]), [2, 4], [1.0, 0.5]
    log(history)
    assert path.read_text().splitlines() == ["epoch,iteration,loss", "1,2,1", "2,4,0.5"]
    assert path.stat().st_ino == inode
