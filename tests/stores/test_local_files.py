"""The local store's directory, file, doorbells, and which hosts and file systems it refuses."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from leaderd.election.problems import Reason
from leaderd.stores.local import files, host
from leaderd.stores.local.problem import LocalError

SID = "0123456789abcdef" * 2


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refused(directory: Path) -> LocalError:
    with pytest.raises(LocalError) as error:
        files.prepare(directory)
    assert "\n" not in error.value.problem.detail
    return error.value


def test_directory_and_file_are_private(tmp_path: Path) -> None:
    path = files.prepare(tmp_path / "store")
    assert mode(tmp_path / "store") == 0o700
    assert mode(path) == 0o600
    assert os.listdir(tmp_path / "store") == ["leaderd.db"]


def test_a_directory_shared_by_a_group_gets_a_file_shared_by_it(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    directory.chmod(0o2770)
    assert mode(files.prepare(directory)) == 0o660


def test_parents_are_not_made(tmp_path: Path) -> None:
    error = refused(tmp_path / "unmounted" / "store")
    assert error.problem.reason is Reason.STORE_UNREACHABLE
    assert "create it, or mount it" in error.problem.detail


def test_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is not a directory" in refused(tmp_path / "file").problem.detail
    assert "is not a directory" in refused(tmp_path / "file" / "store").problem.detail


def test_a_directory_that_everyone_may_write_to(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    directory.chmod(0o1777)
    assert refused(directory).problem.reason is Reason.PERMISSION_DENIED


def test_a_file_that_everyone_may_write_to(tmp_path: Path) -> None:
    files.prepare(tmp_path / "store").chmod(0o666)
    assert "writable by everyone" in refused(tmp_path / "store").problem.detail


def test_a_symbolic_link_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o700)
    (tmp_path / "store" / "leaderd.db").symlink_to(tmp_path / "elsewhere")
    assert refused(tmp_path / "store").problem.reason is Reason.FOREIGN_ENTRY
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_of_our_own_to_the_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files.prepare(tmp_path / "link").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_other_users_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    path = files.prepare(directory)
    os.chown(path, 12345, 12345)
    assert "belongs to uid 12345" in refused(directory).problem.detail
    os.chown(directory, 12345, 12345)
    assert "belongs to uid 12345" in refused(directory).problem.detail
    os.chown(tmp_path / "store", 0, 0)
    (tmp_path / "link").symlink_to(directory)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    assert "symbolic link" in refused(tmp_path / "link").problem.detail


def test_a_ring_wakes_and_an_impostor_is_left_alone(tmp_path: Path) -> None:
    bell = files.Doorbell(tmp_path, SID)
    files.ring(tmp_path, SID)
    files.ring(tmp_path, SID)
    assert os.read(bell.fd, 10) == b"\0\0"
    bell.drain()
    bell.close()
    files.ring(tmp_path, SID)  # nobody there
    (tmp_path / f"wake-{SID}").write_text("")
    files.ring(tmp_path, SID)
    assert (tmp_path / f"wake-{SID}").read_text() == ""
    files.ring(tmp_path, "../escape")
    files.take_down(tmp_path, "../escape")


def test_a_full_bell_is_no_error(tmp_path: Path) -> None:
    bell = files.Doorbell(tmp_path, SID)
    os.set_blocking(bell.fd, False)
    with suppress(BlockingIOError):
        while os.write(bell.fd, b"\0" * 4096):
            pass
    files.ring(tmp_path, SID)
    bell.drain()
    bell.close()


def test_bells_of_the_dead_are_swept(tmp_path: Path) -> None:
    bell = files.Doorbell(tmp_path, SID)
    other = "f" * 32
    os.mkfifo(tmp_path / f"wake-{other}")
    (tmp_path / "wake-notes.txt").write_text("mine")
    files.sweep(tmp_path, {SID})
    assert sorted(os.listdir(tmp_path)) == [f"wake-{SID}", "wake-notes.txt"]
    bell.close()
    files.sweep(tmp_path / "gone", set())


def proc(tmp_path: Path, mounts: str, boot: str = "boot-1") -> Path:
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(boot + "\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/mountinfo").write_text(mounts)
    return tmp_path


ROOT = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


def test_this_host_is_known() -> None:
    here = host.read_host()
    assert len(here.boot) == 36
    assert here == host.read_host()


def test_the_time_namespace_is_inode_and_offset(tmp_path: Path) -> None:
    fake = proc(tmp_path, ROOT)
    assert host.read_host(fake) == host.Host("boot-1", "none")
    (fake / "self/ns/time").symlink_to("time:[4026531834]")
    assert host.read_host(fake).time_ns == "time:[4026531834]"
    (fake / "self/timens_offsets").write_text("monotonic           0         0\nboottime          100         5\n")
    assert host.read_host(fake).time_ns == "time:[4026531834] 100 5"


def test_a_boot_id_of_the_containers_own_is_refused(tmp_path: Path) -> None:
    """Else two containers with one directory would take each other's sessions for those of an earlier boot."""
    fake = proc(tmp_path, ROOT + "99 21 0:50 /boot_id /proc/sys/kernel/random/boot_id ro - tmpfs tmpfs rw\n")
    with pytest.raises(LocalError, match="overmounted"):
        host.read_host(fake)


def test_without_a_boot_id_nothing_works(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="boot id"):
        host.read_host(tmp_path)


def test_a_shared_file_system_is_refused(tmp_path: Path) -> None:
    """Two kernels on one file would each take the other's sessions for those of an earlier boot, and both lead."""
    mounts = host.read_mounts(
        proc(
            tmp_path,
            ROOT + "40 21 0:51 / /mnt/a\\040b rw - nfs4 server:/x rw\n41 40 0:52 / /mnt/a\\040b/disk rw - ext4 /dev/b rw\n",
        )
    )
    with pytest.raises(LocalError, match="nfs4"):
        host.refuse_shared(Path("/mnt/a b/store"), mounts)
    host.refuse_shared(Path("/mnt/a b/disk/store"), mounts)
    host.refuse_shared(Path("/mnt/abc"), mounts)
    host.refuse_shared(Path("/mnt"), [])


def test_a_mount_over_a_mount_counts(tmp_path: Path) -> None:
    mounts = [host.Mount("/", "ext4"), host.Mount("/srv", "ext4"), host.Mount("/srv", "cifs")]
    with pytest.raises(LocalError, match="cifs"):
        host.refuse_shared(Path("/srv/store"), mounts)
