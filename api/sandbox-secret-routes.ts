/** Where agents in a sandbox read the secrets of its owner (contract 8.2). */
import type { Request } from 'express';
import { z } from 'zod';
import { GIT_PROVIDERS, type GitProvider } from '../contract/primitives.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { SecretsStore } from '../identity/secrets-store.js';
import type { TokensOf } from '../identity/secrets-token-provider.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { requireRunningSandbox } from './sandbox-key-guard.js';
import { storable } from './storable-text.js';

export interface SandboxSecretDeps {
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash'>;
  secrets: Pick<SecretsStore, 'searchCustom' | 'readCustomValue'>;
  tokensOf: TokensOf;
  /** True where every sandbox has to have an owner: in all auth modes but `none`. */
  requireOwner: boolean;
}

const SecretList = z.object({
  secrets: z.array(z.object({ name: z.string(), description: z.string().nullable() })),
});
const refusals = {
  401: { description: 'No session key, or not that of a running sandbox with an owner.' },
  403: { description: 'The session key of another sandbox.' },
};

/** Custom secrets before provider tokens, always as they are now. */
export const sandboxSecretRoutes = (deps: SandboxSecretDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/sandboxes/{sandbox_id}/settings/secrets',
    summary: 'List the secrets of the owner of a sandbox, without values',
    tag: 'Sandboxes',
    guard: 'self',
    params: z.object({ sandbox_id: z.string() }),
    responses: { 200: { description: 'Names and descriptions.', schema: SecretList }, ...refusals },
    async handle({ params, request }): Promise<z.infer<typeof SecretList>> {
      const owner = await ownerOf(deps, request, params.sandbox_id);
      const [custom, tokens] = await Promise.all([
        deps.secrets.searchCustom(owner),
        deps.tokensOf(owner).getAll(),
      ]);
      const names = new Set(custom.map(({ name }) => name));
      const ofProviders = [...tokens.keys()]
        .map((provider) => ({ name: tokenName(provider), description: `${provider} provider token` }))
        .filter(({ name }) => !names.has(name));
      return { secrets: [...custom, ...ofProviders] };
    },
  }),
  route({
    method: 'get',
    path: '/api/v1/sandboxes/{sandbox_id}/settings/secrets/{secret_name}',
    summary: 'Read a secret of the owner of a sandbox',
    tag: 'Sandboxes',
    guard: 'self',
    params: z.object({ sandbox_id: z.string(), secret_name: z.string() }),
    responses: {
      200: { description: 'The value.', schema: z.string(), contentType: 'text/plain' },
      ...refusals,
      404: { description: 'There is no such secret, or it is empty.' },
    },
    async handle({ params, request, response }) {
      const owner = await ownerOf(deps, request, params.sandbox_id);
      const value = await valueOf(deps, owner, storable(params.secret_name));
      if (value === null) throw notFound('Secret not found');
      if (value === '') throw notFound('Secret has no value');
      response.type('text/plain; charset=utf-8').send(value);
      return undefined;
    },
  }),
];

/** Whose secrets the caller may read. @throws {HttpError} 401, 403 */
async function ownerOf(
  { sandboxes, requireOwner }: SandboxSecretDeps,
  request: Request,
  sandboxId: string,
): Promise<string | null> {
  const sandbox = await requireRunningSandbox(sandboxes, request);
  if (requireOwner && sandbox.createdByUserId === null) {
    throw new HttpError(401, 'Sandbox has no associated user');
  }
  if (sandbox.id !== sandboxId) throw new HttpError(403, 'Session API key does not match sandbox');
  return sandbox.createdByUserId;
}

async function valueOf(deps: SandboxSecretDeps, owner: string | null, name: string): Promise<string | null> {
  const custom = await deps.secrets.readCustomValue(owner, name);
  if (custom !== null) return custom;
  const provider = GIT_PROVIDERS.find((each) => tokenName(each) === name.toLowerCase());
  const held = provider && (await deps.tokensOf(owner).get(provider));
  return held?.token ?? null;
}

const tokenName = (provider: GitProvider): string => `${provider}_token`;
