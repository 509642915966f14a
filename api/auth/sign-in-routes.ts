/** Signing in and out, whatever the strategy (contract 13, 16.11). */
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { AuthStrategy } from '../../identity/auth-strategy.js';
import { sessionCookieOf } from '../../identity/session-cookie.js';
import { IdentityProviderUnavailable, SignInRefused, type SignIn } from '../../identity/sign-in.js';
import { answerTo } from '../errors.js';
import { notFound } from '../http-error.js';
import { requireOwnPage } from '../middleware/cross-site.js';
import { route, type RouteDefinition } from '../route.js';
import { browserAddress, safeReturn } from './browser-address.js';
import { refusedPage, signedInPage } from './pages.js';

export interface SignInRouteDeps {
  auth: AuthStrategy;
  publicUrl: string | null;
  corsOrigins: readonly string[];
}

export const LOGIN_PATH = '/api/auth/login';
const Message = z.object({ message: z.string() });

/** The way in, the way back from the identity provider, and the ways out. */
export const signInRoutes = (deps: SignInRouteDeps): RouteDefinition[] => [
  ...enteringRoutes(deps),
  ...leavingRoutes(deps),
];

function enteringRoutes(deps: SignInRouteDeps): RouteDefinition[] {
  return [
    route({
      method: 'get',
      path: LOGIN_PATH,
      summary: 'Send a browser to sign in',
      tag: 'Signing in',
      guard: 'open',
      limit: 'signIn',
      query: z.object({
        redirect: z.string().optional(),
        next: z.string().optional(),
        organization: z.string().min(1).max(200).optional(),
      }),
      responses: {
        303: { description: 'To the identity provider.' },
        404: { description: 'This server knows no users.' },
        503: { description: 'The identity provider does not answer.' },
      },
      async handle({ query, request, response }) {
        const baseUrl = browserAddress(request, deps.publicUrl);
        const { location, cookies } = await signInOf(deps).begin({
          baseUrl,
          returnTo: safeReturn(query.redirect ?? query.next, baseUrl, deps.corsOrigins),
          organization: query.organization ?? null,
        });
        setCookies(response, cookies);
        response.redirect(303, location);
        return undefined;
      },
    }),
    route({
      method: 'get',
      path: '/api/auth/callback',
      summary: 'Let in who comes back from the identity provider',
      tag: 'Signing in',
      guard: 'open',
      limit: 'signIn',
      responses: {
        200: {
          description: 'Signed in; the page goes on to where the person wanted to be.',
          contentType: 'text/html',
        },
        400: { description: 'This sign-in is not known, used, or too old.' },
        403: { description: 'This person is not let in.' },
        503: { description: 'The identity provider does not answer.' },
      },
      async handle({ request, response }) {
        const baseUrl = browserAddress(request, deps.publicUrl);
        const start = request.originalUrl.indexOf('?');
        const search = start === -1 ? '' : request.originalUrl.slice(start);
        try {
          const step = await signInOf(deps).complete({ baseUrl, search, headers: request.headers });
          setCookies(response, step.cookies);
          response.status(200).type('html').send(signedInPage(step.location));
        } catch (error) {
          if (!isForPeople(error) || !request.accepts(['json', 'html']).toString().includes('html'))
            throw error;
          const status = answerTo(error)?.status ?? 500;
          response
            .status(status)
            .type('html')
            .send(refusedPage(error.message, `${baseUrl}${LOGIN_PATH}`));
        }
        return undefined;
      },
    }),
    route({
      method: 'post',
      path: '/api/authenticate',
      summary: 'Tell a web client whether its user is signed in',
      tag: 'Signing in',
      guard: 'user',
      responses: {
        200: { description: 'Signed in, or there is nothing to sign in to.', schema: Message },
        401: { description: 'Not signed in.' },
      },
      handle: () => Promise.resolve({ message: 'User authenticated' }),
    }),
  ];
}

function leavingRoutes(deps: SignInRouteDeps): RouteDefinition[] {
  const leave = async (request: Request, response: Response): Promise<string | null> => {
    const { signIn } = deps.auth;
    if (!signIn) return null;
    if (sessionCookieOf(request.headers) !== null) requireOwnPage(request, deps);
    const baseUrl = browserAddress(request, deps.publicUrl);
    const { location, cookies } = await signIn.end({ baseUrl, headers: request.headers });
    setCookies(response, cookies);
    return location === '' ? null : location;
  };
  const common = { method: 'post', tag: 'Signing in' } as const;
  return [
    route({
      ...common,
      path: '/api/auth/logout',
      summary: 'End the session of this browser',
      guard: 'open',
      responses: {
        200: {
          description:
            'Ended. Where the identity provider has a session of its own, `logout_url` ends that one.',
          schema: Message.extend({ logout_url: z.string().nullable() }),
        },
      },
      handle: async ({ request, response }) => ({
        message: 'Signed out',
        logout_url: await leave(request, response),
      }),
    }),
    route({
      ...common,
      path: '/api/logout',
      summary: 'End the session of this browser, in the form of older clients',
      guard: 'open',
      responses: { 200: { description: 'Ended.', schema: Message } },
      async handle({ request, response }) {
        await leave(request, response);
        return { message: 'User logged out' };
      },
    }),
    route({
      ...common,
      path: '/api/auth/logout-everywhere',
      summary: 'End all sessions of the caller, on all devices',
      guard: 'user',
      responses: {
        200: { description: 'Ended.', schema: Message },
        401: { description: 'Not signed in.' },
        404: { description: 'This server knows no users.' },
      },
      async handle({ user, request, response }) {
        const signIn = signInOf(deps);
        if (user.userId === null) throw notFound();
        await leave(request, response);
        await signIn.endAll(user.userId);
        return { message: 'Signed out everywhere' };
      },
    }),
  ];
}

function signInOf({ auth }: Pick<SignInRouteDeps, 'auth'>): SignIn {
  if (auth.signIn) return auth.signIn;
  throw notFound('There is nothing to sign in to: this server knows no users.');
}

function setCookies(response: Response, cookies: readonly string[]): void {
  for (const cookie of cookies) response.append('Set-Cookie', cookie);
}

const isForPeople = (error: unknown): error is Error =>
  error instanceof SignInRefused || error instanceof IdentityProviderUnavailable;
