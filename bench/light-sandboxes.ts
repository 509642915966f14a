/** Sandboxes that cost next to nothing: a sleeping process each, and one process that answers for all of them. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { buildLightAgentServer } from '../tests/support/light-agent-server.js';

/** From the program's place in the sources to that of the files it is made of. */
const LIGHT_SERVER = '../../tests/support/light-agent-server/';
const MAIN = fileURLToPath(new URL('./light-host/main.ts', import.meta.url));

export interface LightSandboxes {
  /** For `AGENT_SERVER_COMMAND`. */
  command: string;
  pid: number;
  close(): Promise<void>;
}

/**
 * Starts the process that answers. The command is a shell that tells it what it has to know in one line, which is
 * written whole, and then sleeps for as long as its sandbox lives.
 */
export async function startLightSandboxes(): Promise<LightSandboxes> {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-light-'));
  const program = join(buildLightAgentServer(directory), '..');
  const { outputText } = ts.transpileModule(readFileSync(MAIN, 'utf8'), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  writeFileSync(join(program, 'host.js'), outputText.replaceAll(LIGHT_SERVER, './'));
  const pipe = join(directory, 'sandboxes');
  execFileSync('mkfifo', [pipe]);
  const host = spawn(process.execPath, [join(program, 'host.js'), pipe], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: directory, // against which it reads relative paths of workspaces
  });
  await once(host.stdout, 'data');
  const command = join(directory, 'agent-server');
  writeFileSync(
    command,
    `#!/bin/sh
port=8000
while [ $# -gt 0 ]; do
  case "$1" in --port) port=$2; shift ;; --port=*) port=\${1#--port=} ;; esac
  shift
done
read -r configuration <"$OPENHANDS_AGENT_SERVER_CONFIG_PATH"
printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' $$ "$port" "$OH_CONVERSATIONS_PATH" "$OH_BASH_EVENTS_DIR" \\
  "$OH_WEBHOOKS_0_BASE_URL" "$configuration" >'${pipe}'
exec sleep 2147483647
`,
  );
  chmodSync(command, 0o755);
  return {
    command,
    pid: host.pid ?? 0,
    async close() {
      const ended = once(host, 'exit');
      host.kill('SIGTERM');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
