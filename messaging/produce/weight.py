"""How much room a message takes in the relay, whose memory large ones must not fill."""

WEIGHT_BYTES = 2048  # of a payload; most messages are smaller, and weigh 1


def weight_of(payload_bytes: int) -> int:
    """1 for a message, and 1 more for each WEIGHT_BYTES of its payload."""
    return 1 + payload_bytes // WEIGHT_BYTES
