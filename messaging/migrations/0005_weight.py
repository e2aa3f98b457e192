"""The relay counts messages by their weight; those that wait already count as one each."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0004_provisioned_topic")]

    operations = [
        migrations.AddField(
            model_name="outboxpending",
            name="weight",
            field=models.SmallIntegerField(
                db_default=1, help_text="room that it takes in the relay: 1, and 1 more for each 2 KiB of its payload"
            ),
        ),
    ]
