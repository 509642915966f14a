/** Shell text: quoting, and the mark by which a command is found again. */

/** Variable that every command of ours carries, and its children inherit. */
const MARK = 'CALLBOARD_COMMAND';
const KEY_PATTERN = /^[A-Za-z0-9:._/-]{1,120}$/;
const NAME_PATTERN = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Quotes a text as one word for any POSIX shell. */
export function shellQuote(text: string): string {
  if (text.includes('\0')) throw new RangeError('a shell word cannot contain a NUL character');
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** @throws {RangeError} for a key that does not fit into a command line as it is */
export function assertKey(key: string): void {
  if (!KEY_PATTERN.test(key)) throw new RangeError('a command key has 1 to 120 letters, digits and :._/-');
}

/** How the text of a command with this key begins. */
export const markPrefix = (key: string): string => `${MARK}=${shellQuote(key)} exec `;

/**
 * The command with its mark. The `exec` puts the mark into the environment that the kernel shows for the
 * process; an `export` would only show up in its children.
 */
export const markedCommand = (key: string, command: string): string =>
  `${markPrefix(key)}/bin/sh -c ${shellQuote(command)}`;

/** Ends all processes with the mark: SIGTERM, two seconds of patience, SIGKILL. */
export function stopMarked(key: string): string {
  const mark = shellQuote(`${MARK}=${key}`);
  return [
    `marked() { grep -lszxF -e ${mark} /proc/[0-9]*/environ | cut -d/ -f3; }`,
    'for pid in $(marked); do kill -TERM "$pid" 2>/dev/null; done',
    'for turn in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(marked)" ] && exit 0; sleep 0.2; done',
    'for pid in $(marked); do kill -KILL "$pid" 2>/dev/null; done',
    'exit 0',
  ].join('\n');
}

/** Lines that a shell reads to get these variables into its environment. */
export function exportLines(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => {
      if (!NAME_PATTERN.test(name)) throw new RangeError(`not a name for an environment variable: ${name}`);
      return `export ${name}=${shellQuote(value)}\n`;
    })
    .join('');
}
