/** A real OpenID Connect provider, whose people sign in without being asked anything. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';
import { listen, originOf, stop } from './loopback.js';

export interface Person {
  preferred_username: string;
  email?: string;
  groups?: string[];
}

export const OIDC_CLIENT = { id: 'callboard', secret: 'a secret of the tests that is long enough' };

export class OidcServer {
  url = '';
  /** Who is at the browser. */
  visitor = 'ann';
  readonly people = new Map<string, Person>();
  /** Lifetime of access tokens, in seconds. */
  accessTokenSeconds = 300;
  renewals = 0;
  /** How far the clock that dates ID tokens is ahead of ours, in seconds. */
  clockAheadSeconds = 0;
  /** Answers 503 to everything while true. */
  isDown = false;
  #handle: ((request: IncomingMessage, response: ServerResponse) => void) | null = null;
  #provider: Provider | null = null;
  #key: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'] | null = null;
  readonly #server = createServer((request, response) => {
    if (this.isDown || !this.#handle) response.writeHead(503).end();
    else this.#handle(request, response);
  });

  async listen(): Promise<this> {
    await listen(this.#server);
    this.url = originOf(this.#server);
    return this;
  }

  close(): Promise<void> {
    return stop(this.#server);
  }

  /** Opens for one client, whose address is known by now. */
  async serve(clientUrl: string): Promise<void> {
    const { privateKey } = await generateKeyPair('RS256', { extractable: true });
    this.#key = privateKey;
    const jwk = { ...(await exportJWK(privateKey)), kid: 'k1', alg: 'RS256', use: 'sig' };
    const provider = new Provider(this.url, this.#configuration(clientUrl, jwk));
    provider.on('grant.success', (context) => {
      if (context.oidc.params?.['grant_type'] === 'refresh_token') this.renewals++;
    });
    this.#provider = provider;
    const answer = provider.callback();
    this.#handle = (request, response) => {
      if (request.url === '/token' && this.clockAheadSeconds !== 0) this.#misdate(response);
      if (request.url?.startsWith('/interaction/')) void this.#signIn(request, response);
      else void answer(request, response);
    };
  }

  /** A token signed by the provider's key. */
  sign(claims: JWTPayload, header: Record<string, string> = {}): Promise<string> {
    if (!this.#key) throw new Error('the provider does not serve yet');
    return new SignJWT({ iss: this.url, iat: Math.floor(Date.now() / 1000), ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header })
      .sign(this.#key);
  }

  /** Has the ID token of an answer dated by a clock that is off. */
  #misdate(response: ServerResponse): void {
    const end = response.end.bind(response);
    const redated = async (body: string): Promise<string> => {
      const answer = JSON.parse(body) as { id_token?: string };
      if (answer.id_token === undefined) return body;
      const claims = decodeJwt(answer.id_token);
      const dated = (time = 0) => time + this.clockAheadSeconds;
      const id_token = await this.sign({ ...claims, iat: dated(claims.iat), exp: dated(claims.exp) });
      return JSON.stringify({ ...answer, id_token });
    };
    response.end = ((body: unknown) => {
      void redated(String(body)).then((text) => {
        response.setHeader('Content-Length', Buffer.byteLength(text));
        end(text);
      });
      return response;
    }) as typeof response.end;
  }

  #configuration(clientUrl: string, jwk: object): Configuration {
    return {
      clients: [
        {
          client_id: OIDC_CLIENT.id,
          client_secret: OIDC_CLIENT.secret,
          token_endpoint_auth_method: 'client_secret_post',
          redirect_uris: [`${clientUrl}/api/auth/callback`],
          post_logout_redirect_uris: [`${clientUrl}/`],
          grant_types: ['authorization_code', 'refresh_token'],
          backchannel_logout_uri: `${clientUrl}/api/auth/backchannel-logout`,
          backchannel_logout_session_required: true,
        },
      ],
      jwks: { keys: [jwk] },
      cookies: { keys: ['a key of the tests'] },
      claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email'], groups: ['groups'] },
      scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
      features: {
        devInteractions: { enabled: false },
        revocation: { enabled: true },
        backchannelLogout: { enabled: true },
      },
      // Its own way keeps to public addresses, and we are on this machine.
      fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      issueRefreshToken: () => Promise.resolve(true),
      rotateRefreshToken: true,
      pkce: { required: () => true },
      ttl: {
        AccessToken: () => this.accessTokenSeconds,
        Session: 3600,
        Grant: 3600,
        RefreshToken: 3600,
        IdToken: 3600,
        Interaction: 600,
      },
      findAccount: (_, id) => {
        const person = this.people.get(id);
        return person && { accountId: id, claims: () => ({ sub: id, ...person }) };
      },
      loadExistingGrant: async (context) => {
        const { client, session, provider } = context.oidc;
        const grant = new provider.Grant({
          clientId: client?.clientId ?? '',
          accountId: session?.accountId ?? '',
        });
        grant.addOIDCScope('openid profile email groups offline_access');
        await grant.save();
        return grant;
      },
    };
  }

  async #signIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#provider?.interactionFinished(request, response, { login: { accountId: this.visitor } });
  }
}
