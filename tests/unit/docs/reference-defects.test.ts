import { describe, expect, it } from 'vitest';
import { REFERENCE_DEFECTS, testsOfDefects } from '../../support/reference-defects.js';
import { generatedPages } from '../../../scripts/generate-docs.js';

const all = REFERENCE_DEFECTS.flatMap(({ defects }) => defects.map(({ number }) => number));

describe('the defects of the reference', () => {
  it('are all in the table, once and in order', () => {
    expect(all).toEqual(Array.from({ length: 39 }, (_, place) => place + 1));
  });

  it.each(all)('have a test that shows that D%i does not occur here', (number) => {
    expect(testsOfDefects().get(number) ?? []).not.toEqual([]);
  });

  it('are the only ones that titles of tests name', () => {
    expect([...testsOfDefects().keys()].filter((number) => !all.includes(number))).toEqual([]);
  });

  it('are in the page of compatibility with their tests', async () => {
    const page = (await generatedPages()).get('docs/compatibility.md') ?? '';
    for (const number of all) expect(page).toContain(`**D${number}** `);
    for (const { file } of [...testsOfDefects().values()].flat()) expect(page).toContain(`\`${file}\``);
  });
});
