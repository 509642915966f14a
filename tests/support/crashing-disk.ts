/**
 * A disk in memory that can fill up, lose its power, or see its process killed, at any step of any operation. What was
 * not synced when the power went is there, half there or gone, as chance will have it.
 */
import { basename, dirname } from 'node:path';
import type { EventDisk } from '../../events/event-disk.js';

/** What happens at a step: the disk refuses once; the process ends; the power goes. */
export type DiskFault = 'ENOSPC' | 'kill' | 'power';

/** Thrown by every operation after the process has ended. */
export class ProcessEnded extends Error {}

interface Inode {
  content: string;
  isSynced: boolean;
  writtenAt: Date;
}

/** A change of a directory that a sync makes durable; null removes the name. */
type Change = Map<string, Inode | 'directory' | null>;

interface Directory {
  durable: Map<string, Inode | 'directory'>;
  changes: Change[];
}

export class CrashingDisk implements EventDisk {
  readonly #directories = new Map<string, Directory>();
  #armed: { fault: DiskFault; steps: number } | null = null;
  #ended = false;
  #lostPower = false;

  constructor(root: string) {
    this.#directories.set(root, { durable: new Map(), changes: [] });
  }

  /** The fault strikes after so many further steps. */
  arm(fault: DiskFault, steps: number): void {
    this.#armed = { fault, steps };
  }

  /** Ends the process as `fault` does, from outside of the disk. */
  end(fault: 'kill' | 'power'): void {
    this.#ended = true;
    this.#lostPower ||= fault === 'power';
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Another process begins, an hour later; after a loss of power with what the disk has kept. */
  restart(chance: () => number): void {
    if (this.#lostPower) this.#losePower(chance);
    this.#armed = null;
    this.#ended = this.#lostPower = false;
    for (const inode of this.#inodes()) inode.writtenAt = new Date(Date.now() - 3_600_000);
  }

  /** Paths of all files. */
  files(): string[] {
    return [...this.#directories.keys()].flatMap((path) =>
      [...this.#entries(path)].filter(([, what]) => what !== 'directory').map(([name]) => `${path}/${name}`),
    );
  }

  async makeDirectory(path: string): Promise<string | undefined> {
    await this.#step();
    if (this.#isDirectory(path)) return undefined;
    const first = await this.makeDirectory(dirname(path));
    this.#directories.set(path, { durable: new Map(), changes: [] });
    this.#change(dirname(path), [[basename(path), 'directory']]);
    return first ?? path;
  }

  async writeNew(path: string, content: string): Promise<void> {
    await this.#step();
    if (this.#entryOf(path)) throw systemError('EEXIST');
    const inode: Inode = { content: '', isSynced: false, writtenAt: new Date() };
    this.#change(dirname(path), [[basename(path), inode]]);
    await this.#step();
    inode.content = content.slice(0, content.length / 2);
    await this.#step();
    inode.content = content;
    await this.#step();
    inode.isSynced = true;
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step();
    const inode = this.#entryOf(from);
    if (!inode) throw systemError('ENOENT');
    if (dirname(from) === dirname(to)) {
      this.#change(dirname(from), [
        [basename(from), null],
        [basename(to), inode],
      ]);
    } else {
      this.#change(dirname(to), [[basename(to), inode]]);
      this.#change(dirname(from), [[basename(from), null]]);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#step();
    const directory = this.#directory(path);
    directory.durable = this.#entries(path);
    directory.changes = [];
  }

  async read(path: string): Promise<string | null> {
    await this.#alive();
    const inode = this.#entryOf(path);
    return inode && inode !== 'directory' ? inode.content : null;
  }

  async *names(path: string): AsyncIterable<string> {
    await this.#alive();
    if (this.#isDirectory(path)) yield* [...this.#entries(path).keys()];
  }

  async modifiedAt(path: string): Promise<Date | null> {
    await this.#alive();
    if (this.#isDirectory(path)) return new Date();
    const inode = this.#entryOf(path);
    return inode && inode !== 'directory' ? inode.writtenAt : null;
  }

  async remove(path: string): Promise<void> {
    await this.#step();
    if (this.#entryOf(path)) this.#change(dirname(path), [[basename(path), null]]);
  }

  async removeTree(path: string): Promise<void> {
    await this.#step();
    if (this.#isDirectory(path)) this.#change(dirname(path), [[basename(path), null]]);
  }

  /** A point at which a fault may strike; operations under way at the same time are mixed there. */
  async #step(): Promise<void> {
    await this.#alive();
    if (!this.#armed || this.#armed.steps-- > 0) return;
    const { fault } = this.#armed;
    this.#armed = null;
    if (fault === 'ENOSPC') throw systemError('ENOSPC');
    this.end(fault);
    throw new ProcessEnded();
  }

  async #alive(): Promise<void> {
    await Promise.resolve();
    if (this.#ended) throw new ProcessEnded();
  }

  #losePower(chance: () => number): void {
    for (const directory of this.#directories.values()) {
      for (const change of directory.changes) {
        if (chance() < 0.5) for (const [name, what] of change) put(directory.durable, name, what);
      }
      directory.changes = [];
    }
    for (const inode of this.#inodes()) {
      if (inode.isSynced) continue;
      inode.content = inode.content.slice(0, Math.floor(chance() * (inode.content.length + 1)));
    }
  }

  *#inodes(): Iterable<Inode> {
    for (const path of this.#directories.keys()) {
      for (const what of this.#entries(path).values()) if (what !== 'directory') yield what;
    }
  }

  /** Also all above it have to be there. */
  #isDirectory(path: string): boolean {
    if (!this.#directories.has(path)) return false;
    const parent = dirname(path);
    if (!this.#directories.has(parent)) return true; // the root
    return this.#isDirectory(parent) && this.#entries(parent).get(basename(path)) === 'directory';
  }

  #directory(path: string): Directory {
    const directory = this.#isDirectory(path) ? this.#directories.get(path) : undefined;
    if (!directory) throw systemError('ENOENT');
    return directory;
  }

  #entries(path: string): Map<string, Inode | 'directory'> {
    const directory = this.#directories.get(path);
    if (!directory || !this.#isDirectory(path)) return new Map();
    const entries = new Map(directory.durable);
    for (const change of directory.changes) for (const [name, what] of change) put(entries, name, what);
    return entries;
  }

  #entryOf(path: string): Inode | 'directory' | undefined {
    return this.#entries(dirname(path)).get(basename(path));
  }

  #change(path: string, entries: [string, Inode | 'directory' | null][]): void {
    this.#directory(path).changes.push(new Map(entries));
  }
}

function put(
  entries: Map<string, Inode | 'directory'>,
  name: string,
  what: Inode | 'directory' | null,
): void {
  if (what === null) entries.delete(name);
  else entries.set(name, what);
}

const systemError = (code: string): Error => Object.assign(new Error(code), { code, syscall: 'simulated' });
