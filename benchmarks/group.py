"""What earlier benchmarks left in a topic is none of this one's work."""

from confluent_kafka import Consumer, TopicPartition

from messaging.store.kafka import consumer_settings


def skip_to_the_end(group: str, topic: str) -> None:
    """Move the group, whose members must be gone, behind all that the topic holds now."""
    client = Consumer(consumer_settings(group))
    ends = []
    for partition in client.list_topics(topic, timeout=15).topics[topic].partitions:
        _, high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)
        ends.append(TopicPartition(topic, partition, high))
    client.commit(offsets=ends, asynchronous=False)
    client.close()
