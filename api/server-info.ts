/** What `/server_info` tells of this process and its machine (contract 17). */
import { readFile, statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { z } from 'zod';

export const ServerInfo = z.object({
  /** Seconds since the start. */
  uptime: z.number(),
  /** Seconds since the last request that was more than a look at the server's health. */
  idle_time: z.number(),
  resources: z.object({
    cpu_percent: z.number(),
    memory: z.object({ rss: z.int(), vms: z.int(), percent: z.number() }),
    disk: z.object({ total: z.int(), used: z.int(), free: z.int(), percent: z.number() }),
    io: z.object({ read_bytes: z.int(), write_bytes: z.int() }),
  }),
});
export type ServerInfo = z.infer<typeof ServerInfo>;

/** Watches this process: when it was last of use, and what it takes. */
export class ServerMonitor {
  readonly #started = performance.now();
  #lastActivity = performance.now();
  #cpu = { at: performance.now(), usage: process.cpuUsage() };

  /** @param dataDirectory the directory whose file system is reported */
  constructor(private readonly dataDirectory: string) {}

  /** A request came that somebody made on purpose. */
  touch(): void {
    this.#lastActivity = performance.now();
  }

  async read(): Promise<ServerInfo> {
    const now = performance.now();
    const usage = process.cpuUsage(this.#cpu.usage); // microseconds since the last reading
    const elapsed = Math.max(now - this.#cpu.at, 1);
    this.#cpu = { at: now, usage: process.cpuUsage() };
    const [vms, io, disk] = await Promise.all([
      virtualMemory(),
      fileTraffic(),
      diskUsage(this.dataDirectory),
    ]);
    const { rss } = process.memoryUsage();
    return {
      uptime: (now - this.#started) / 1000,
      idle_time: (now - this.#lastActivity) / 1000,
      resources: {
        cpu_percent: rounded((usage.user + usage.system) / 1000 / elapsed),
        memory: { rss, vms, percent: rounded(rss / totalmem()) },
        disk,
        io,
      },
    };
  }
}

const rounded = (share: number): number => Math.round(share * 10_000) / 100;

/** A file of /proc; empty on systems that have none. */
async function procFile(name: string): Promise<string> {
  return readFile(`/proc/self/${name}`, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES'))
      return '';
    throw error;
  });
}

async function virtualMemory(): Promise<number> {
  return Number(/^VmSize:\s+(\d+) kB/m.exec(await procFile('status'))?.[1] ?? 0) * 1024;
}

async function fileTraffic(): Promise<ServerInfo['resources']['io']> {
  const content = await procFile('io');
  const bytes = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(content)?.[1] ?? 0);
  return { read_bytes: bytes('read_bytes'), write_bytes: bytes('write_bytes') };
}

async function diskUsage(path: string): Promise<ServerInfo['resources']['disk']> {
  const { blocks, bfree, bavail, bsize } = await statfs(path);
  const [total, used, free] = [blocks * bsize, (blocks - bfree) * bsize, bavail * bsize];
  return { total, used, free, percent: rounded(used / Math.max(used + free, 1)) };
}
