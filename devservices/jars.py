"""Kafka's jars: exactly those named in `jgo.lock.toml`, verified by their sha256.

`jgo.toml` says what we want, the lock what that resolves to. Only `python -m devservices.jars`
resolves; everything else takes the lock as it is.
"""

import hashlib
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from jgo.env import EnvironmentBuilder, EnvironmentSpec, LockFile
from jgo.maven import MavenContext

from devservices.errors import DevservicesError

HERE = Path(__file__).parent
SPEC = HERE / "jgo.toml"
LOCK = HERE / "jgo.lock.toml"
CACHE = HERE.parent / "var" / "kafka-jars"


def ensure_jars(cache: Path = CACHE) -> list[Path]:
    """Every locked jar as a verified file, downloaded from Maven Central where it is missing.

    Raises DevservicesError when a jar cannot be downloaded or is not the one that was locked.
    """
    cache.mkdir(parents=True, exist_ok=True)
    locked = tomllib.loads(LOCK.read_text())["dependencies"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(partial(_ensure_jar, cache), locked))


def kafka_version() -> str:
    """The locked one: no client is told which version a broker is."""
    locked = tomllib.loads(LOCK.read_text())["dependencies"]
    return next(str(jar["version"]) for jar in locked if jar["artifactId"] == "kafka-clients")


def _ensure_jar(cache: Path, locked: Mapping[str, str]) -> Path:
    jar = cache / f"{locked['artifactId']}-{locked['version']}.jar"
    if not jar.exists() or _sha256(jar) != locked["sha256"]:
        _download(jar, locked)
    return jar


def _download(jar: Path, locked: Mapping[str, str]) -> None:
    # Into a folder of its own, then moved: an interrupted or concurrent download leaves nothing.
    with tempfile.TemporaryDirectory(dir=jar.parent, prefix=".download-") as scratch:
        project = MavenContext(repo_cache=Path(scratch), timeout=60).project(locked["groupId"], locked["artifactId"])
        try:
            downloaded = project.at_version(locked["version"]).artifact().resolve()
        except Exception as error:
            raise DevservicesError(
                f"{jar.name} could not be downloaded from Maven Central: {error}. "
                f"Check the network, or put the jar into {jar.parent}, and run the command again."
            ) from error
        if (found := _sha256(downloaded)) != locked["sha256"]:
            raise DevservicesError(
                f"{jar.name} from Maven Central has sha256 {found}, but {LOCK.name} names "
                f"{locked['sha256']}. Do not use it; find out which of the two is wrong."
            )
        shutil.move(downloaded, jar)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lock() -> None:
    """Resolve `jgo.toml` and write the lock: exact versions and sha256, no address and no path."""
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=60)
        builder = EnvironmentBuilder(context, cache_dir=Path(scratch))
        spec = EnvironmentSpec.load(SPEC)
        named, needed = context.resolver.resolve(builder.spec_to_dependencies(spec))
        runtime = [one for one in needed if one.scope in ("compile", "runtime")]
        lock = LockFile.from_resolved_dependencies([*named, *runtime], environment_name=spec.name)
        lock.save(LOCK)


if __name__ == "__main__":
    write_lock()
