/** Names of git things that clients choose, checked before anything is made of them. */

/** The rules of `git check-ref-format --branch`; also refuses what git would take for an option. */
export function isBranchName(name: string): boolean {
  if (name === '' || name === '@' || name === 'HEAD' || name.length > 244) return false;
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f~^:?*[\\]/.test(name)) return false;
  if (name.startsWith('-') || name.includes('..') || name.includes('@{') || name.endsWith('.')) return false;
  return name.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
}

/** `owner/repository`: exactly one slash, and nothing that a shell would read (contract 3.7). */
export const isRepositoryName = (name: string): boolean => /^[^/;&|$`\r\n\0]+\/[^/;&|$`\r\n\0]+$/.test(name);

/** What a difference may be taken to: a branch, tag, commit or `HEAD~2`; nothing that git would take for an option. */
export const isRevision = (ref: string): boolean => /^[^-\s\p{Cc}][^\s\p{Cc}]{0,243}$/u.test(ref);
