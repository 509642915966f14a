/**
 * The contract as data: requests, and what is answered. `tests/api/contract-cases.test.ts` sends each of them to a server
 * on which a user has one thing of each kind.
 *
 * Texts in braces stand for those things everywhere in a case, `{conversation_id}` for one; the names are those of
 * `tests/support/one-of-each.ts`, and besides them `{dashed_id}` is the conversation with dashes.
 */

/** Who asks: the owner of the things, somebody with nothing, or somebody who shows only what is named. */
export type Asking = 'owner' | 'newcomer' | 'sandbox' | 'access token' | 'service' | 'operator' | 'nobody';

/** Bodies of refusals, by the letters of the contract (1.5). */
export type ErrorShape = 'A' | 'B' | 'C' | 'D' | 'E' | 'F';

export interface ContractCase {
  /** `METHOD path`, the path as in the OpenAPI document. */
  route: string;
  /** What is special about it; nothing for the plain request. */
  what: string;
  status: number;
  as: Asking;
  /** In the place of the owner's things. */
  parameters: Record<string, string>;
  query: string;
  body?: unknown;
  headers: Record<string, string>;
  /** State of the sandbox before the request. */
  sandbox: 'RUNNING' | 'PAUSED' | 'ERROR' | 'MISSING';
  /** What the answer has to be, at least; the schemas of the route and of the contract are compared in any case. */
  answer?: unknown;
  shape?: ErrorShape;
  /** Headers of the answer. */
  answered: Record<string, RegExp>;
}

type Special = Partial<Omit<ContractCase, 'route' | 'status' | 'shape'>>;

const DEFAULTS = {
  what: '',
  as: 'owner',
  parameters: {},
  query: '',
  headers: {},
  sandbox: 'RUNNING',
  answered: {},
} as const;

/** What is served. */
export const served = (route: string, special: Special = {}, status = 200): ContractCase => ({
  ...DEFAULTS,
  ...special,
  route,
  status,
});

/** What is refused, with a text in the words of the contract where it has some. */
export function refused(
  route: string,
  status: number,
  shape: ErrorShape,
  what: string,
  { text, ...special }: Special & { text?: string } = {},
): ContractCase {
  const member = { A: 'detail', B: null, C: 'error', D: null, E: 'message', F: 'message' }[shape];
  const answer = text === undefined ? undefined : member === null ? text : { [member]: text };
  return { ...DEFAULTS, ...(answer === undefined ? {} : { answer }), ...special, route, status, shape, what };
}

/** What does not fit is refused in the form of validation errors, the first of which is about `loc`. */
export const invalid = (
  route: string,
  what: string,
  loc: readonly (string | number)[],
  type: string,
  special: Special = {},
): ContractCase => refused(route, 422, 'B', what, { answer: { detail: [{ loc, type }] }, ...special });

export const OPERATOR_KEY = 'the-key-of-an-operator-of-this-server';
/** An id of nothing. */
export const UNKNOWN = '0123456789abcdef0123456789abcdef';
export const UNKNOWN_DASHED = '01234567-89ab-cdef-0123-456789abcdef';
/** An id that nothing has yet. */
export const CHOSEN = '7b6c4a6e0d3c4f1e9a2b5c8d7e6f1a2b';
export const CHOSEN_DASHED = '7b6c4a6e-0d3c-4f1e-9a2b-5c8d7e6f1a2b';
export const TEXT = [{ type: 'text', text: 'hello' }];
export const repeated = (name: string, count: number, value: string): string =>
  Array.from({ length: count }, () => `${name}=${value}`).join('&');
