/** The form of a call of the 2025-11 web client. */

/** What a page remembers from one call to the next. */
export interface Page {
  /** Where the product keeps its sandboxes. */
  directory: string;
  modelUrl: string;
  /** A GitHub with a token that opens it. */
  gitHost: { url: string; token: string };
  task: string;
  /** Id of the open conversation, as in the address of the page. */
  id: string;
  childTask: string;
  child: string;
  other: string;
  sandboxId: string;
  /** Members of the open conversation, from call 29. */
  url: string;
  key: string;
}

export interface FrontendCall {
  /** Numbers in the client's list, and what the page does. */
  call: string;
  request: string | ((page: Page) => string);
  body?: (page: Page) => unknown;
  /** To the host of the conversation's address, with the key of its sandbox. */
  runtime?: true;
  /** Where the client relies on this very status; any 2xx otherwise. */
  status?: number;
  /** Members read from the answer: `a.b`, `[].a` of each of a list that is not empty. */
  reads?: readonly string[];
  /** The page asks again, every now and then, until it likes the answer. */
  until?: (body: unknown) => void;
  keep?: (page: Page, body: unknown) => void;
}

export type Json = Record<string, unknown>;

export const eachOf = (prefix: string, members: readonly string[]): string[] =>
  members.map((name) => `${prefix}.${name}`);
