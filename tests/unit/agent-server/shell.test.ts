import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assertKey,
  exportLines,
  markedCommand,
  markPrefix,
  shellQuote,
} from '../../../agent-server/shell.js';

const sh = (script: string): string => execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' });

/** Any text that can be a shell word. */
const word = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => !text.includes('\0'));

describe('text for a shell', () => {
  it('survives quoting whatever characters it has (D6)', () => {
    fc.assert(
      fc.property(word, (text) => {
        expect(sh(`printf %s ${shellQuote(text)}`)).toBe(text);
      }),
      { numRuns: 60 },
    );
  });

  it('cannot hold a NUL, which no shell word can', () => {
    expect(() => shellQuote('a\0b')).toThrow(RangeError);
  });

  it('becomes variables with the values that were given', () => {
    const lines = exportLines({ TOKEN: "a'b $(id) `id`\nc", OTHER: '' });
    expect(sh(`${lines} sh -c 'printf %s "$TOKEN|$OTHER"'`)).toBe("a'b $(id) `id`\nc|");
    expect(() => exportLines({ 'A; rm -rf': 'x' })).toThrow(RangeError);
  });
});

describe('a marked command', () => {
  it('shows its mark in the environment that the kernel has on record', () => {
    const command = markedCommand('start/1', 'tr "\\0" "\\n" < /proc/$$/environ | grep ^CALLBOARD_');
    expect(sh(command)).toBe('CALLBOARD_COMMAND=start/1\n');
    expect(command.startsWith(markPrefix('start/1'))).toBe(true);
  });

  it('is not taken for one whose key merely begins the same', () => {
    expect(markedCommand('start/12', 'true').startsWith(markPrefix('start/1'))).toBe(false);
  });

  it('has a key that needs no quoting', () => {
    for (const key of ['', 'a b', "a'b", 'a\nb', 'x'.repeat(121)]) {
      expect(() => assertKey(key)).toThrow(RangeError);
    }
    expect(() => assertKey('start-task/0f.clone:2')).not.toThrow();
  });
});
