/** In which form a file of the build is sent: as it is, or compressed already by whoever built it. */
import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Request } from 'express';

export interface StoredForm {
  /** Of the file itself, within the build; begins with a slash. */
  path: string;
  /** Of the file that is sent, after the path: empty, `.br` or `.gz`. */
  suffix: string;
  encoding: 'br' | 'gzip' | null;
  isPage: boolean;
  /** Whether other clients may get another form. */
  varies: boolean;
}

const COMPRESSED = [
  { encoding: 'br', suffix: '.br' },
  { encoding: 'gzip', suffix: '.gz' },
] as const;

/** What compressing makes no smaller is not looked for. */
const COMPRESSIBLE = /\.(html?|js|mjs|css|json|map|svg|txt|xml|wasm|webmanifest|ico|ttf)$/i;

/**
 * The form of a file that a client wants most.
 * @param path decoded, known to stay within the root
 * @returns null when there is no such file
 */
export async function storedForms(
  root: string,
  path: string,
  request: Pick<Request, 'acceptsEncodings'>,
): Promise<StoredForm | null> {
  const file = join(root, path);
  if (path.endsWith('/') || !(await isFile(file))) return null;
  const present = COMPRESSIBLE.test(path)
    ? await Promise.all(
        COMPRESSED.map(async (form) => ((await isFile(`${file}${form.suffix}`)) ? form : null)),
      )
    : [];
  const there = present.filter((form) => form !== null);
  const chosen = there.find(({ encoding }) => request.acceptsEncodings(encoding) === encoding);
  return {
    path,
    suffix: chosen?.suffix ?? '',
    encoding: chosen?.encoding ?? null,
    isPage: /^\.html?$/i.test(extname(path)),
    varies: there.length > 0,
  };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return false;
    throw error;
  }
}
