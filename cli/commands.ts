import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Command } from './command.js';
import { createProgress } from './progress.js';
import { projectRoot } from './project-root.js';

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  up: {
    summary: 'run everything on this machine, with all that is missing',
    run: async ({ config, env }) => {
      const { runUpCommand } = await import('./up-command.js');
      await runUpCommand(await config(), env);
    },
  },
  test: {
    usage: '[arguments of vitest]',
    summary: 'check and test everything; the last line counts',
    raw: true,
    run: async ({ positionals, env }) => {
      const script = join(projectRoot(), 'scripts', 'test.mjs');
      return spawnSync(process.execPath, [script, ...positionals], { stdio: 'inherit', env }).status ?? 1;
    },
  },
  setup: {
    summary: 'fetch or build the Temporal CLI and the agent-server now',
    run: async ({ config, env }) => {
      const { runSetup } = await import('./setup.js');
      await runSetup({ config: await config(), env, progress: createProgress(process.stderr) });
    },
  },
  api: {
    summary: 'run the API alone (DATABASE_URL, TEMPORAL_ADDRESS)',
    run: async ({ config }) => {
      const { runApi } = await import('./serve.js');
      await runApi(await config());
    },
  },
  worker: {
    summary: 'run a worker alone; it owns the sandboxes of its machine',
    run: async ({ config, env }) => {
      const { runWorker } = await import('./serve.js');
      await runWorker(await config(), env);
    },
  },
  migrate: {
    summary: 'bring the database to the schema of this version',
    run: async ({ config }) => {
      const { runMigrations } = await import('./serve.js');
      await runMigrations(await config());
    },
  },
  start: {
    usage: '--message TEXT [--repo OWNER/NAME] [--branch NAME]',
    summary: 'start a conversation and follow it from the terminal',
    options: {
      message: {
        type: 'string',
        short: 'm',
        help: 'the first message; without it the conversation waits for one',
      },
      repo: { type: 'string', help: 'the repository to work on' },
      branch: { type: 'string', help: 'its branch; a new one is made from the default branch otherwise' },
      provider: { type: 'string', help: 'where the repository is: github, gitlab, bitbucket, …' },
      sandbox: { type: 'string', help: 'the id of a sandbox to start in' },
      url: { type: 'string', help: 'another instance than the one of this machine' },
    },
    run: async (input) => {
      const { startCommand } = await import('./client/commands.js');
      return startCommand(input);
    },
  },
  sandboxes: {
    usage: 'list | pause ID… | resume ID… | delete ID…',
    positionals: true,
    summary: 'look at sandboxes and give them orders',
    options: { url: { type: 'string', help: 'another instance than the one of this machine' } },
    run: async (input) => {
      const { sandboxesCommand } = await import('./client/commands.js');
      await sandboxesCommand(input);
    },
  },
  pool: {
    usage: '[list | recycle | drain | fill]',
    positionals: true,
    summary: 'look at the sandboxes that are kept warm; replace, empty or fill the pool',
    run: async (input) => {
      const { poolCommand } = await import('./pool-command.js');
      await poolCommand(input);
    },
  },
  keys: {
    usage: 'list | rotate | rewrap | remove ID',
    positionals: true,
    summary: 'look at the master keys, make a new one, seal stored secrets anew, take an old one away',
    options: { force: { type: 'boolean', help: 'remove a key without looking whether something needs it' } },
    run: async (input) => {
      const { keysCommand } = await import('./keys/keys-command.js');
      return keysCommand(input);
    },
  },
  doctor: {
    usage: '[--repair] [--json]',
    summary: 'check this installation, say what to do, and print the settings in force',
    options: {
      repair: { type: 'boolean', help: 'put right what can be: files, index, rows and workflows' },
      json: { type: 'boolean', help: 'findings and all settings as JSON' },
    },
    run: async (input) => {
      const { doctorCommand } = await import('./doctor/command.js');
      return doctorCommand(input);
    },
  },
  reindex: {
    usage: '[--conversation ID] [--check] [--from-start]',
    summary: 'bring the index of the events to what their files say',
    options: {
      conversation: { type: 'string', help: 'only this one' },
      check: { type: 'boolean', help: 'say what would be done, and change nothing' },
      'from-start': { type: 'boolean', help: 'begin anew although an earlier run was interrupted' },
    },
    run: async (input) => {
      const { reindexCommand } = await import('./doctor/command.js');
      return reindexCommand(input);
    },
  },
  import: {
    usage: '--from DIR|URL [--files DIR] [--user ID] [--overwrite] [--dry-run]',
    summary: 'take over conversations, settings and secrets of a Python server',
    options: {
      from: { type: 'string', help: 'its data directory, or the postgresql:// address of its database' },
      files: { type: 'string', help: 'with an address: its data directory' },
      user: { type: 'string', help: 'whose everything becomes that has no owner there' },
      overwrite: { type: 'boolean', help: 'replace settings, secrets and tokens that are here already' },
      'dry-run': { type: 'boolean', help: 'say what would be taken, and change nothing' },
    },
    run: async (input) => {
      const { importCommand } = await import('./import/command.js');
      return importCommand(input);
    },
  },
};
