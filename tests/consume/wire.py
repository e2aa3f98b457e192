"""Write one record in Kafka's own protocol: what no client library lets through, such as a header without a name
that anybody can read.

https://kafka.apache.org/protocol.html: a Produce request, version 3, with one record batch of magic 2.
"""

import socket
import struct

from messaging.store.kafka import admin_client

Headers = list[tuple[bytes, bytes | None]]


def append(topic: str, partition: int, *, key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Append the record to the partition with acks=all; returns its offset."""
    batch = _batch(_record(key, value, headers))
    body = struct.pack(">hhi", -1, -1, 30_000)  # no transaction, acks=all, time-out
    body += _array(_string(topic) + _array(struct.pack(">ii", partition, len(batch)) + batch))
    request = struct.pack(">hhi", 0, 3, 1) + _string("by-hand") + body
    with socket.create_connection(_leader(topic, partition), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = _read(connection, *struct.unpack(">i", _read(connection, 4)))
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
    assert error == 0, f"Kafka answered with error {error}"
    return int(offset)


def _leader(topic: str, partition: int) -> tuple[str, int]:
    metadata = admin_client().list_topics(topic, timeout=15)
    broker = metadata.brokers[metadata.topics[topic].partitions[partition].leader]
    return broker.host, broker.port


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, "the broker closed the connection"
        data += piece
    return data


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _array(element: bytes) -> bytes:
    return struct.pack(">i", 1) + element


def _batch(record: bytes) -> bytes:
    checked = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, 9 + len(checked), -1, 2, _crc32c(checked)) + checked


def _record(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    body = b"\x00" + _varint(0) + _varint(0) + _bytes(key) + _bytes(value) + _varint(len(headers))
    body += b"".join(_bytes(name) + _bytes(data) for name, data in headers)
    return _varint(len(body)) + body


def _bytes(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)  # zigzag
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
