/**
 * `npm run chaos`: the product as it is deployed, its users at work, and everything it stands on killed and frozen at
 * random; then what everybody was told is held against what is there. See docs/reliability.md.
 */
import { ensureAgentServer } from '../../cli/provision/agent-server.js';
import { ensureTemporalCli } from '../../cli/provision/temporal-cli.js';
import { PINNED_AGENT_SERVER } from '../../config/schema.js';
import { readOptions } from './options.js';
import { runChaos } from './run.js';

const note = (line: string): void => void process.stderr.write(`${line}\n`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const options = readOptions(process.argv.slice(2));
const { env } = process;
const temporalCli = await ensureTemporalCli({ env, note });
const realAgentServer =
  options.real === 0
    ? null
    : await ensureAgentServer({
        env,
        version: PINNED_AGENT_SERVER,
        command: env['AGENT_SERVER_COMMAND']?.split(' ') ?? null,
        note,
      });
const { report, violations, directory } = await runChaos(options, {
  temporalCli,
  realAgentServer: realAgentServer?.join(' ') ?? null,
  note,
});
process.stdout.write(`\n${report}`);
if (directory !== null) note(`kept: ${directory}`);
process.exitCode = violations.length === 0 ? 0 : 1;
