/** An instance without sign-in, and `callboard import` beside it, on a directory and a database of their own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { runImport } from '../../../cli/import/command.js';
import { createProgress } from '../../../cli/progress.js';
import { loadConfig } from '../../../config/config.js';
import { MASTER_KEY, startIdentityServer } from '../identity-server.js';
import type { RecordedVersion } from './recorded-installation.js';

export type ImportWorld = Awaited<ReturnType<typeof openImportWorld>>;

export async function openImportWorld() {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-import-'));
  const server = await startIdentityServer({ OH_PERSISTENCE_DIR: directory });
  const config = loadConfig({
    env: { OH_PERSISTENCE_DIR: directory, DATABASE_URL: server.database.url, JWT_SECRET: MASTER_KEY },
  });
  return {
    directory,
    /** Runs the command; what it said is one text. */
    async take(given: {
      from: string;
      files?: string;
      user?: string;
      overwrite?: boolean;
      dryRun?: boolean;
    }) {
      const said: string[] = [];
      const status = await runImport({
        config,
        files: undefined,
        overwrite: false,
        dryRun: false,
        sourceSecret: null,
        ...given,
        user: given.user ?? null,
        progress: createProgress({ write: (text: string) => void said.push(text) }),
        print: (line) => void said.push(`${line}\n`),
        signal: new AbortController().signal,
      });
      return { status, said: said.join('') };
    },
    async get<Body = Record<string, unknown>>(path: string): Promise<Body> {
      const response = await fetch(`${server.url}/api/v1/${path}`);
      expect(response.status, path).toBe(200);
      return (await response.json()) as Body;
    },
    post: (path: string, body: unknown) =>
      fetch(`${server.url}/api/v1/${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Sec-Fetch-Site': 'same-origin' },
        body: JSON.stringify(body),
      }),
    server,
    async close() {
      await server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface Items {
  items: Record<string, unknown>[];
}

/** Members of a table's row in what the command said. */
export function counted(said: string, kind: string): number[] {
  const row = said.split('\n').find((line) => line.trim().startsWith(kind)) ?? '';
  return row.trim().slice(kind.length).trim().split(/\s+/).map(Number);
}

export const digitsOf = (version: RecordedVersion): string => (version === '1.11.0' ? '111' : '062');
/** An id as `write-installation.py` makes it: `c` for conversations, `e` for events, `a` for starts. */
export const recordedId = (kind: string, version: RecordedVersion, number: number): string =>
  `${kind}${digitsOf(version)}000${number}`.padEnd(32, '0');

/** Everything that the recorded installations keep secret. */
export const SECRETS =
  /sk-marked|tvly-marked|marked-mcp|ghp_marked|glpat-marked|sso-marked|marked-secret|other-secret/;
