import { Vault } from '../../identity/vault.js';

/** Seals and opens what tests store where the product has its own. */
export const testVault = new Vault([{ id: 'test', secret: new Uint8Array(32).fill(7) }]);
