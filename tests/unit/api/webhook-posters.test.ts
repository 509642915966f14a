import { describe, expect, it } from 'vitest';
import { rememberedPosters } from '../../../api/webhook-posters.js';
import type { PosterRecord } from '../../../db/sandbox-repository.js';

const sandbox = { id: 'box', createdByUserId: 'ann' } as PosterRecord;

function counted(answers: (PosterRecord | null)[]) {
  const asked: string[] = [];
  const posters = rememberedPosters({
    findPoster: (hash) => {
      asked.push(`find ${hash}`);
      return Promise.resolve(answers.shift() ?? null);
    },
    touch: (id) => Promise.resolve(void asked.push(`touch ${id}`)),
  });
  return { posters, asked };
}

describe('webhooks of one sandbox that come one after another', () => {
  it('ask once whose they are, and note once that it is active', async () => {
    const { posters, asked } = counted([sandbox]);
    for (let webhook = 0; webhook < 3; webhook++) {
      expect(await posters.findPoster('hash')).toBe(sandbox);
      await posters.touch('box');
    }
    expect(asked).toEqual(['find hash', 'touch box']);
  });

  it('are let in as soon as their key is known', async () => {
    const { posters, asked } = counted([null, sandbox]);
    expect(await posters.findPoster('hash')).toBeNull();
    expect(await posters.findPoster('hash')).toBe(sandbox);
    expect(asked).toEqual(['find hash', 'find hash']);
  });
});
