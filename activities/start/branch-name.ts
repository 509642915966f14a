/**
 * The rules of `git check-ref-format --branch`, checked before git is asked: a name that git refuses, or takes for an
 * option, must not reach a command line.
 */
export function isBranchName(name: string): boolean {
  if (name === '' || name === '@' || name === 'HEAD' || name.length > 244) return false;
  if (/[\p{Cc}\p{Cs} ~^:?*[\\]/u.test(name)) return false;
  if (name.startsWith('-') || name.includes('..') || name.includes('@{') || name.endsWith('.')) return false;
  return name.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
}
