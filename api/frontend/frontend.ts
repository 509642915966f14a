/**
 * Serves a built web client from this server's own origin, beside the API and the gateway (contract 1.6): its files as they are,
 * and its start page for every address of its own. No request reads a directory.
 */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import express, { type Request, type RequestHandler, type Response } from 'express';
import { sendJson } from '../errors.js';
import { PolicyOfPages } from './content-policy.js';
import { filePathOf, isAsset, isNavigation } from './frontend-paths.js';
import { storedForms, type StoredForm } from './stored-forms.js';

export interface FrontendSettings {
  /** Absolute path of the build. */
  directory: string;
  /** Further addresses that its pages talk to or show, as sources of a content security policy. */
  sources: readonly string[];
}

const START_PAGE = '/index.html';

/** Files whose names tell their content never change: a month, as the reference says. */
const FOR_A_MONTH = 'public, max-age=2592000, immutable';
/** Everything else is asked for anew, and answered with 304 while it is the same. */
const ASK_AGAIN = 'no-cache';

/**
 * Finds out whether a directory holds a build.
 * @returns what is wrong with it, in one sentence; null when it can be served
 */
export function whatIsWrongWith(directory: string): string | null {
  const page = join(directory, START_PAGE);
  if (existsSync(page) && statSync(page).isFile()) return null;
  return `FRONTEND_DIR is ${directory}, where no index.html is: build the frontend and name the directory of the build.`;
}

/** The handler; comes after everything that this server serves itself. */
export function createFrontend({ directory, sources }: FrontendSettings): RequestHandler {
  const root = realpathSync(directory);
  const policies = new PolicyOfPages(root, sources);
  const files = express.static(root, {
    index: false,
    redirect: false,
    dotfiles: 'deny',
    cacheControl: false, // said below
    fallthrough: false,
  });

  async function send(request: Request, response: Response, form: StoredForm): Promise<void> {
    const { path } = form;
    response.setHeader('Cache-Control', isAsset(path) ? FOR_A_MONTH : ASK_AGAIN);
    response.removeHeader('Pragma');
    response.removeHeader('Expires');
    response.type(extname(path) || 'bin');
    if (form.varies) response.vary('Accept-Encoding');
    if (form.encoding) response.setHeader('Content-Encoding', form.encoding);
    if (form.isPage) {
      response.setHeader('Content-Security-Policy', await policies.of(path, request.host));
    }
    const asked = request.url;
    request.url = encodeURI(`${path}${form.suffix}`).replaceAll(/[?#]/g, encodeURIComponent);
    await new Promise<void>((resolve) => {
      response.once('close', resolve);
      void files(request, response, (error?: unknown) => {
        request.url = asked;
        refuse(response, error);
        resolve();
      });
    });
  }

  return async (request, response, next) => {
    const path = request.method === 'GET' || request.method === 'HEAD' ? filePathOf(request.path) : null;
    if (path === null) {
      next();
      return;
    }
    const form =
      (await storedForms(root, path === '/' ? START_PAGE : path, request)) ??
      (isNavigation(request, path) ? await storedForms(root, START_PAGE, request) : null);
    if (form) await send(request, response, form);
    else next();
  };
}

/** What the file cannot be sent for: it has vanished, or the range or condition does not fit it. */
function refuse(response: Response, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status = 404, headers = {} } = (error ?? {}) as {
    status?: number;
    headers?: Record<string, string>;
  };
  for (const name of ['Content-Type', 'Content-Encoding', 'ETag', 'Last-Modified'])
    response.removeHeader(name);
  response.setHeader('Cache-Control', 'no-store');
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const detail =
    status === 416 ? 'Range Not Satisfiable' : status === 412 ? 'Precondition Failed' : 'Not Found';
  sendJson(response, status, { detail });
}
