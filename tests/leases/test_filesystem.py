# ruff: noqa: ASYNC240 -- a look at a file of the test blocks nobody
"""The file system of a file, by the text of /proc/self/mountinfo."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from casty_es.errors import ConfigurationError
from casty_es.leases import filesystem
from casty_es.leases.file import FileLeaseManager
from casty_es.leases.filesystem import file_system_of, is_network, refuse_network
from tests.leases.conftest import Cluster

MOUNTS = r"""22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /proc rw,nosuid shared:14 - proc proc rw
31 22 0:45 / /srv/nfs rw,relatime shared:40 master:3 - nfs4 10.0.0.9:/export rw,vers=4.2
32 31 259:3 /data /srv/nfs/local rw,relatime - xfs /dev/nvme1n1p1 rw
33 22 0:50 / /mnt/with\040space\134and\011more rw - cifs //server/share rw
34 22 0:51 / /mnt/s3 rw - fuse.s3fs s3fs rw
35 22 8:1 / /mnt/usb rw - fuseblk /dev/sda1 rw
36 22 0:60 / /mnt/over rw - nfs a:/b rw
37 36 0:61 / /mnt/over rw - tmpfs tmpfs rw
38 22 0:62 / /mnt/9 rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("path", "file_system"),
    [
        ("/home/me/casty.db", "ext4"),
        ("/", "ext4"),
        ("/srv/nfs/casty.db", "nfs4"),
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs2/casty.db", "ext4"),
        ("/srv/nfs/local/deep/casty.db", "xfs"),
        ("/mnt/with space\\and\tmore/casty.db", "cifs"),
        ("/mnt/s3/casty.db", "fuse.s3fs"),
        ("/mnt/usb/casty.db", "fuseblk"),
        ("/mnt/over/casty.db", "tmpfs"),
        ("/mnt/9/casty.db", "9p"),
    ],
)
def test_longest_mount_point_wins(path: str, file_system: str) -> None:
    """Given mounts within and over each other, when a path is looked up, then the one that holds it is found."""
    assert file_system_of(PurePosixPath(path), MOUNTS) == file_system


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "1 2 3 4 5 6 7 8", "36 35 98:0 / /other rw - nfs a b"])
def test_no_mount_holds_the_path(text: str) -> None:
    """Given a text without a mount above the path, when it is looked up, then nothing is known."""
    assert file_system_of(PurePosixPath("/data/casty.db"), text) is None


def test_optional_fields_do_not_shift_the_type() -> None:
    """Given a mount with no, one and three optional fields, when it is read, then the type is found."""
    for optional in ("", "shared:1 ", "shared:1 master:2 propagate_from:3 "):
        assert file_system_of(PurePosixPath("/x"), f"1 0 0:1 / / rw {optional}- btrfs - rw") == "btrfs"


@pytest.mark.parametrize(
    "file_system",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "fuse",
        "fuse.sshfs",
        "fuse.glusterfs",
        "ceph",
        "lustre",
        "afs",
        "vboxsf",
        "gfs2",
    ],
)
def test_network_file_systems(file_system: str) -> None:
    """Given a file system that other hosts may write to, when it is asked about, then it is one."""
    assert is_network(file_system)


@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "f2fs"])
def test_local_file_systems(file_system: str) -> None:
    """Given a file system of this host, when it is asked about, then it is not a network's."""
    assert not is_network(file_system)


def test_this_hosts_own_mounts(tmp_path: Path) -> None:
    """Given the mounts of this very host, when a temporary file is looked up, then it may be used."""
    refuse_network(tmp_path / "casty.db")


async def test_refused_unless_allowed(file_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a journal on NFS, when a session is opened, then it is refused by name, unless a setting allows it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 d rw\n2 1 0:2 / {tmp_path} rw - nfs4 host:/x rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)

    with pytest.raises(ConfigurationError, match=r"nfs4.*allow_network_filesystem=True"):
        await file_cluster.open("a")

    assert not list(tmp_path.glob("*.lock"))
    session = await file_cluster.open("a", allow_network_filesystem=True)
    assert await session.acquire([1]) == {1}


async def test_the_link_is_followed(file_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a link that leads to NFS, when the journal is opened through it, then it is refused."""
    far = tmp_path / "far"
    far.mkdir()
    (far / "casty.db").touch()
    near = tmp_path / "near.db"
    near.symlink_to(far / "casty.db")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 d rw\n2 1 0:2 / {far} rw - nfs host:/x rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)

    with pytest.raises(ConfigurationError, match="nfs"):
        await FileLeaseManager(near, file_cluster.journal).open("a")
