"""Sets of files: complete or absent, whatever stops a run and wherever, and what the next run makes of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.interrupting import interrupted_at, lines_of
from umlite.errors import OutputError
from umlite.outputs import file_set, journal, leftovers, staging
from umlite.outputs.file_set import FileSet, rehearse, replacing, together, unfinished
from umlite.outputs.leftovers import recover
from umlite.outputs.staging import MARKER, hidden_names

NAMES = ("a.txt", "b.txt", "sub/c.txt")


def write(folder: Path, text: str, names: tuple[str, ...] = NAMES, overwrite: bool = True) -> None:
    with together(folder, overwrite=overwrite) as files:
        for name in names:
            files.new(folder / name).write_text(text)


def found(folder: Path) -> dict[str, str]:
    """Text of every file that is not hidden."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".umlite-" not in str(path)]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(paths)}


def all_of(text: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, text)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_files_come_together(out: Path) -> None:
    with together(out) as files:
        for name in NAMES:
            files.new(out / name).write_text("x")
        assert found(out) == {}
        assert files.files == [out / name for name in NAMES]
    assert found(out) == all_of("x")
    write(out, "y", NAMES[:1])
    assert found(out) == {**all_of("x"), "a.txt": "y"}
    assert hidden_names(out) == []
    assert unfinished() == []


def test_an_empty_set(out: Path) -> None:
    with together(out):
        pass
    assert list(out.iterdir()) == []


def test_nothing_is_replaced_unless_allowed(out: Path) -> None:
    write(out, "old", NAMES[1:2])
    with pytest.raises(OutputError, match=r"b\.txt: it exists already"):
        write(out, "new", overwrite=False)
    assert found(out) == {"b.txt": "old"}
    assert sorted(path.name for path in out.iterdir()) == ["b.txt"]
    write(out, "new", NAMES[:1], overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        write(out, "newer", NAMES[:1], overwrite=False)
    assert found(out) == {"a.txt": "new", "b.txt": "old"}


def test_folders_in_the_way(out: Path) -> None:
    (out / "b.txt" / "deep").mkdir(parents=True)
    with pytest.raises(OutputError, match="a folder of that name exists"):
        write(out, "new")
    assert [path.name for path in out.iterdir()] == ["b.txt"]
    (out / "b.txt" / "deep").rmdir()
    with together(out) as files:
        files.new(out / "a.txt").write_text("x")
        (out / "c.txt").mkdir()
        with pytest.raises(OutputError, match="a folder of that name exists"):
            files.new(out / "c.txt")
        staged = files.new(out / "d.txt")
        staged.write_text("x")
    assert sorted(found(out)) == ["a.txt", "d.txt"]


def test_a_folder_that_comes_meanwhile_stays(out: Path) -> None:
    def run() -> None:
        with together(out) as files:
            for name in ("a.txt", "b.txt"):
                files.new(out / name).write_text("x")
            (out / "b.txt" / "deep").mkdir(parents=True)

    with pytest.raises(OutputError, match="a folder of that name exists"):
        run()
    assert (out / "b.txt" / "deep").is_dir()
    assert found(out) == {}
    assert hidden_names(out) == []


def test_links_are_replaced_not_followed(out: Path, tmp_path: Path) -> None:
    out.mkdir()
    (tmp_path / "elsewhere").write_text("theirs")
    (out / "a.txt").symlink_to(tmp_path / "elsewhere")
    write(out, "x")
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (out / "a.txt").is_symlink()
    assert found(out) == all_of("x")


# What the system refuses


REFUSALS = ("link", "chmod", "fsync", "rename of a folder with an open file")


@pytest.fixture(params=REFUSALS)
def _share(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares that have no hard links, modes, fsync; and those of Windows."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def no_fsync(_descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    rename = os.rename

    def rename_closed(source: Path, target: Path) -> None:
        inside = f"{os.path.realpath(source)}/"
        if any(os.path.realpath(f"/proc/self/fd/{fd}").startswith(inside) for fd in os.listdir("/proc/self/fd")):
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    if request.param in ("link", "chmod"):
        monkeypatch.setattr(os, request.param, refuse)
    elif request.param == "fsync":
        monkeypatch.setattr(os, "fsync", no_fsync)
    else:
        monkeypatch.setattr(os, "rename", rename_closed)


@pytest.mark.usefixtures("_share")
def test_shares_that_refuse_what_is_not_needed(out: Path) -> None:
    write(out, "old", overwrite=False)
    write(out, "new")
    with pytest.raises(OutputError, match="exists already"):
        write(out, "newer", overwrite=False)
    assert found(out) == all_of("new")
    rehearse(out)
    assert hidden_names(out) == []


def refusing(name: str, refused: Callable[[str, str], bool], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = getattr(os, name)

    def call(source: Path, target: Path, **options: object) -> None:
        if refused(str(source), str(target)):
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        real(source, target, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_refused_rename_takes_the_others_back(
    out: Path, overwrite: bool, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if overwrite:
        write(out, "old")
    refusing("link", lambda *_: not overwrite, monkeypatch, errno.EPERM)
    for name in ("replace", "rename"):
        refusing(name, lambda source, target: target.endswith("c.txt") and ".old" not in source, monkeypatch, number)
    with pytest.raises(OutputError, match=r"Cannot write .*c\.txt"):
        write(out, "new", overwrite=overwrite)
    assert found(out) == (all_of("old") if overwrite else {})
    assert out.exists() == overwrite
    assert unfinished() == []


def test_what_can_neither_go_on_nor_back_is_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(out, "old")
    with monkeypatch.context() as patch:
        for name in ("replace", "rename"):
            refusing(name, lambda _, target: target.endswith(("b.txt", "b.txt.old")), patch, errno.EIO)
        with pytest.raises(OutputError):
            write(out, "new")
        assert unfinished() in ([out / MARKER], [])
    recover(out)
    assert found(out) in (all_of("old"), all_of("new"))
    assert hidden_names(out) == []
    assert unfinished() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_when_it_is_asked_to_keep(out: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write(out, "old")

    def full(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError):
            write(out, "new")
    assert found(out) == all_of("old")
    assert hidden_names(out) == []


def test_a_disk_without_room_for_a_lock(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = open

    class Full:
        """A file that takes nothing, and says so when it is flushed and when it is closed."""

        def __init__(self, path: Path, mode: str) -> None:
            self._file = real(path, mode)
            self.fileno, self.flush, self.write = self._file.fileno, full, lambda _text: None

        def close(self) -> None:
            self._file.close()
            full()

    monkeypatch.setattr(staging, "open", Full, raising=False)
    monkeypatch.setattr(staging.json, "dump", lambda *_: None)
    with pytest.raises(OutputError, match="disk is full"):
        write(out, "x")
    assert not out.exists()


def test_files_get_the_modes_that_the_user_has_set(out: Path) -> None:
    mask = os.umask(0o027)
    try:
        with together(out) as files:
            for name in ("a.txt", "b.txt"):
                path = files.new(out / name)
                path.touch(mode=0o600)
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o640}


def test_replacing_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    with replacing(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("one")
    assert path.read_text() == "one"
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("two")
        raise ZeroDivisionError
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["x.nii.gz"]


# Interruptions, and what the next run makes of them


OUTPUTS = tuple(module.__file__ for module in (file_set, journal, leftovers, staging))


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
@pytest.mark.parametrize("old", [False, True])
def test_an_interruption_at_every_line(
    out: Path, old: bool, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is complete or as it was, in the same process and after the next run."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # thousands of them take a minute
    before = dict.fromkeys(names, "old") if old else {}
    moments = lines_of(lambda: write(out, "probe", names), OUTPUTS)
    for moment in range(1, moments + 1):
        for path in sorted(out.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        if old:
            write(out, "old", names)
        interrupted_at(moment, lambda: write(out, "new", names), OUTPUTS)
        marked = (out / MARKER).exists()
        if not marked:
            assert found(out) in (before, dict.fromkeys(names, "new")), moment
        assert unfinished() == ([out / MARKER] if marked else []), moment
        recover(out)
        assert found(out) in (before, dict.fromkeys(names, "new")), moment
        assert hidden_names(out) == [], moment


KILLED = """
import os, sys
from pathlib import Path
from umlite.outputs import file_set, journal, staging

def dying(name):
    real, = [getattr(os, name)]
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        try:
            return real(*arguments, **options)
        finally:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
    setattr(os, name, call)

folder, left = Path(sys.argv[1]), int(sys.argv[2])
for name in ("rename", "replace", "link", "mkdir", "unlink", "rmdir", "fsync"):
    dying(name)
with file_set.together(folder) as files:
    for name in sys.argv[3:]:
        files.new(folder / name).write_text("new")
"""


def killed_at(moment: int, folder: Path) -> bool:
    """Whether a run was killed before or after its system call of this number."""
    process = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(moment), *NAMES], check=False)
    assert process.returncode in (0, -9)
    return process.returncode == -9


@pytest.mark.parametrize("old", [False, True])
def test_kills_between_and_around_the_renames(out: Path, old: bool) -> None:
    before = all_of("old") if old else {}
    for moment in range(1, 200, 7 if old else 11):
        if old:
            write(out, "old")
        was_killed = killed_at(moment, out)
        if not (out / MARKER).exists():
            assert found(out) in (before, all_of("new")), moment
        recover(out)
        assert found(out) in (before, all_of("new")), moment
        assert hidden_names(out) == [], moment
        if not was_killed:
            assert found(out) == all_of("new")
            break
        for path in (out / name for name in NAMES):
            path.unlink(missing_ok=True)


# Leftovers


HOLDING = """
import sys
from pathlib import Path
from umlite.outputs.file_set import together
folder = Path(sys.argv[1])
with together(folder) as files:
    files.new(folder / "a.txt").write_text("theirs")
    files.new(folder / "b.txt").write_text("theirs")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_live_run_is_left_alone(out: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        (theirs,) = hidden_names(out)
        recover(out)
        write(out, "ours")
        assert hidden_names(out) == [theirs]
        assert found(out) == all_of("ours")
        other.communicate()
    assert other.returncode == 0
    assert found(out) == {"a.txt": "theirs", "b.txt": "theirs", "sub/c.txt": "ours"}
    assert hidden_names(out) == []


def test_what_a_killed_run_left_goes(out: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
    assert len(hidden_names(out)) == 1
    write(out, "ours")
    assert found(out) == all_of("ours")
    assert hidden_names(out) == []


def test_a_folder_that_another_run_removes_while_it_is_looked_at(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out.mkdir()
    dead = staging.Staging(out)
    dead.make()
    dead.release()
    scandir = os.scandir

    def too_late(path: str | os.PathLike[str] = ".") -> object:
        if Path(path) == dead.folder and dead.folder.exists():
            dead.lock_path.unlink()
            dead.folder.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", too_late)
    recover(out)
    assert not dead.folder.exists()


def left_behind(out: Path, monkeypatch: pytest.MonkeyPatch, **owner: object) -> Path:
    """A marker whose run ended among its moves, as far as files tell."""
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "forward", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(FileSet, "_end", lambda files, **_: files._staging.release())
        with pytest.raises(KeyboardInterrupt):
            write(out, "new")
    (lock,) = (out / MARKER).glob("*.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), **owner}))
    return out / MARKER


def test_a_set_under_the_marker_is_finished(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(out, "old")
    left_behind(out, monkeypatch)
    write(out, "newest", ("d.txt",))
    assert found(out) == {**all_of("new"), "d.txt": "newest"}
    assert hidden_names(out) == []


def test_after_a_restart_of_this_machine(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(out, monkeypatch, boot="an earlier one")
    recover(out)
    assert found(out) == all_of("new")


def test_another_machines_run_is_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = left_behind(out, monkeypatch, host="elsewhere", boot="another")
    monkeypatch.setattr(file_set, "WAIT_S", 0.02)
    recover(out)
    with pytest.raises(OutputError, match=r"on elsewhere is putting results there.*remove .*incomplete"):
        write(out, "ours")
    assert marker.exists()
    long_ago = marker.stat().st_mtime - staging.ABANDONED_S - 60
    for path in [marker, *marker.iterdir()]:
        os.utime(path, (long_ago, long_ago))
    write(out, "ours", ("d.txt",))
    assert found(out) == {**all_of("new"), "d.txt": "ours"}


@pytest.mark.parametrize("target", ["../outside.txt", "/etc/outside", "a/b/c.txt", ".umlite-incomplete/x", ""])
def test_a_journal_that_leads_elsewhere_is_not_believed(
    out: Path, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = left_behind(out, monkeypatch)
    data = json.loads((marker / journal.NAME).read_text())
    data["files"][0]["file"] = target
    (marker / journal.NAME).write_text(json.dumps(data))
    with pytest.raises(OutputError, match="incomplete set of results"):
        recover(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("what", ["journal", "lock"])
def test_pipes_are_not_waited_for(out: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = left_behind(out, monkeypatch)
    path = marker / journal.NAME if what == "journal" else next(marker.glob("*.lock"))
    path.unlink()
    os.mkfifo(path)
    with contextlib.suppress(OutputError):
        recover(out)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"files": 3}', '{"format": 1, "files": [{"staged": 1}]}', "[" * 200_000]
)
def test_a_damaged_journal(out: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (left_behind(out, monkeypatch) / journal.NAME).write_text(content)
    with pytest.raises(OutputError, match=r"Remove .*incomplete"):
        recover(out)


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root gives files away")
def test_journals_of_other_users_are_not_followed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = left_behind(out, monkeypatch)
    os.chown(marker, 12345, 12345)
    with pytest.raises(OutputError, match="another user's run"):
        recover(out)
    assert marker.exists()


def test_hidden_files_of_unknown_origin_go_when_they_are_old(out: Path) -> None:
    out.mkdir()
    old, fresh = out / ".umlite-abcdefgh", out / ".umlite-ijklmnop"
    for path in (old, fresh):
        path.write_text("x")
    os.utime(old, (1, 1))
    recover(out)
    assert hidden_names(out) == [fresh]


def test_two_threads_on_one_folder(out: Path) -> None:
    """Sets over the same names never mix."""
    names = tuple(f"{n}.txt" for n in range(12))

    def repeat(text: str) -> None:
        for _ in range(15):
            write(out, text, names)

    threads = [threading.Thread(target=repeat, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(out) in (dict.fromkeys(names, "one"), dict.fromkeys(names, "two"))
    assert hidden_names(out) == []


def test_few_files_are_open(out: Path) -> None:
    counts = []
    with together(out) as files:
        for number in range(64):
            files.new(out / f"{number}.txt").write_text("x")
            counts.append(len(os.listdir("/proc/self/fd")))
    assert max(counts) == min(counts)
