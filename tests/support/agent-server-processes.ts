import { readdirSync, readFileSync } from 'node:fs';

/** Processes of this machine that are agent-servers of a sandbox. */
export function agentServersOf(sandboxId: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const read = (file: string) => {
        try {
          return readFileSync(`/proc/${pid}/${file}`, 'utf8');
        } catch {
          return ''; // it ended while we looked
        }
      };
      return (
        read('cmdline').includes('openhands.agent_server') &&
        read('environ').split('\0').includes(`CALLBOARD_SANDBOX_ID=${sandboxId}`)
      );
    });
}
