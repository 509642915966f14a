import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UserError, messageOf } from '../user-error.js';

/**
 * The account PostgreSQL runs as. It refuses to run as root; a root installation therefore uses a
 * system account, which in turn cannot enter `/root` (mode 700), where data and programs usually are.
 */
export interface PostgresAccount {
  uid: number;
  gid: number;
}

const OWN_ACCOUNT = 'callboard';

/**
 * The account to use: none (undefined) unless we are root, then the owner of what is there already,
 * else a system account, made when there is none.
 */
export function choosePostgresAccount(existingCluster: string): PostgresAccount | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const owner = statSync(existingCluster, { throwIfNoEntry: false });
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  return lookUp(OWN_ACCOUNT) ?? create() ?? lookUp('postgres') ?? lookUp('nobody') ?? refuse();
}

/**
 * Wraps a command so that it runs as `account`. Below directories that account may not enter it
 * keeps one capability, reading and entering any directory, and nothing else. `no_setuid_fixup` lets
 * access(2) count that capability too: initdb looks for its programs with it.
 */
export function runAs(
  account: PostgresAccount | undefined,
  paths: readonly string[],
  command: string,
  args: readonly string[],
): { command: string; args: string[] } {
  if (!account) return { command, args: [...args] };
  const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
  const capability = paths.every(openToAll)
    ? []
    : [
        '--securebits=+no_setuid_fixup',
        '--inh-caps=-all,+dac_override',
        '--ambient-caps=-all,+dac_override',
        '--bounding-set=-all,+dac_override',
      ];
  return { command: 'setpriv', args: [...identity, ...capability, '--', command, ...args] };
}

/** Whether everybody may walk down to this path. */
function openToAll(path: string): boolean {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    if ((statSync(dir).mode & 0o001) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}

function lookUp(name: string): PostgresAccount | undefined {
  try {
    const id = (flag: string): number =>
      Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
    return { uid: id('-u'), gid: id('-g') };
  } catch (err) {
    if (err instanceof Error && 'status' in err) return undefined; // no such account
    throw err;
  }
}

function create(): PostgresAccount | undefined {
  try {
    execFileSync(
      'useradd',
      [
        '--system',
        '--user-group',
        '--no-create-home',
        '--home-dir=/nonexistent',
        '--shell=/usr/sbin/nologin',
        OWN_ACCOUNT,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  } catch (err) {
    // No useradd, a read-only /etc, or another start made the account just now: the look-up tells.
    process.emitWarning(`useradd ${OWN_ACCOUNT}: ${messageOf(err).split('\n')[0] ?? ''}`, {
      code: 'CALLBOARD_ACCOUNT',
    });
  }
  return lookUp(OWN_ACCOUNT);
}

function refuse(): never {
  throw new UserError(
    'PostgreSQL cannot run as root and no other account could be made: run callboard as an ordinary user, or give it a database in DATABASE_URL.',
  );
}
