"""Put back what Kafka lost: the same message, under the same id, into the relay's queue again.

Right however often it is done, and also when the message turns up after all: a second copy is a
redelivery, which the inbox absorbs.
"""

from collections.abc import Sequence

import structlog
from django.db import connection, transaction

from messaging.produce import queue
from messaging.prove.losses import Loss

log = structlog.get_logger(__name__)


def repair(found: Sequence[Loss]) -> int:
    """Queue the lost messages again, each once, and note it. Returns how many.

    A message whose receipt is gone, or names another place by now, was put back by somebody else.
    """
    lost = {loss.message.outbox_id: loss for loss in found}
    with transaction.atomic(), connection.cursor() as cursor:
        put_back = queue.requeue(
            [queue.Acknowledged(id_, loss.message.partition, loss.message.offset) for id_, loss in lost.items()]
        )
        cursor.executemany(
            """
            INSERT INTO repaired_message (outbox_id, consumer, partition, "offset", why) VALUES (%s, %s, %s, %s, %s)
            """,
            [(id_, lost[id_].consumer, lost[id_].message.partition, lost[id_].message.offset, lost[id_].why)
             for id_ in put_back],
        )  # fmt: skip
    for outbox_id in put_back:
        loss = lost[outbox_id]
        log.error("lost by Kafka, put back", message_id=str(loss.message.message_id), loss=str(loss))
    return len(put_back)
