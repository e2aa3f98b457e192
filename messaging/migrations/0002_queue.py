"""The relay's shards, and tables that stay quick: the queue is emptied as fast as it is filled."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from messaging.produce.shards import SHARDS


def make_shards(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    shard = apps.get_model("messaging", "RelayShard")
    shard.objects.bulk_create(shard(shard=number) for number in range(SHARDS))


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial")]

    operations = [
        migrations.RunPython(make_shards, migrations.RunPython.noop),
        migrations.RunSQL(
            # Dead rows are swept by their number, not by a share of a table that is nearly empty.
            """
            ALTER TABLE outbox_pending SET (
                autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
            );
            ALTER TABLE relay_shard SET (fillfactor = 50, autovacuum_vacuum_threshold = 500);
            """,
            migrations.RunSQL.noop,
        ),
    ]
