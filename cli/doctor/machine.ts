/** This machine and the data directory, as far as Callboard depends on them. */
import { access, constants, open, rm, stat, statfs } from 'node:fs/promises';
import { arch, freemem, platform, release, totalmem, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Config } from '../../config/config.js';
import { PINNED_AGENT_SERVER } from '../../config/schema.js';
import { isAgentServerInstalled } from '../provision/agent-server.js';
import { hasCode, messageOf } from '../user-error.js';
import type { Report } from './finding.js';

const MB = 1024 * 1024;
/** Below this much room a day of work may not fit any more, and below the other nothing does. */
const LITTLE_ROOM = 2_048 * MB;
const NO_ROOM = 200 * MB;

export async function checkMachine(config: Config, env: NodeJS.ProcessEnv, report: Report): Promise<void> {
  const { username, uid } = userInfo();
  report({
    level: 'ok',
    about: 'machine',
    text: `${platform()} ${release()} ${arch()}, Node.js ${process.versions.node}, user ${username} (${uid}), ${Math.round(freemem() / MB)} of ${Math.round(totalmem() / MB)} MB memory free`,
  });
  await checkDirectory(config.data.directory, report);
  await checkRoom(config.data.directory, report);
  await checkAgentServer(config, env, report);
}

async function checkDirectory(directory: string, report: Report): Promise<void> {
  const about = 'data directory';
  try {
    const probe = join(directory, `.doctor-${process.pid}`);
    const file = await open(probe, 'wx', 0o600);
    try {
      await file.writeFile('x');
      await file.sync();
    } finally {
      await file.close();
      await rm(probe, { force: true });
    }
    const { mode } = await stat(directory);
    const open_ = (mode & 0o007) !== 0;
    report({
      level: open_ ? 'note' : 'ok',
      about,
      text: `${directory} can be written${open_ ? ', and other users of this machine may look into it' : ''}`,
      ...(open_ ? { todo: `chmod o-rwx ${directory}` } : {}),
    });
  } catch (err) {
    const isMissing = hasCode(err, 'ENOENT');
    report({
      level: isMissing ? 'note' : 'problem',
      about,
      text: `${directory} ${isMissing ? 'is not there yet' : `cannot be written (${messageOf(err)})`}`,
      todo: isMissing
        ? 'start Callboard, or set OH_PERSISTENCE_DIR to the right one'
        : `let ${userInfo().username} write there, or free space on its disk`,
    });
  }
}

async function checkRoom(directory: string, report: Report): Promise<void> {
  try {
    const { bavail, bsize, ffree } = await statfs(directory);
    const room = bavail * bsize;
    const level = room < NO_ROOM || ffree === 0 ? 'problem' : room < LITTLE_ROOM ? 'note' : 'ok';
    report({
      level,
      about: 'disk',
      text: `${Math.round(room / MB)} MB are free below the data directory${ffree === 0 ? ', and no file more can be made' : ''}`,
      ...(level === 'ok'
        ? {}
        : {
            todo: 'free space: ./callboard sandboxes list shows what may be deleted; events are refused when it is full',
          }),
    });
  } catch (err) {
    if (!hasCode(err, 'ENOENT')) throw err; // said already
  }
}

async function checkAgentServer(config: Config, env: NodeJS.ProcessEnv, report: Report): Promise<void> {
  const about = 'agent-server';
  const { command, version } = config.agentServer;
  if (!command) {
    const differs = version !== PINNED_AGENT_SERVER;
    const tested = differs ? `; this version was tested with ${PINNED_AGENT_SERVER}` : '';
    const isInstalled = isAgentServerInstalled(env, version);
    report({
      level: differs || !isInstalled ? 'note' : 'ok',
      about,
      text: `version ${version}${isInstalled ? ', installed by Callboard' : ' is not installed for this user yet'}${tested}`,
      ...(isInstalled
        ? {}
        : {
            todo: './callboard setup installs it; otherwise the next up or worker does, which takes minutes',
          }),
    });
    return;
  }
  const program = command[0] ?? '';
  const candidates = program.includes('/')
    ? [program]
    : (env.PATH ?? '').split(delimiter).map((directory) => join(directory, program));
  const runs = await Promise.all(candidates.map(isRunnable));
  const found = runs.includes(true);
  report({
    level: found ? 'ok' : 'problem',
    about,
    text: `${program} ${found ? 'can be run' : 'is not a program that can be run'}`,
    ...(found ? {} : { todo: 'correct AGENT_SERVER_COMMAND, or leave it out to have one installed' }),
  });
}

const isRunnable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
