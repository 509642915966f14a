import { describe, expect, it } from 'vitest';
import { SETTINGS } from '../../../config/sources.js';
import { generatedPages, outdatedPages } from '../../../scripts/generate-docs.js';

describe('generated documentation', () => {
  it('is current', async () => {
    expect(await outdatedPages(), 'run `npm run docs`').toEqual([]);
  });

  it('names every setting with its variables', async () => {
    const page = (await generatedPages()).get('docs/configuration.md') ?? '';
    for (const { fileName, info } of SETTINGS) {
      expect(page).toContain(`\`${fileName.split('.')[1]!}\``);
      for (const variable of info.env ?? []) expect(page).toContain(variable.replace(/\*$/, '0…'));
    }
  });

  it('reads no variable for two settings', () => {
    const variables = SETTINGS.flatMap(({ info }) => info.env ?? []);
    expect(new Set(variables).size).toBe(variables.length);
  });
});
