"""How the kernels share work among threads: who is free takes the next piece, and nobody waits in a loop for more.

On OpenMP's threads, and on the pool that a compiler without OpenMP gets.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from umlite.cpu import compiler, libraries
from umlite.cpu.compiler import CompilerError

PROGRAM = """
#include <unistd.h>
#include "threads.h"
typedef struct { long items, sleep_us, *done, next; } job_t;
static void items_share(void *given, const member_t *me) {
  job_t *j = given;
  for (long i; (i = take(&j->next, 1)) < j->items;) {
    if (me->number == 0) usleep((unsigned)j->sleep_us);
    __atomic_fetch_add(j->done + me->number, 1, __ATOMIC_RELAXED);
  }
}
// Thread 0 sleeps over every item, as if another process had its core. done[thread]: items.
void share(long threads, long items, long sleep_us, long *done) {
  job_t j = {items, sleep_us, done, 0};
  parallel(threads, items_share, &j);
}

typedef struct { long rounds, *row, *wrong; } walk_t;
static void walk_share(void *given, const member_t *me) {
  walk_t *w = given;
  for (long i = 1; i <= w->rounds; i++) {
    w->row[me->number] = i;
    barrier(me);
    for (long k = 0; k < me->count; k++)
      if (w->row[k] != i) __atomic_fetch_add(w->wrong, 1, __ATOMIC_RELAXED);
    barrier(me);
  }
}
// All threads walk in step. row[thread]: where each is. Returns how often one was not where the others were.
long walk(long threads, long rounds, long *row) {
  long wrong = 0;
  walk_t w = {rounds, row, &wrong};
  parallel(threads, walk_share, &w);
  return wrong;
}
"""

Share = Callable[[int, int, int], list[int]]


@pytest.fixture(scope="module", params=["-fopenmp", "-pthread"], ids=["OpenMP", "pool"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def library(kind: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return built(tmp_path_factory.mktemp("share"), kind)


def built(folder: Path, flag: str) -> ctypes.CDLL:
    (folder / "share.c").write_text(PROGRAM)
    try:
        flags = [flag, f"-I{libraries.SOURCE}"]
        compiler.compile_source(folder / "share.c", folder / "share.so", compiler.compiler(), flags)
    except CompilerError as error:
        pytest.skip(str(error))
    return ctypes.CDLL(str(folder / "share.so"))


def share(library: ctypes.CDLL, threads: int, items: int, sleep_us: int = 0) -> list[int]:
    done = (ctypes.c_int64 * threads)()
    library.share(ctypes.c_int64(threads), ctypes.c_int64(items), ctypes.c_int64(sleep_us), done)
    return list(done)


def walk(library: ctypes.CDLL, threads: int, rounds: int) -> int:
    library.walk.restype = ctypes.c_int64
    row = (ctypes.c_int64 * threads)()
    wrong = int(library.walk(ctypes.c_int64(threads), ctypes.c_int64(rounds), row))
    assert list(row) == [rounds] * threads
    return wrong


def in_child(work: Callable[[], bool]) -> None:
    """Fork, and have the child say whether the work was right. One that waits for ever dies, which is wrong too."""
    child = os.fork()
    if child == 0:
        right = False
        signal.alarm(60)
        try:
            right = work()
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_thread_that_is_held_up_does_not_hold_up_the_others(library: ctypes.CDLL) -> None:
    done = share(library, 2, 20, 100_000)
    assert sum(done) == 20
    assert done[0] < done[1]  # shares fixed beforehand would be ten each


def test_threads_without_work_sleep(library: ctypes.CDLL) -> None:
    share(library, 2, 2)
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_all_threads_take_part_and_wait_for_each_other(library: ctypes.CDLL, threads: int) -> None:
    assert walk(library, threads, 50) == 0


def test_threads_of_a_program_may_call_at_the_same_time(library: ctypes.CDLL) -> None:
    wrong: list[int] = []
    callers = [threading.Thread(target=lambda: wrong.append(walk(library, 3, 50))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == [0] * 4


def test_one_thread_works_beside_a_team(library: ctypes.CDLL) -> None:
    team = threading.Thread(target=lambda: share(library, 2, 20, 10_000))
    team.start()
    assert walk(library, 1, 10) == 0
    team.join()


def test_more_threads_than_the_pool_holds(tmp_path: Path) -> None:
    pool = built(tmp_path, "-pthread")
    assert sum(share(pool, 1000, 5000)) == 5000


def test_the_system_starts_no_more_threads(tmp_path: Path) -> None:
    """A team of those that are there does the work."""
    source = tmp_path / "share.c"
    source.write_text(PROGRAM.replace('#include "threads.h"', '#include "refused.h"'))
    (tmp_path / "refused.h").write_text(
        '#include <pthread.h>\n#undef pthread_create\n#define pthread_create(...) 1\n#include "threads.h"\n'
    )
    flags = ["-pthread", f"-I{libraries.SOURCE}"]
    compiler.compile_source(source, tmp_path / "share.so", compiler.compiler(), flags)
    assert share(ctypes.CDLL(str(tmp_path / "share.so")), 3, 10) == [10, 0, 0]


def test_a_forked_child_has_threads_again(tmp_path: Path) -> None:
    pool = built(tmp_path, "-pthread")
    assert walk(pool, 3, 10) == 0
    in_child(lambda: walk(pool, 3, 10) == 0 and sum(share(pool, 4, 20)) == 20)
    assert walk(pool, 3, 10) == 0


def test_a_fork_in_the_middle_of_a_team_s_work(tmp_path: Path) -> None:
    """The child has locks that the team held, and nobody to free them."""
    pool = built(tmp_path, "-pthread")
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            share(pool, 2, 3, 2000)

    team = threading.Thread(target=work)
    team.start()
    try:
        for _ in range(5):
            in_child(lambda: walk(pool, 2, 10) == 0)
    finally:
        over.set()
        team.join()
    assert walk(pool, 2, 10) == 0


def test_libraries_share_one_pool(tmp_path: Path) -> None:
    """A child process counts its threads: two libraries need no more than one."""
    folders = [tmp_path / name for name in ("one", "two")]
    pools = []
    for folder in folders:
        folder.mkdir()
        pools.append(built(folder, "-pthread"))
    libraries._share_pool(pools[0])
    libraries._share_pool(pools[1])

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def work() -> bool:
        assert walk(pools[0], 3, 10) == 0
        one = threads()
        assert walk(pools[1], 3, 10) == 0
        return threads() == one

    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs Linux to count threads")
    in_child(work)


def test_every_kernel_shares_so() -> None:
    for stem in libraries.stems():
        text = (libraries.SOURCE / f"{stem}.c").read_text()
        assert "omp" not in text.replace("compare", "")
        assert text.count("parallel(") <= text.count("= take(&")
