/** Taking over settings, secrets and provider tokens of a Python server's files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isMissing } from '../../events/event-disk.js';
import { InvalidSettings } from '../../contract/settings.js';
import { hasCode } from '../user-error.js';
import type { ImportRun } from './import.js';
import type { TakenKind } from './ledger.js';
import { Undecodable } from './source-database.js';
import type { SourceKeys } from './source-keys.js';
import { decodeSecrets, decodeSettings, type SourceSecret, type SourceToken } from './source-settings.js';

const OTHER_HERE = 'another one is here and stays: --overwrite takes that of the source';

export interface SettingsImport extends ImportRun {
  keys: SourceKeys;
  /** What is here is replaced where the source has another one. */
  overwrite: boolean;
}

/** `settings.json` and `secrets.json` of a directory, as far as they are there. */
export async function importSettings(run: SettingsImport, directory: string): Promise<void> {
  // Secrets first: events that come after them are looked through for what is secret.
  await takeFile(run, 'secrets', join(directory, 'secrets.json'), async (text) => {
    const { secrets, tokens, problems } = await decodeSecrets(text, run.keys);
    for (const { kind, name, why, failed } of problems) {
      run.ledger.because(kind, failed ? 'failed' : 'left', why, name);
    }
    await takeSecrets(run, secrets);
    await takeTokens(run, tokens);
  });
  await takeFile(run, 'settings', join(directory, 'settings.json'), (text) => takeSettings(run, text));
}

async function takeFile(
  { ledger }: SettingsImport,
  kind: TakenKind,
  path: string,
  take: (text: string) => Promise<void>,
): Promise<void> {
  try {
    await take(await readFile(path, 'utf8'));
  } catch (err) {
    if (isMissing(err)) return;
    if (err instanceof Undecodable || err instanceof InvalidSettings) {
      ledger.because(kind, 'failed', err.message, path);
    } else if (hasCode(err, 'EACCES'))
      ledger.because(kind, 'failed', 'it may not be read by this user', path);
    else throw err;
  }
}

async function takeSettings(
  { core, keys, ledger, user, dryRun, overwrite }: SettingsImport,
  text: string,
): Promise<void> {
  const { stored, dropped } = await decodeSettings(text, keys);
  const here = await core.settings.find(user);
  let outcome: 'taken' | 'there' | 'left' = 'taken';
  if (here !== null) {
    // Both with their defaults filled in: what is compared is what they mean.
    const same = isDeepStrictEqual(here, core.settings.meaningOf(stored));
    outcome = same ? 'there' : overwrite ? 'taken' : 'left';
  }
  if (outcome === 'left') ledger.because('settings', 'left', OTHER_HERE);
  else ledger.note('settings', outcome);
  if (outcome !== 'taken') return;
  if (!dryRun) await core.settings.update(user, () => stored);
  for (const member of dropped)
    ledger.remark('settings', 'left', 'not valid here, or not to be decrypted', member);
}

async function takeSecrets(
  { core, ledger, user, dryRun, overwrite }: SettingsImport,
  secrets: readonly SourceSecret[],
): Promise<void> {
  const here = await core.secrets.readCustom(user);
  for (const secret of secrets) {
    const known = here.get(secret.name);
    if (known?.value === secret.value) ledger.note('secrets', 'there');
    else if (known && !overwrite) ledger.because('secrets', 'left', OTHER_HERE, secret.name);
    else {
      if (!dryRun) await core.secrets.putCustom(user, secret);
      ledger.note('secrets', 'taken');
    }
  }
}

async function takeTokens(
  { core, ledger, user, dryRun, overwrite }: SettingsImport,
  tokens: readonly SourceToken[],
): Promise<void> {
  const here = await core.secrets.providerTokens(user);
  for (const { provider, ...token } of tokens) {
    const known = here.get(provider);
    if (known?.token === token.token && known.host === token.host) ledger.note('provider tokens', 'there');
    else if (known && !overwrite) ledger.because('provider tokens', 'left', OTHER_HERE, provider);
    else {
      if (!dryRun) await core.secrets.putProviderToken(user, provider, token);
      ledger.note('provider tokens', 'taken');
    }
  }
}
