"""Writes a small installation of the Python server, with the server's own classes, for the tests of `callboard import`.

    write-installation.py DIRECTORY

With DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASS set, its rows go to that PostgreSQL instead of SQLite, into the tables
that the statements of `postgres.sql` have made there before: on an empty database the server's own migrations fail.

Run it with a Python in which one version of openhands-ai is installed (see README.md beside the recorded
installations). Everything in it is made up; keys and tokens are marked and worth nothing.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

OUT = Path(sys.argv[1]).resolve()
DATA = OUT / 'data'
shutil.rmtree(OUT, ignore_errors=True)
DATA.mkdir(parents=True)
os.environ['OH_PERSISTENCE_DIR'] = str(DATA)
os.environ['FILE_STORE_PATH'] = str(DATA)
os.environ.pop('JWT_SECRET', None)
IN_POSTGRES = 'DB_HOST' in os.environ

VERSION = version('openhands-ai')
IS_1_11 = VERSION.startswith('1.')

from openhands.app_server.app_conversation.app_conversation_models import (  # noqa: E402
    AppConversationInfo,
    AppConversationStartRequest,
    AppConversationStartTask,
    AppConversationStartTaskStatus,
)
from openhands.app_server.app_conversation.sql_app_conversation_info_service import (  # noqa: E402
    SQLAppConversationInfoService,
    StoredConversationMetadata,
)
from openhands.app_server.app_conversation.sql_app_conversation_start_task_service import (  # noqa: E402
    SQLAppConversationStartTaskService,
)
from openhands.app_server.app_lifespan.oss_app_lifespan_service import OssAppLifespanService  # noqa: E402
from openhands.app_server.config import get_global_config  # noqa: E402
from openhands.app_server.event.filesystem_event_service import FilesystemEventService  # noqa: E402
from openhands.app_server.event_callback.event_callback_models import (  # noqa: E402
    CreateEventCallbackRequest,
    LoggingCallbackProcessor,
)
from openhands.app_server.event_callback.set_title_callback_processor import (  # noqa: E402
    SetTitleCallbackProcessor,
)
from openhands.app_server.event_callback.sql_event_callback_service import (  # noqa: E402
    SQLEventCallbackService,
    StoredEventCallback,
)
from openhands.app_server.user.specifiy_user_context import SpecifyUserContext  # noqa: E402
from openhands.sdk.event import ConversationStateUpdateEvent, MessageEvent, PauseEvent  # noqa: E402
from openhands.sdk.llm import Message, MetricsSnapshot, TextContent  # noqa: E402
from openhands.sdk.llm.utils.metrics import TokenUsage  # noqa: E402

if IS_1_11:
    from openhands.app_server.app_conversation.app_conversation_models import ConversationTrigger
    from openhands.app_server.integrations.provider import CustomSecret, ProviderToken
    from openhands.app_server.integrations.service_types import ProviderType
    from openhands.app_server.pending_messages.pending_message_service import SQLPendingMessageService
    from openhands.app_server.secrets.file_secrets_store import FileSecretsStore
    from openhands.app_server.secrets.secrets_models import Secrets
    from openhands.app_server.settings.file_settings_store import FileSettingsStore
    from openhands.app_server.settings.settings_models import Settings
else:
    from openhands.integrations.provider import CustomSecret, ProviderToken
    from openhands.integrations.service_types import ProviderType
    from openhands.storage.conversation.file_conversation_store import FileConversationStore
    from openhands.storage.data_models.conversation_metadata import ConversationMetadata, ConversationTrigger
    from openhands.storage.data_models.secrets import Secrets
    from openhands.storage.data_models.settings import Settings
    from openhands.storage.local import LocalFileStore
    from openhands.storage.secrets.file_secrets_store import FileSecretsStore
    from openhands.storage.settings.file_settings_store import FileSettingsStore

MARK = '1.11' if IS_1_11 else '0.62'
DIGITS = '111' if IS_1_11 else '062'
START = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def uid(kind: str, number: int) -> UUID:
    """The same ids in each run, other ones for each version."""
    return UUID(f'{kind}{DIGITS}{number:04x}'.ljust(32, '0'))


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


PARENT, CHILD, OWNED, OLD = (uid('c', number) for number in range(1, 5))


def message(number: int, source: str, text: str) -> MessageEvent:
    return MessageEvent(
        id=str(uid('e', number)),
        timestamp=at(number).replace(tzinfo=None).isoformat(),
        source=source,
        llm_message=Message(
            role='user' if source == 'user' else 'assistant',
            content=[TextContent(text=text)],
        ),
    )


async def write_conversations(session) -> None:
    service = SQLAppConversationInfoService(
        db_session=session, user_context=SpecifyUserContext(user_id=None)
    )
    more = {'tags': {'team': f'blue-{DIGITS}'}, 'public': True} if IS_1_11 else {}
    await service.save_app_conversation_info(
        AppConversationInfo(
            id=PARENT,
            created_by_user_id=None,
            sandbox_id=f'oh-agent-server-marked{DIGITS}',
            selected_repository='acme/stage',
            selected_branch='main',
            git_provider=ProviderType.GITHUB,
            title=f'Marked conversation of {MARK}',
            trigger=ConversationTrigger.GUI,
            pr_number=[7, 12],
            llm_model=f'openai/marked-{DIGITS}',
            metrics=MetricsSnapshot(
                accumulated_cost=1.25,
                max_budget_per_task=4.5,
                accumulated_token_usage=TokenUsage(
                    prompt_tokens=100, completion_tokens=20, cache_read_tokens=3, context_window=4096
                ),
            ),
            created_at=at(0),
            updated_at=at(9),
            **more,
        )
    )
    child = {'parent_conversation_id': PARENT} if IS_1_11 else {}
    await service.save_app_conversation_info(
        AppConversationInfo(
            id=CHILD,
            created_by_user_id=None,
            sandbox_id=f'oh-agent-server-marked{DIGITS}',
            title=f'Second conversation of {MARK}',
            created_at=at(1),
            updated_at=at(2),
            **child,
        )
    )
    owner = 'user-of-the-old-server'
    service = SQLAppConversationInfoService(
        db_session=session, user_context=SpecifyUserContext(user_id=owner)
    )
    await service.save_app_conversation_info(
        AppConversationInfo(
            id=OWNED,
            created_by_user_id=owner,
            sandbox_id=f'oh-agent-server-owned{DIGITS}',
            title=f'Owned conversation of {MARK}',
            created_at=at(3),
            updated_at=at(4),
        )
    )
    # What the server of the first generation left in the same table.
    legacy = {} if IS_1_11 else {'user_id': ''}
    session.add(
        StoredConversationMetadata(
            conversation_id=OLD.hex,
            conversation_version='V0',
            title='A conversation of the first generation',
            created_at=at(5),
            last_updated_at=at(5),
            pr_number=[],
            **legacy,
        )
    )
    await session.commit()


async def write_starts(session) -> None:
    service = SQLAppConversationStartTaskService(session)
    request = AppConversationStartRequest(
        initial_message=None,
        selected_repository='acme/stage',
        selected_branch='main',
        git_provider=ProviderType.GITHUB,
        title=f'Marked conversation of {MARK}',
        **({'secrets': {'START_SECRET': 'marked-start-secret'}} if IS_1_11 else {}),
    )
    Status = AppConversationStartTaskStatus
    tasks = [
        (1, Status.READY, None, PARENT),
        (2, Status.ERROR, 'Sandbox failed to start within 120s', None),
        (3, Status.WAITING_FOR_SANDBOX, None, None),
    ]
    for number, status, detail, conversation in tasks:
        await service.save_app_conversation_start_task(
            AppConversationStartTask(
                id=uid('a', number),
                created_by_user_id=None,
                status=status,
                detail=detail,
                app_conversation_id=conversation,
                sandbox_id=f'oh-agent-server-marked{DIGITS}' if conversation else None,
                agent_server_url='http://localhost:45001' if conversation else None,
                request=request,
                created_at=at(number),
                updated_at=at(number + 1),
            )
        )


async def write_callbacks(session, session_maker) -> None:
    service = (
        SQLEventCallbackService(async_session_maker=session_maker)
        if IS_1_11
        else SQLEventCallbackService(db_session=session)
    )
    for processor in (SetTitleCallbackProcessor(), LoggingCallbackProcessor()):
        await service.create_event_callback(
            CreateEventCallbackRequest(conversation_id=PARENT, processor=processor)
        )
    assert StoredEventCallback.__tablename__ == 'event_callback'


async def write_events(session) -> None:
    events = {
        PARENT: [
            message(1, 'user', f'Marked question to {MARK}: ünïcode 🎭'),
            message(2, 'agent', f'Marked answer of {MARK}'),
            ConversationStateUpdateEvent(
                id=str(uid('e', 3)), timestamp=at(3).replace(tzinfo=None).isoformat(),
                key='execution_status', value='idle',
            ),
            PauseEvent(id=str(uid('e', 4)), timestamp=at(4).replace(tzinfo=None).isoformat()),
            ConversationStateUpdateEvent(
                id=str(uid('e', 5)), timestamp=at(5).replace(tzinfo=None).isoformat(),
                key='full_state', value={'execution_status': 'idle'},
            ),
        ],
        CHILD: [message(6, 'user', f'Second question to {MARK}')],
        OWNED: [message(7, 'user', f'Owned question to {MARK}')],
    }
    for conversation, of_it in events.items():
        owner = 'user-of-the-old-server' if conversation == OWNED else None
        info = SQLAppConversationInfoService(
            db_session=session, user_context=SpecifyUserContext(user_id=owner)
        )
        service = (
            FilesystemEventService(
                prefix=get_global_config().persistence_dir,
                user_id=owner,
                app_conversation_info_service=info,
                app_conversation_info_load_tasks={},
            )
            if IS_1_11
            else FilesystemEventService(
                app_conversation_info_service=info,
                events_dir=get_global_config().persistence_dir / 'v1' / 'events',
            )
        )
        for event in of_it:
            await service.save_event(conversation, event)


async def write_settings() -> None:
    common = {
        'language': 'de',
        'enable_sound_notifications': True,
        'git_user_name': 'Marked Name',
        'git_user_email': 'marked@example.com',
        'search_api_key': f'tvly-marked-search-key-{DIGITS}',
        'max_budget_per_task': 3.5,
    }
    if IS_1_11:
        llm = {
            'model': 'openai/marked-model',
            'api_key': 'sk-marked-llm-key-111',
            'base_url': 'https://llm.example.com/v1',
        }
        settings = Settings(
            **common,
            disabled_skills=['noisy'],
            agent_settings={
                'llm': llm,
                'mcp_config': {
                    'mcpServers': {
                        'notes': {'url': 'https://mcp.example.com/mcp', 'auth': 'marked-mcp-key-111'},
                        'files': {'command': 'uvx', 'args': ['files'], 'env': {'TOKEN': 'marked-mcp-env-111'}},
                    }
                },
            },
            conversation_settings={'max_iterations': 77, 'confirmation_mode': True},
            sandbox_grouping_strategy='GROUP_BY_NEWEST',
            llm_profiles={'profiles': {'Main': llm, 'Small': {'model': 'openai/small'}}, 'active': 'Main'},
            registered_marketplaces=[{'name': 'team', 'source': 'github:acme/skills'}],
        )
        store = FileSettingsStore(get_global_config().file_store)
        secrets = FileSecretsStore(get_global_config().file_store)
    else:
        settings = Settings(
            **common,
            agent='CodeActAgent',
            max_iterations=77,
            confirmation_mode=True,
            llm_model='openai/marked-model',
            llm_api_key='sk-marked-llm-key-062',
            llm_base_url='https://llm.example.com/v1',
            condenser_max_size=120,
            mcp_config={
                'sse_servers': [],
                'stdio_servers': [{'name': 'files', 'command': 'uvx', 'args': ['files'], 'env': {'TOKEN': 'marked-mcp-env-062'}}],
                'shttp_servers': [{'url': 'https://mcp.example.com/mcp', 'api_key': 'marked-mcp-key-062'}],
            },
        )
        file_store = LocalFileStore(str(DATA))
        store = FileSettingsStore(file_store)
        secrets = FileSecretsStore(file_store)
        await FileConversationStore(file_store).save_metadata(
            ConversationMetadata(
                conversation_id=OLD.hex,
                selected_repository=None,
                title='A conversation of the first generation',
                created_at=at(5),
                last_updated_at=at(5),
            )
        )
    await store.store(settings)
    await secrets.store(
        Secrets(
            provider_tokens={
                ProviderType.GITHUB: ProviderToken(token=f'ghp_markedGithubToken{DIGITS}', user_id='42'),
                ProviderType.GITLAB: ProviderToken(token=f'glpat-markedGitlabToken{DIGITS}', host='gitlab.example.com'),
                ProviderType.ENTERPRISE_SSO: ProviderToken(token=f'sso-marked-token-{DIGITS}'),
            },
            custom_secrets={
                'MARKED_SECRET': CustomSecret(
                    secret=f'marked-secret-value-{DIGITS}', description='A marked secret'
                ),
                'OTHER_SECRET': CustomSecret(secret=f'other-secret-value-{DIGITS}'),
            },
        )
    )


def write_sealed() -> None:
    """Values as the server encrypts them with its key file."""
    jwt = get_global_config().jwt.get_jwt_service()
    sealed = {'jwe': jwt.create_jwe_token({'v': f'marked-sealed-value-{DIGITS}'})}
    if IS_1_11:
        from base64 import b64encode
        from hashlib import sha256

        from cryptography.fernet import Fernet

        secret = jwt.get_key(jwt.default_key_id).key.get_secret_value()
        fernet = Fernet(b64encode(sha256(secret.encode()).digest()))
        token = fernet.encrypt(b'marked-fernet-value').decode()
        assert jwt.decrypt_value(token) == 'marked-fernet-value'
        sealed['fernet'] = token
        sealed['fernet_base64'] = b64encode(token.encode()).decode()
    (OUT / 'sealed.json').write_text(json.dumps(sealed, indent=2) + '\n')


def write_wal() -> None:
    """A database in WAL mode as a server that was killed leaves it: the newest rows are in the log only."""
    directory = OUT / 'wal'
    directory.mkdir()
    live = OUT / 'live.db'
    connection = sqlite3.connect(live)
    connection.executescript('pragma page_size=512; pragma journal_mode=wal; pragma wal_autocheckpoint=0;')
    connection.execute('create table notes (id integer primary key, text text)')
    connection.commit()
    connection.execute('pragma wal_checkpoint(truncate)')
    connection.execute("insert into notes (text) values ('committed in the log')")
    connection.executemany('insert into notes (text) values (?)', [('x' * 300,)] * 8)
    connection.commit()
    connection.execute("update notes set text = 'changed in the log' where id = 2")
    connection.commit()
    shutil.copy(live, directory / 'openhands.db')
    shutil.copy(f'{live}-wal', directory / 'openhands.db-wal')
    connection.close()
    for suffix in ('', '-wal', '-shm'):
        Path(f'{live}{suffix}').unlink(missing_ok=True)


# The server's second migration uses this type and does not make it: whoever has the server run on PostgreSQL has made it.
MISSING_TYPE = "CREATE TYPE eventcallbackstatus AS ENUM ('ACTIVE', 'DISABLED', 'COMPLETED', 'ERROR')"


def write_postgres_schema() -> None:
    """The statements with which the server's migrations make its tables in PostgreSQL."""
    from alembic import command
    from alembic.config import Config

    import openhands.app_server.app_lifespan.oss_app_lifespan_service as lifespan

    directory = Path(lifespan.__file__).parent / 'alembic'
    text = io.StringIO()
    config = Config(str(directory / 'alembic.ini'), output_buffer=text)
    config.set_main_option('script_location', str(directory))
    get_global_config().db_session.host = 'localhost'
    with contextlib.redirect_stdout(io.StringIO()):
        command.upgrade(config, 'head', sql=True)
    get_global_config().db_session.host = None
    (OUT / 'postgres.sql').write_text(f'{MISSING_TYPE};\n\n{text.getvalue().strip()}\n')


async def main() -> None:
    config = get_global_config()
    OssAppLifespanService().run_alembic()
    session_maker = await config.db_session.get_async_session_maker()
    async with session_maker() as session:
        await write_conversations(session)
        await write_starts(session)
        await write_callbacks(session, session_maker)
        await write_events(session)
        if IS_1_11:
            await SQLPendingMessageService(db_session=session).add_message(
                conversation_id=str(PARENT), content=[TextContent(text='A message that still waits')]
            )
            await session.commit()
    await write_settings()
    write_sealed()
    if IS_1_11:
        write_wal()
    if IN_POSTGRES:
        return
    write_postgres_schema()
    # Fewer bytes to keep; the content stays as the server wrote it.
    with contextlib.closing(sqlite3.connect(DATA / 'openhands.db')) as database:
        database.execute('pragma page_size=512')
        database.execute('vacuum')


asyncio.run(main())
print(f'wrote an installation of openhands-ai {VERSION} to {OUT}')
