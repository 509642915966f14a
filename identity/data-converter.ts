import type { DataConverter } from '@temporalio/common';
import { fileURLToPath } from 'node:url';
import type { KeyRing, MasterKey } from './key-ring.js';
import { PayloadEncryption } from './payload-codec.js';

/** Loaded by Temporal's libraries with `require`; the workflow bundle is made with the same file. */
export const FAILURE_CONVERTER_PATH = fileURLToPath(
  new URL('../workflows/failure-converter.cjs', import.meta.url),
);

/** How every client and worker writes payloads and failures: encrypted, the texts of failures included. */
export const encryptedData = (keys: KeyRing | readonly MasterKey[]): DataConverter => ({
  payloadCodecs: [new PayloadEncryption(keys)],
  failureConverterPath: FAILURE_CONVERTER_PATH,
});
