"""The admin's filter by message type reads an index, also among millions of messages."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_queue")]

    operations = [
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(fields=["message_type", "id"], name="outbox_message_of_type"),
        ),
    ]
