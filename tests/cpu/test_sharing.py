"""How the kernels share work among threads: who is free takes the next piece, and nobody waits in a loop for more."""

from __future__ import annotations

import ctypes
import time

import pytest

from umlite.cpu import compiler, libraries
from umlite.cpu.compiler import CompilerError

PROGRAM = """
#include <unistd.h>
#include "threads.h"
// Thread 0 sleeps over every item, as if another process had its core. done[thread]: items.
void share(long threads, long items, long sleep_us, long *done) {
  long next = 0;
  PARALLEL(threads) {
    for (long i; (i = take(&next, 1)) < items;) {
      if (thread_number() == 0) usleep((unsigned)sleep_us);
      __atomic_fetch_add(done + thread_number(), 1, __ATOMIC_RELAXED);
    }
  }
}
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("share")
    (folder / "share.c").write_text(PROGRAM)
    try:
        flags = ["-fopenmp", f"-I{libraries.SOURCE}"]
        compiler.compile_source(folder / "share.c", folder / "share.so", compiler.compiler(), flags)
    except CompilerError as error:
        pytest.skip(str(error))
    library = ctypes.CDLL(str(folder / "share.so"))

    def run(threads: int, items: int, sleep_us: int) -> list[int]:
        done = (ctypes.c_long * threads)()
        library.share(ctypes.c_long(threads), ctypes.c_long(items), ctypes.c_long(sleep_us), done)
        return list(done)

    return run


def test_a_thread_that_is_held_up_does_not_hold_up_the_others(share) -> None:
    done = share(2, 20, 100_000)
    assert sum(done) == 20
    assert done[0] < done[1]  # shares fixed beforehand would be ten each


def test_threads_without_work_sleep(share) -> None:
    share(2, 2, 0)
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.1


def test_every_kernel_shares_so() -> None:
    for stem in libraries.stems():
        text = (libraries.SOURCE / f"{stem}.c").read_text()
        assert "omp for" not in text
        assert text.count("PARALLEL(") <= text.count("= take(&")
