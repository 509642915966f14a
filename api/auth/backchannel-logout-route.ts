import { z } from 'zod';
import type { AuthStrategy } from '../../identity/auth-strategy.js';
import { HttpError, notFound } from '../http-error.js';
import { readBody } from '../read-body.js';
import { route, type RouteDefinition } from '../route.js';

const LARGEST_BODY = 64 * 1024;
const BODY_WITHIN_MS = 10_000;

/**
 * Where an OpenID Connect provider tells that a session is over (Back-Channel Logout 1.0). Its signature is the proof;
 * everything that is wrong with a token is answered alike.
 */
export const backchannelLogoutRoute = ({ auth }: { auth: AuthStrategy }): RouteDefinition =>
  route({
    method: 'post',
    path: '/api/auth/backchannel-logout',
    summary: 'End sessions that the identity provider has ended; takes the form field logout_token',
    tag: 'Signing in',
    guard: 'self',
    limit: 'free', // one provider speaks for everybody
    responses: {
      200: { description: 'Ended, or there were none.', schema: z.object({ message: z.string() }) },
      400: { description: 'The token is not good, or came before.' },
      404: { description: 'No identity provider of this server says when sessions are over.' },
      503: { description: 'The keys of the identity provider are out of reach.' },
    },
    async handle({ request }) {
      const { signIn } = auth;
      if (!signIn?.endByProvider) throw notFound();
      const limits = { bytes: LARGEST_BODY, withinMs: BODY_WITHIN_MS, take: () => undefined };
      const body = await readBody(request, limits);
      const tokens = new URLSearchParams(body.toString('utf8')).getAll('logout_token');
      const [token] = tokens;
      if (tokens.length !== 1 || !token || !(await signIn.endByProvider(token))) {
        throw new HttpError(400, 'invalid_request', {
          error: 'invalid_request',
          error_description: 'The logout token is missing, is not good, or came before.',
        });
      }
      return { message: 'Signed out' };
    },
  });
