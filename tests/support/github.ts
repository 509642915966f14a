/** GitHub's OAuth endpoints as they behave: errors with status 200, PKCE, codes good once, refresh tokens that rotate. */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen, originOf, stop } from './loopback.js';

export interface GitHubAccount {
  id: number;
  login: string;
}

interface Grant {
  account: GitHubAccount;
  challenge: string;
  redirectUri: string;
}

export class FakeGitHub {
  readonly clientId = 'Iv1.client';
  readonly clientSecret = 'client-secret-of-the-tests';
  /** Who is at the browser; null refuses. */
  visitor: GitHubAccount | null = { id: 4242, login: 'octocat' };
  /** Lifetime of tokens in seconds, as of a GitHub App; null for those of an OAuth app. */
  tokenSeconds: number | null = null;
  /** Requests to renew a token. */
  renewals = 0;
  /** Answers 502 to everything while true. */
  isDown = false;
  /** Runs before a renewal is answered. */
  beforeRenewal: () => Promise<void> = () => Promise.resolve();
  lastAuthorization: URLSearchParams | null = null;

  readonly #codes = new Map<string, Grant>();
  readonly #tokens = new Map<string, GitHubAccount>();
  readonly #refreshTokens = new Map<string, GitHubAccount>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  url = '';

  async listen(): Promise<this> {
    await listen(this.#server);
    this.url = originOf(this.#server);
    return this;
  }

  close(): Promise<void> {
    return stop(this.#server);
  }

  /** Ends all refresh tokens, as a person does who revokes the app. */
  revokeAll(): void {
    this.#refreshTokens.clear();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    if (this.isDown) {
      response.writeHead(502).end('bad gateway');
      return;
    }
    if (url.pathname === '/login/oauth/authorize') this.#authorize(url, response);
    else if (url.pathname === '/login/oauth/access_token' && request.method === 'POST') {
      json(response, 200, await this.#token(new URLSearchParams(await bodyOf(request))));
    } else if (url.pathname === '/api/v3/user') this.#user(request, response);
    else response.writeHead(404).end();
  }

  #authorize({ searchParams }: URL, response: ServerResponse): void {
    this.lastAuthorization = searchParams;
    const back = new URL(searchParams.get('redirect_uri') ?? '');
    back.searchParams.set('state', searchParams.get('state') ?? '');
    if (this.visitor === null) back.searchParams.set('error', 'access_denied');
    else {
      const code = randomBytes(10).toString('hex');
      this.#codes.set(code, {
        account: this.visitor,
        challenge: searchParams.get('code_challenge') ?? '',
        redirectUri: searchParams.get('redirect_uri') ?? '',
      });
      back.searchParams.set('code', code);
    }
    response.writeHead(302, { Location: back.href }).end();
  }

  async #token(form: URLSearchParams): Promise<Record<string, unknown>> {
    if (form.get('client_id') !== this.clientId || form.get('client_secret') !== this.clientSecret) {
      return { error: 'incorrect_client_credentials' };
    }
    if (form.get('grant_type') === 'refresh_token') {
      this.renewals++;
      await this.beforeRenewal();
      const account = this.#refreshTokens.get(form.get('refresh_token') ?? '');
      if (!account) return { error: 'bad_refresh_token' };
      this.#refreshTokens.delete(form.get('refresh_token') ?? '');
      return this.#grant(account);
    }
    const code = form.get('code') ?? '';
    const grant = this.#codes.get(code);
    this.#codes.delete(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (!grant || grant.challenge !== challenge || grant.redirectUri !== form.get('redirect_uri')) {
      return {
        error: 'bad_verification_code',
        error_description: 'The code passed is incorrect or expired.',
      };
    }
    return this.#grant(grant.account);
  }

  #grant(account: GitHubAccount): Record<string, unknown> {
    const token = `ghu_${randomBytes(16).toString('hex')}`;
    this.#tokens.set(token, account);
    if (this.tokenSeconds === null) return { access_token: token, token_type: 'bearer', scope: 'repo' };
    const refresh = `ghr_${randomBytes(16).toString('hex')}`;
    this.#refreshTokens.set(refresh, account);
    return {
      access_token: token,
      token_type: 'bearer',
      scope: '',
      expires_in: this.tokenSeconds,
      refresh_token: refresh,
      refresh_token_expires_in: 15_811_200,
    };
  }

  #user({ headers }: IncomingMessage, response: ServerResponse): void {
    const account = this.#tokens.get((headers.authorization ?? '').replace(/^Bearer /, ''));
    if (!account) json(response, 401, { message: 'Bad credentials' });
    else json(response, 200, { ...account, name: 'The Octocat', email: null, avatar_url: '', company: null });
  }
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}
