/** Whether everything that is encrypted can be opened with the keys of this installation. */
import type { DoctorReadModel, SealedText } from '../../db/doctor-read-model.js';
import { purposes, VaultError, type Vault } from '../../identity/vault.js';
import { someOf, type Report } from './finding.js';

const purposeOf = ({ what, path: [first = '', second = '', third = ''] }: SealedText): string => {
  switch (what) {
    case 'session key':
      return purposes.sessionKey(first);
    case 'secret key':
      return purposes.secretKey(first);
    case 'settings':
      return purposes.settings(first);
    case 'start':
      return purposes.startSecrets(first);
    case 'secret':
      return purposes.secret(first, second, third);
  }
};

export async function checkSecrets(rows: DoctorReadModel, vault: Vault, report: Report): Promise<void> {
  let readable = 0;
  const locked: string[] = [];
  for await (const text of rows.sealedTexts()) {
    try {
      await vault.open(purposeOf(text), text.sealed);
      readable++;
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      locked.push(text.name);
    }
  }
  report({
    level: locked.length > 0 ? 'problem' : 'ok',
    about: 'keys',
    text:
      locked.length > 0
        ? `${locked.length} of ${locked.length + readable} encrypted texts cannot be opened: ${someOf(locked)}`
        : `all ${readable} encrypted texts can be opened`,
    ...(locked.length > 0
      ? { todo: 'add the key they were made with to .keys or JWT_SECRET; if it is lost, enter them anew' }
      : {}),
  });
}
