import { UserError } from '../user-error.js';

/** What the terminal commands need to reach a running Callboard. */
export interface ApiTarget {
  /** Base URL without trailing slash. */
  url: string;
  /** Instance key, if the instance asks for one. */
  key: string | null;
}

/**
 * One request to the API; whatever it answers.
 * @throws {UserError} when nobody answers
 */
export async function askApi(
  target: ApiTarget,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  try {
    return await fetch(`${target.url}${path}`, {
      method,
      headers: {
        ...(target.key ? { authorization: `Bearer ${target.key}` } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new UserError(
      `Nothing answers at ${target.url}: start it with ./callboard up, or name another instance with --url.`,
    );
  }
}

/**
 * One request to the API; anything but 2xx becomes a sentence for the person at the terminal.
 * @param notFound what a 404 means here
 */
export async function callApi(
  target: ApiTarget,
  method: string,
  path: string,
  body?: unknown,
  notFound?: string,
): Promise<Response> {
  const response = await askApi(target, method, path, body);
  if (response.ok) return response;
  const text = await response.text();
  if (response.status === 404 && notFound !== undefined) throw new UserError(notFound);
  if (response.status === 401) {
    throw new UserError(`${target.url} wants a key: set SESSION_API_KEY to the instance's key.`);
  }
  throw new UserError(`${target.url} answered ${response.status}: ${reason(text)}`);
}

/** The `detail` of an error body, whatever its shape (contract 1.5). */
function reason(text: string): string {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === 'string') return detail;
    if (Array.isArray(detail)) {
      return (detail as { loc?: unknown[]; msg?: string }[])
        .map(({ loc, msg }) => `${(loc ?? []).join('.')}: ${msg ?? ''}`)
        .join('; ');
    }
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
  }
  return text.slice(0, 300) || 'no reason given';
}
