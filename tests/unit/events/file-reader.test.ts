import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileReader } from '../../../events/file-reader.js';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'callboard-reader-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('files that are read together', () => {
  it('come to those who asked for them, however many there are', async () => {
    const places = Array.from({ length: 1_000 }, (_, place) => place);
    const pathOf = (place: number): string => join(directory, `many-${place}`);
    for (const place of places.filter((one) => one % 3 > 0)) writeFileSync(pathOf(place), `é ${place}`);
    const reader = new FileReader();
    const texts = await Promise.all(places.map((place) => reader.read(pathOf(place))));
    expect(texts).toEqual(places.map((place) => (place % 3 > 0 ? `é ${place}` : null)));
    expect(await reader.read(pathOf(1))).toBe('é 1');
  });

  it('fail one by one, with the error of the system', async () => {
    const plain = join(directory, 'plain');
    const folder = join(directory, 'folder');
    writeFileSync(plain, 'text');
    mkdirSync(folder);
    const reader = new FileReader();
    const [first, second] = await Promise.allSettled([reader.read(folder), reader.read(plain)]);
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'EISDIR', syscall: 'read' } });
    expect(second).toEqual({ status: 'fulfilled', value: 'text' });
  });

  it('do not wait for one whose disk does not answer', async () => {
    const hanging = join(directory, 'hanging');
    const plain = join(directory, 'answers');
    execFileSync('mkfifo', [hanging]); // opening it takes until somebody writes
    writeFileSync(plain, 'text');
    const reader = new FileReader();
    const late = reader.read(hanging);
    await Promise.resolve(); // has been handed to its thread
    expect(await reader.read(plain)).toBe('text');
    await writeFile(hanging, 'late');
    expect(await late).toBe('late');
  });
});
