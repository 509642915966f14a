/** Files, skills, hooks, git and profiles, as far as Callboard asks for them (agent-server contract 16). */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { ok, refused, success, type Call, type LightRoute } from './http.js';

export function workspaceRoutes(): LightRoute[] {
  const profiles = new Map<string, unknown>();
  return [
    { method: 'POST', pattern: /^\/api\/file\/upload$/, handle: upload },
    { method: 'GET', pattern: /^\/api\/file\/download$/, handle: download },
    { method: 'POST', pattern: /^\/api\/skills$/, handle: () => ok({ skills: [], sources: {} }) },
    { method: 'POST', pattern: /^\/api\/hooks$/, handle: () => ok({ hook_config: null }) },
    { method: 'GET', pattern: /^\/api\/git\/changes$/, handle: () => ok([]) },
    { method: 'GET', pattern: /^\/api\/git\/diff$/, handle: () => ok({ modified: null, original: null }) },
    {
      method: 'GET',
      pattern: /^\/api\/profiles$/,
      handle: () => ok({ profiles: [...profiles.keys()].map((name) => ({ name })) }),
    },
    {
      method: 'POST',
      pattern: /^\/api\/profiles\/([^/]+)$/,
      handle({ path: [name = ''], body }) {
        profiles.set(name, body);
        return ok({ name, message: 'saved' }, 201);
      },
    },
    {
      method: 'DELETE',
      pattern: /^\/api\/profiles\/([^/]+)$/,
      handle: ({ path: [name = ''] }) =>
        profiles.delete(name) ? success : refused(404, `Profile '${name}' not found`),
    },
  ];
}

function upload({ query, raw, contentType }: Call) {
  const path = query.get('path') ?? '';
  if (!isAbsolute(path)) return refused(400, 'Path must be absolute');
  const content = onlyPart(raw, contentType);
  if (!content) return refused(422, 'file is missing');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return success;
}

/** Content of a multipart body that has one part. */
function onlyPart(raw: Buffer, contentType: string): Buffer | null {
  const boundary = /boundary="?([^";]+)/.exec(contentType)?.[1];
  const start = raw.indexOf('\r\n\r\n');
  const end = boundary === undefined ? -1 : raw.lastIndexOf(`\r\n--${boundary}--`);
  return start < 0 || end < 0 ? null : raw.subarray(start + 4, end);
}

function download({ query }: Call) {
  const path = query.get('path') ?? '';
  if (!isAbsolute(path)) return refused(400, 'Path must be absolute');
  try {
    return ok(readFileSync(path));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'ENOENT' || code === 'ENOTDIR') return refused(404, 'File not found');
    if (code === 'EISDIR') return refused(400, 'Path is a directory');
    throw error;
  }
}
