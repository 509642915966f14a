"""Fills the database of the Python server with start tasks and conversations, while it runs.

    python seed.py DATABASE START_TASKS CONVERSATIONS SANDBOX...

The newest tenth of the conversations lives in the sandboxes given, the others in sandboxes that are gone. The newest
start task has place 0.
"""

import json
import sqlite3
import sys
import uuid
from datetime import datetime, timedelta, timezone

NOW = datetime.now(timezone.utc).replace(tzinfo=None)
REQUEST = json.dumps({"initial_message": {"role": "user", "content": [{"type": "text", "text": "Hello"}], "run": True}})


def time(ago):
    return (NOW - ago).strftime("%Y-%m-%d %H:%M:%S.%f")


def start_tasks(count):
    for place in range(count):
        # A letter in front: what looks like a number would be stored as one.
        key = "a" * 8 + f"{place:024x}"
        at = time(timedelta(seconds=20 * place))
        yield key, "READY", key, "gone", REQUEST, at, at


def conversations(count, sandboxes):
    for place in range(count):
        key = str(uuid.UUID("b" * 8 + f"{place:024x}"))
        sandbox = sandboxes[place % len(sandboxes)] if place < count // 10 else f"gone {place}"
        at = time(timedelta(minutes=place))
        title = f"A conversation about something {place}"
        yield key, "V1", sandbox, title, "gui", "[]", "{}", "openhands", 0.5, 100, 10, at, at


def insert(connection, table, columns, rows):
    places = ", ".join("?" for _ in columns.split(","))
    connection.executemany(f"insert into {table} ({columns}) values ({places})", rows)


def main(database, tasks, rows, *sandboxes):
    with sqlite3.connect(database, timeout=60) as connection:
        insert(
            connection,
            "app_conversation_start_task",
            "id, status, app_conversation_id, sandbox_id, request, created_at, updated_at",
            start_tasks(int(tasks)),
        )
        insert(
            connection,
            "conversation_metadata",
            'conversation_id, conversation_version, sandbox_id, title, "trigger", pr_number, tags, agent_kind, '
            "accumulated_cost, prompt_tokens, completion_tokens, created_at, last_updated_at",
            conversations(int(rows), sandboxes),
        )
        connection.execute("analyze")


main(*sys.argv[1:])
