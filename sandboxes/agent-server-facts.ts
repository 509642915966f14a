/**
 * What an agent-server tells of itself, kept over restarts of the worker: it is the same for all sandboxes of an
 * installation, and the question costs a fresh agent-server a second and a half of importing.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { z } from 'zod';
import { installedProgram } from './installed-program.js';
import { errorCode } from './process-identity.js';
import { resolveCommand } from './process-launch.js';

export interface AgentServerFacts {
  version: string;
  /** Names of the tools that it can use here. */
  usableTools: string[];
}

/** Facts of an earlier worker. */
export interface KeptFacts {
  /** Null when there are none that hold for what is installed now. */
  read(specId: string): Promise<AgentServerFacts | null>;
  keep(specId: string, facts: AgentServerFacts): Promise<void>;
}

export interface KeptFactsSettings {
  file: string;
  command: string;
  /** Variables by which sandboxes differ from what this process has. */
  environment: Record<string, string>;
}

/** What no file's time shows is asked anew after a day, in milliseconds. */
const MAX_AGE_MS = 24 * 3_600_000;

const Stored = z.object({
  key: z.string(),
  at: z.number(),
  facts: z.object({ version: z.string(), usableTools: z.array(z.string()) }),
});

/** Of installations of ours only: of another command nobody knows what it runs. */
export function keptFacts({ file, command, environment }: KeptFactsSettings): KeptFacts {
  /**
   * Changes with the installation, and with every directory in which a tool looks for its program: installing a
   * browser, or removing one, changes the time of the directory it is in.
   */
  const keyOf = async (specId: string): Promise<string | null> => {
    const argv = await resolveCommand(command);
    const program = await installedProgram(argv);
    if (program === null) return null;
    const path = environment['PATH'] ?? process.env['PATH'] ?? '';
    const [executable = ''] = argv;
    const packages = dirname(dirname(dirname(program)));
    const programs = join(dirname(dirname(executable)), 'venv', 'bin');
    const places = [executable, program, packages, programs, '/usr/bin', ...path.split(delimiter)];
    const seen = await Promise.all(places.map(async (place) => [place, await stateOf(place)]));
    const parts = JSON.stringify([specId, Object.entries(environment).sort(), seen]);
    return createHash('sha256').update(parts).digest('hex');
  };

  return {
    async read(specId) {
      const text = await readFile(file, 'utf8').catch((error: unknown) => {
        if (errorCode(error) === 'ENOENT') return null;
        throw error;
      });
      if (text === null) return null;
      const stored = Stored.safeParse(parsed(text));
      if (!stored.success || Date.now() - stored.data.at > MAX_AGE_MS) return null;
      return stored.data.key === (await keyOf(specId)) ? stored.data.facts : null;
    },

    async keep(specId, facts) {
      const key = await keyOf(specId);
      if (key === null) return;
      const stored: z.infer<typeof Stored> = { key, at: Date.now(), facts };
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(`${file}.new`, JSON.stringify(stored), { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
  };
}

async function stateOf(place: string): Promise<(number | string)[]> {
  try {
    const { mtimeMs, ino, size } = await stat(place);
    return [mtimeMs, ino, size];
  } catch (error) {
    if (errorCode(error) === '') throw error;
    return [errorCode(error)];
  }
}

/** A file that was cut short is as good as none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
