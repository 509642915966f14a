/** As much of a browser as signing in needs: cookies per host, redirects, forms and refreshing pages. */
import { parseSetCookie, stringifyCookie } from 'cookie';

export interface Visit {
  url: string;
  status: number;
  headers: Headers;
  text: string;
}

export class Browser {
  /** By host, as cookies do not know ports; but tests run several servers on one host, so by port too. */
  readonly #jar = new Map<string, Map<string, string>>();

  /** One request with the cookies of its place; redirects are not followed. */
  async request(url: string, init: RequestInit = {}): Promise<Visit> {
    const { host } = new URL(url);
    const cookies = this.#jar.get(host) ?? new Map<string, string>();
    this.#jar.set(host, cookies);
    const headers = new Headers(init.headers);
    if (cookies.size > 0) headers.set('Cookie', stringifyCookie(Object.fromEntries(cookies)));
    const response = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const { name, value, maxAge, expires } = parseSetCookie(line);
      if (maxAge === 0 || (expires && expires.getTime() <= Date.now())) cookies.delete(name);
      else cookies.set(name, value ?? '');
    }
    return { url, status: response.status, headers: response.headers, text: await response.text() };
  }

  /** Goes to a page and on, along redirects and refreshes, until a page stays, or `until` says so. */
  async visit(
    url: string,
    init: RequestInit = {},
    until: (next: string) => boolean = () => false,
  ): Promise<Visit> {
    let visit = await this.request(url, { headers: { Accept: 'text/html' }, ...init });
    for (let steps = 0; steps < 20; steps++) {
      const next = nextOf(visit);
      if (next === null || until(next)) return visit;
      visit = await this.request(next, { headers: { Accept: 'text/html' } });
    }
    throw new Error(`${url} leads nowhere`);
  }

  /** An order as a page of the same origin sends it. */
  post(url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Visit> {
    return this.request(url, {
      method: 'POST',
      headers: {
        Origin: new URL(url).origin,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  cookies(url: string): ReadonlyMap<string, string> {
    return this.#jar.get(new URL(url).host) ?? new Map();
  }

  setCookie(url: string, name: string, value: string): void {
    const { host } = new URL(url);
    this.#jar.set(host, (this.#jar.get(host) ?? new Map<string, string>()).set(name, value));
  }
}

/** Where a page sends the browser by itself. */
export function nextOf({ url, status, headers, text }: Visit): string | null {
  const location = status >= 300 && status < 400 ? headers.get('Location') : null;
  const refresh = /<meta http-equiv="refresh" content="0;url=([^"]*)">/.exec(text)?.[1];
  const next =
    location ?? refresh?.replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
  return next ? new URL(next, url).href : null;
}
