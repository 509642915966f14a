/** The light agent-server as a command: its sources, made into plain JavaScript once per run. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const SOURCES = fileURLToPath(new URL('./light-agent-server', import.meta.url));

/**
 * Writes the program below `directory`.
 * @returns the path of an executable file for `AGENT_SERVER_COMMAND`
 * @param real if given, a command for the sandboxes whose id begins with `realPrefix`: the real agent-server
 */
export function buildLightAgentServer(
  directory: string,
  real?: { command: string; realPrefix: string },
): string {
  const target = join(directory, 'light-agent-server');
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, 'package.json'), '{"type":"module"}');
  for (const name of readdirSync(SOURCES)) {
    const source = readFileSync(join(SOURCES, name), 'utf8');
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    writeFileSync(join(target, name.replace(/\.ts$/, '.js')), outputText);
  }
  const command = join(target, 'agent-server');
  const choice = real
    ? `case "$CALLBOARD_SANDBOX_ID" in ${real.realPrefix}*) exec ${real.command} "$@" ;; esac\n`
    : '';
  const light = `exec '${process.execPath}' --max-old-space-size=96 '${join(target, 'main.js')}' "$@"\n`;
  writeFileSync(command, `#!/bin/sh\n${choice}${light}`);
  chmodSync(command, 0o755);
  return command;
}
