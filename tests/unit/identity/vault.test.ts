import { describe, expect, it } from 'vitest';
import { Vault, VaultError } from '../../../identity/vault.js';

const RING = [{ id: 'k', secret: new Uint8Array(32).fill(7) }];

describe('what is kept of opened texts', () => {
  it('opens for its own purpose alone, as it does when nothing is kept', async () => {
    const vault = new Vault(RING);
    const sealed = await vault.seal('one', 'plain');
    expect(await vault.openKept('one', sealed)).toBe('plain');
    expect(await vault.openKept('one', sealed)).toBe('plain');
    await expect(vault.openKept('two', sealed)).rejects.toThrow(VaultError);
    await expect(vault.openKept('one', `${sealed}x`)).rejects.toThrow(VaultError);
  });

  it('is a new text after each change', async () => {
    const vault = new Vault(RING);
    const before = await vault.seal('one', 'before');
    const after = await vault.seal('one', 'after');
    expect([await vault.openKept('one', before), await vault.openKept('one', after)]).toEqual([
      'before',
      'after',
    ]);
  });

  it('goes on being kept out of the log', async () => {
    const known: string[] = [];
    const sealed = await new Vault(RING).seal('one', 'plain');
    const vault = new Vault(RING, (_purpose, plain) => known.push(plain));
    for (let time = 0; time < 3; time++) await vault.openKept('one', sealed);
    expect(known).toEqual(['plain', 'plain', 'plain']);
  });
});
