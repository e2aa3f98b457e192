"""The shards of the relay's queue: each lies within one partition, so that a dead partition fills only its own."""

import struct
from functools import lru_cache

# A multiple of a topic's number of partitions (1, 2, 3, 4, 6, 8, 12, 24): a shard's keys then share a
# partition of each topic. With another number nothing is lost; a dead partition then holds up more shards.
SHARDS = 24
_FACTOR = 0x5BD1E995
_WORD = 0xFFFFFFFF


@lru_cache(maxsize=16_384)
def shard_of(partition_key: str) -> int:
    """The shard of a key: Kafka's own hash, by which the producer chooses the partition too."""
    return murmur2(partition_key.encode()) % SHARDS


def murmur2(key: bytes) -> int:
    """The hash of Kafka's default partitioner: `murmur2(key) % partitions` is the key's partition.

    https://github.com/apache/kafka/blob/4.3.1/clients/src/main/java/org/apache/kafka/common/utils/Utils.java
    """
    whole = len(key) & ~3
    hash_ = 0x9747B28C ^ len(key)
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        mixed = word * _FACTOR & _WORD
        mixed = (mixed ^ mixed >> 24) * _FACTOR & _WORD
        hash_ = (hash_ * _FACTOR & _WORD) ^ mixed
    if whole < len(key):
        hash_ = (hash_ ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _WORD
    hash_ = (hash_ ^ hash_ >> 13) * _FACTOR & _WORD
    return (hash_ ^ hash_ >> 15) & 0x7FFFFFFF
