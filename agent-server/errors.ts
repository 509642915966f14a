/** What can go wrong with a call to an agent-server, and how it is told to people. */

/**
 * - `refused`: nothing listens there (not booted yet, or gone);
 * - `timeout`: no complete answer within the call's limit (a frozen server accepts connections and hangs);
 * - `http`: it answered, but not with success, or not with what the contract says;
 * - `oversize`: the answer is larger than the caller takes;
 * - `unreachable`: the connection broke or could not be made for another reason.
 */
export type AgentServerErrorKind = 'refused' | 'timeout' | 'http' | 'oversize' | 'unreachable';

/** Longest quotation of a server's answer in an error text, in characters. */
const QUOTED_CHARACTERS = 600;

/** The one error of this room. A call that its caller aborted throws the signal's reason instead. */
export class AgentServerError extends Error {
  /** HTTP status of the answer; null when there was none. */
  readonly status: number | null;
  readonly kind: AgentServerErrorKind;
  /** What the server gave as reason (`detail` and `exception` of its body), or what happened to the connection. */
  readonly detail: string;
  /** Method and path of the call, without host and query. */
  readonly call: string;

  constructor(failure: {
    status: number | null;
    kind: AgentServerErrorKind;
    detail: string;
    call: string;
    cause?: unknown;
  }) {
    super(`${failure.call}: ${failure.detail}`, { cause: failure.cause });
    this.name = 'AgentServerError';
    this.status = failure.status;
    this.kind = failure.kind;
    this.detail = failure.detail;
    this.call = failure.call;
  }
}

/** Shortens a quotation to a length that still fits into a sentence. */
export function truncate(text: string, limit = QUOTED_CHARACTERS): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}…`;
}

/**
 * The reason in an error body: `detail` as text or as FastAPI's list of field errors, and the `exception`
 * that 5xx answers carry; a body of another form is quoted as it is.
 */
export function reasonOf(status: number, body: string): string {
  const parsed = parseObject(body);
  if (!parsed) return truncate(`HTTP ${status} ${body.trim() || 'without a body'}`);
  const detail = detailText(parsed['detail']);
  const exception = typeof parsed['exception'] === 'string' ? parsed['exception'] : '';
  const reason = [detail, exception].filter((part) => part !== '').join(': ');
  return truncate(`HTTP ${status} ${reason || body.trim()}`);
}

function detailText(detail: unknown): string {
  if (typeof detail === 'string') return detail;
  if (!Array.isArray(detail)) return detail === undefined ? '' : JSON.stringify(detail);
  return detail
    .map((item: unknown) => {
      if (typeof item !== 'object' || item === null) return String(item);
      const { loc, msg } = item as { loc?: unknown; msg?: unknown };
      const place = Array.isArray(loc) ? loc.join('.') : '';
      return `${place}: ${typeof msg === 'string' ? msg : 'invalid'}`;
    })
    .join('; ');
}

function parseObject(body: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null; // not JSON: the caller quotes the text itself
  }
}
