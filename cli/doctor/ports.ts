/** Whether the ports of sandboxes are theirs alone, or the system gives them to outgoing connections as well. */
import { readFile } from 'node:fs/promises';
import type { Config } from '../../config/config.js';
import type { Report } from './finding.js';

/** Two numbers: the first and the last port that an outgoing connection may get. Only Linux has it. */
const LOCAL_PORTS = '/proc/sys/net/ipv4/ip_local_port_range';

/** @param localPorts the file that holds the range of the system; its own if left out */
export async function checkPorts(
  { sandboxes }: Pick<Config, 'sandboxes'>,
  report: Report,
  localPorts = LOCAL_PORTS,
): Promise<void> {
  if (sandboxes.runtime !== 'process') return;
  const theirs = await readRange(localPorts);
  if (!theirs) return;
  const ours = sandboxes.portRange;
  const overlap = ours.first <= theirs.last && theirs.first <= ours.last;
  const [range, others] = [ours, theirs].map(({ first, last }) => `${first}-${last}`);
  report({
    level: overlap ? 'note' : 'ok',
    about: 'ports',
    text: overlap
      ? `sandboxes get theirs from ${range}, and outgoing connections of any program from ${others}: a port may be taken before its agent-server has it`
      : `sandboxes get theirs from ${range}, outgoing connections from ${others}`,
    ...(overlap ? { todo: `set CALLBOARD_PORT_RANGE to a range outside of ${others}` } : {}),
  });
}

/** Null where the system does not say it: another system, or a container that hides it. */
async function readRange(path: string): Promise<{ first: number; last: number } | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [first, last] = text.trim().split(/\s+/).map(Number);
  return first && last ? { first, last } : null;
}
