"""PostgreSQL's durability: a committed order must survive the crash of its machine. And whether the clocks agree."""

import time

from django.db import connection

from messaging.store.findings import Finding, Severity

# The call for the next shift expires after 5 s (messaging/tasks.py), by the clock of the machine that takes it.
SKEW_SECONDS = 2.0


# fsync and full_page_writes come as on or off. synchronous_commit is also set for a role or a database, and stands
# there as it was written: these are all the words that PostgreSQL takes for off, in any capitals.
_OFF = {"off", "false", "no", "0"}
# With a standby that commits wait for, these do not wait until it has the commit on its disk: a fail-over loses it.
_NOT_AT_THE_STANDBY = {"local", "remote_write"}
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
# Where pg_settings says that this connection has a value from: not to be mended by ALTER SYSTEM.
_OF_ROLE_OR_DATABASE = ("global", "database", "user", "database user")
_GIVEN_OUTSIDE = {
    "command line": "start the server without `-c {name}=off`",
    "environment variable": "start the server without {name} in its environment",
    "client": "take {name} out of the options in DATABASE_URL and config/settings.py",
}


def examine_database() -> list[Finding]:
    """PostgreSQL's durability, as this connection and as every role has it in this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting, source FROM pg_settings WHERE name = ANY(%s) AND source <> ALL(%s)",
            [list(_DURABLE), list(_OF_ROLE_OR_DATABASE)],  # these are listed below, for everybody
        )
        live = [("server", name, value, _mend(name, source)) for name, value, source in cursor.fetchall()]
        cursor.execute(
            """
            SELECT coalesce(r.rolname, 'every role') || ' in ' || coalesce(d.datname, 'every database'),
                   split_part(s.entry, '=', 1), split_part(s.entry, '=', 2),
                   'ALTER ROLE ' || coalesce(quote_ident(r.rolname), 'ALL')
                   || coalesce(' IN DATABASE ' || quote_ident(d.datname), '')
                   || ' RESET ' || split_part(s.entry, '=', 1) || '; -- and restart what is connected'
            FROM pg_db_role_setting c CROSS JOIN unnest(c.setconfig) AS s (entry)
            LEFT JOIN pg_roles r ON r.oid = c.setrole LEFT JOIN pg_database d ON d.oid = c.setdatabase
            WHERE d.datname IS NULL OR d.datname = current_database()
            """
        )
        overrides = cursor.fetchall()
        cursor.execute("SELECT current_setting('synchronous_standby_names') <> ''")
        (standby,) = cursor.fetchone()
        cursor.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u'")
        unlogged = [name for (name,) in cursor.fetchall()]
    findings = [
        Finding(
            f"P-{name.upper()}",
            where,
            f"{name} = {value}",
            "a crash of the database's machine loses committed orders",
            mend,
        )
        for where, name, value, mend in [*live, *overrides]
        if name in _DURABLE and value.lower() in (_OFF | _NOT_AT_THE_STANDBY if standby else _OFF)
    ]
    findings += [
        Finding(
            "P-UNLOGGED",
            table,
            "the table is UNLOGGED",
            "a crash of the database empties it",
            f"ALTER TABLE {table} SET LOGGED;",
        )
        for table in unlogged
    ]
    return findings + _clock()


def _mend(name: str, source: str) -> str:
    """How to switch on what this connection has off, from where it has it."""
    outside = _GIVEN_OUTSIDE.get(source, "").format(name=name)
    return outside or f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"


def _clock() -> list[Finding]:
    """Whether this machine's clock agrees with the database's. Time on the way is not held against it."""
    asked_at = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        database: float = cursor.fetchone()[0]
    answered_at = time.time()
    skew = max(asked_at - database, database - answered_at, 0.0)
    if skew <= SKEW_SECONDS:
        return []
    ahead = "ahead of" if asked_at > database else "behind"
    return [
        Finding(
            "P-CLOCK",
            "this machine",
            f"its clock is {skew:.1f} s {ahead} the database's",
            "no message is lost by it: leases and times go by the database's clock. But Celery may drop the call for "
            "the next shift as too old, so that the relay waits for beat's tick, and log lines do not fit together",
            "timedatectl set-ntp true (on both machines)",
            Severity.DEGRADED,
        )
    ]
