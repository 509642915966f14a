/** What pages of the web client may load, run and talk to. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config/config.js';

/** Where the client's code editor comes from, and its fonts: it names these addresses itself. */
const EDITOR = 'https://cdn.jsdelivr.net';
const FONT_STYLES = 'https://fonts.googleapis.com';
const FONTS = 'https://fonts.gstatic.com';

/** The scripts written into a page, which may run as they are and no others: by hash, as the policy names them. */
export function inlineScripts(html: string): string[] {
  const scripts = html.matchAll(/<script(?![^>]*\ssrc\s*=)[^>]*>([\s\S]*?)<\/script\s*>/gi);
  return [...scripts].map(([, script = '']) => {
    // As browsers read it: line ends are line feeds.
    const hash = createHash('sha256').update(script.replaceAll(/\r\n?/g, '\n'));
    return `'sha256-${hash.digest('base64')}'`;
  });
}

/**
 * Where sandboxes are, as sources of a policy: pages talk to them and show their editors and apps in frames. The port is
 * any, since each has its own.
 */
export function sandboxSources(config: Pick<Config, 'sandboxes' | 'docker' | 'server'>): string[] {
  const { sandboxes, docker, server } = config;
  const own = server.publicUrl === null ? [] : [new URL(server.publicUrl).origin];
  switch (sandboxes.runtime) {
    case 'remote':
      return [...own, 'https:'];
    case 'docker':
      return [...own, ...anyPort(docker.containerUrlPattern)];
    case 'process':
      return [...own, ...anyPort(`http://${sandboxes.address}:{port}`)];
  }
}

/** The origin of an address in which `{port}` stands for a port. IPv6 has no form in a policy. */
function anyPort(pattern: string): string[] {
  const match = /^(https?:\/\/[\w.*-]*)(:\{port\})?(?=[/?#]|$)/.exec(pattern.replace('{port}.', '*.'));
  return match ? [`${match[1] ?? ''}${match[2] ? ':*' : ''}`] : ['http:', 'https:'];
}

/** The same addresses for sockets. */
const ofSockets = (source: string): string => source.replace(/^http/, 'ws');

/**
 * @param scripts hashes of the page's own scripts
 * @param host under which the page is read: older browsers do not count sockets to it as `'self'`
 */
export function policyOf(scripts: readonly string[], host: string, sources: readonly string[]): string {
  const here = /^[\w.[\]:-]+$/.test(host) ? [`ws://${host}`, `wss://${host}`] : [];
  const directives: Record<string, readonly string[]> = {
    'default-src': ["'self'"],
    'script-src': ["'self'", ...scripts, EDITOR],
    'style-src': ["'self'", "'unsafe-inline'", EDITOR, FONT_STYLES],
    'font-src': ["'self'", 'data:', EDITOR, FONTS],
    'img-src': ["'self'", 'data:', 'blob:', 'https:'],
    'media-src': ["'self'", 'data:', 'blob:'],
    'worker-src': ["'self'", 'blob:'],
    'connect-src': ["'self'", ...here, ...sources, ...sources.map(ofSockets)],
    'frame-src': ["'self'", ...sources],
    'object-src': ["'none'"],
    'base-uri': ["'self'"],
    'form-action': ["'self'"],
    'frame-ancestors': ["'self'"],
  };
  return Object.entries(directives)
    .map(([name, values]) => `${name} ${values.join(' ')}`)
    .join('; ');
}

/** Remembers the scripts of each page until its file changes: a new build needs no restart. */
export class PolicyOfPages {
  readonly #pages = new Map<string, { changedAt: number; scripts: string[] }>();

  constructor(
    private readonly root: string,
    private readonly sources: readonly string[],
  ) {}

  /** @param path of a page within the build */
  async of(path: string, host: unknown): Promise<string> {
    const file = join(this.root, path);
    const { mtimeMs: changedAt } = await stat(file);
    let page = this.#pages.get(path);
    if (page?.changedAt !== changedAt) {
      page = { changedAt, scripts: inlineScripts(await readFile(file, 'utf8')) };
      this.#pages.set(path, page);
    }
    return policyOf(page.scripts, typeof host === 'string' ? host : '', this.sources);
  }
}
