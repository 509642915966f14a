/** A failure that a client is told of: status and body `{"detail": …}` (contract 1.5, shape A). */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    /** Overrides the body where the contract asks for another shape (C `{"error"}`, D bare string, E `{"message"}`). */
    readonly body?: unknown,
    readonly headers: Record<string, string> = {},
  ) {
    super(detail);
    this.name = 'HttpError';
  }
}

/** 404 of a thing that is not there, or not the caller's: the two are not told apart. */
export const notFound = (detail = 'Not Found'): HttpError => new HttpError(404, detail);

export interface ErrorAnswer {
  status: number;
  /** Sent as JSON; a failure nobody foresaw is a plain text (contract 1.5, shape G). */
  body: unknown;
  headers: Readonly<Record<string, string>>;
}
