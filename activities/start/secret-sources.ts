/** Secrets in the form in which the agent-server takes them (contract 8; agent-server contract 14). */
import type { GitProvider } from '../../contract/primitives.js';
import type { AccessTokens } from '../../identity/access-token.js';
import type { ProviderToken } from '../../identity/user-context.js';
import type { CustomSecrets } from './start-loader.js';

export type SecretSource =
  | { kind: 'StaticSecret'; value: string; description: string | null }
  | { kind: 'LookupSecret'; url: string; headers: Record<string, string>; description: string | null };

const staticSecret = (value: string, description: string | null = null): SecretSource => ({
  kind: 'StaticSecret',
  value,
  description,
});

/** Name of the variable that holds a provider's token: `GITHUB_TOKEN`, `BITBUCKET_DATA_CENTER_TOKEN`, … */
export const tokenVariable = (provider: GitProvider): string => `${provider.toUpperCase()}_TOKEN`;

/**
 * The provider tokens of a user. With a public address the agent fetches each one when it needs it, so that it is never
 * stale and the sandbox holds no copy; otherwise it is handed over as it is.
 * @param lookup null hands over values.
 */
export async function providerSecrets(
  tokens: ReadonlyMap<GitProvider, ProviderToken>,
  lookup: {
    publicUrl: string;
    accessTokens: Pick<AccessTokens, 'issue'>;
    userId: string | null;
    organizationId: string | null;
  } | null,
): Promise<Record<string, SecretSource>> {
  const held = [...tokens].filter(([, { token }]) => token !== '');
  const sources = await Promise.all(
    held.map(async ([provider, { token }]): Promise<[string, SecretSource]> => {
      const description = `${provider.toUpperCase()} authentication token`;
      if (lookup === null) return [tokenVariable(provider), staticSecret(token, description)];
      const accessToken = await lookup.accessTokens.issue({
        userId: lookup.userId,
        providerType: provider,
        organizationId: lookup.organizationId,
      });
      const source: SecretSource = {
        kind: 'LookupSecret',
        url: `${lookup.publicUrl}/api/v1/webhooks/secrets`,
        headers: { 'X-Access-Token': accessToken },
        description,
      };
      return [tokenVariable(provider), source];
    }),
  );
  return Object.fromEntries(sources);
}

/** All secrets of a conversation; of one name the request's wins, then the provider's, then the user's own. */
export const allSecrets = (
  custom: CustomSecrets,
  provider: Record<string, SecretSource>,
  request: Record<string, string>,
): Record<string, SecretSource> => ({
  ...Object.fromEntries(
    [...custom].map(([name, { value, description }]) => [name, staticSecret(value, description)]),
  ),
  ...provider,
  ...Object.fromEntries(Object.entries(request).map(([name, value]) => [name, staticSecret(value)])),
});
