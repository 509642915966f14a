/** Who callers are, and which git providers they use. */
import { z } from 'zod';
import {
  allowedHost,
  flag,
  issuerAddress,
  list,
  secret,
  setting,
  text,
  variables,
  webAddress,
  wholeNumber,
} from '../setting.js';

export const auth = z.object({
  strategy: setting(
    z
      .enum(
        ['none', 'su', 'single_user_github', 'mu', 'multi_user'],
        'must be none, single_user_github or multi_user',
      )
      .transform((name) => (name === 'su' ? 'single_user_github' : name === 'mu' ? 'multi_user' : name))
      .default('none'),
    {
      env: ['OPENHANDS_AUTH_MODE'],
      about:
        'Who may use this instance: `none` = whoever reaches it, `single_user_github` (also `su`) = one GitHub account, `multi_user` (also `mu`) = whom an OpenID Connect provider lets in.',
    },
  ),
  allowed: setting(
    text()
      .regex(/^(\d{1,20}|[A-Za-z\d](-?[A-Za-z\d]){0,99})$/, 'must be a GitHub id (digits) or a GitHub login')
      .nullable()
      .default(null),
    {
      env: ['SU_GITHUB_ALLOWED'],
      about: 'The one GitHub account let in, by numeric id (better, since logins can change hands) or login.',
    },
  ),
  githubClientId: setting(text().nullable().default(null), {
    env: ['GITHUB_OAUTH_CLIENT_ID'],
    about: 'OAuth app or GitHub App at GitHub; its callback address is `<public address>/api/auth/callback`.',
  }),
  githubClientSecret: setting(secret(), {
    env: ['GITHUB_OAUTH_CLIENT_SECRET'],
    about: 'Its secret.',
  }),
  githubScopes: setting(text().default('repo read:user user:email'), {
    env: ['CALLBOARD_GITHUB_SCOPES'],
    about:
      'What the OAuth app asks for, separated by spaces; the permissions of a GitHub App are set at GitHub.',
  }),
  githubUrl: setting(webAddress().default('https://github.com'), {
    env: ['CALLBOARD_GITHUB_URL'],
    about: 'GitHub, or an enterprise server.',
  }),
  githubApiUrl: setting(webAddress().nullable().default(null), {
    env: ['CALLBOARD_GITHUB_API_URL'],
    about: 'Its API.',
    fallback: '`https://api.github.com`, or `<enterprise server>/api/v3`',
  }),
  oidcIssuer: setting(issuerAddress().nullable().default(null), {
    env: ['OIDC_ISSUER'],
    about: 'OpenID Connect provider of `multi_user`, exactly as it names itself.',
  }),
  oidcDiscoveryUrl: setting(webAddress().nullable().default(null), {
    env: ['OIDC_DISCOVERY_URL'],
    about:
      'Where its description is read from here, where browsers reach the provider under another address.',
    fallback: '`<issuer>/.well-known/openid-configuration`',
  }),
  oidcClientId: setting(text().nullable().default(null), {
    env: ['OIDC_CLIENT_ID'],
    about: 'This server at the provider; its redirect address is `<public address>/api/auth/callback`.',
  }),
  oidcClientSecret: setting(secret(), {
    env: ['OIDC_CLIENT_SECRET'],
    about: 'Its secret; none for a public client.',
  }),
  oidcScopes: setting(
    text()
      .regex(/^(\S+ )*openid( \S+)*$/, 'must name scopes separated by single spaces, openid among them')
      .default('openid profile email'),
    {
      env: ['OIDC_SCOPES'],
      about: 'What is asked of the provider; it has to give refresh tokens, some only with `offline_access`.',
    },
  ),
  oidcAudience: setting(text().nullable().default(null), {
    env: ['OIDC_AUDIENCE'],
    about: 'Audience of access tokens that are taken as `Authorization: Bearer`.',
    fallback: 'no access token is taken',
  }),
  oidcOrganizationsClaim: setting(text().nullable().default(null), {
    env: ['OIDC_ORGANIZATIONS_CLAIM'],
    about: 'Claim that names the organizations of a person, such as `groups`; dots lead into objects.',
    fallback: 'organizations do not come from the provider',
  }),
  module: setting(text().nullable().default(null), {
    env: ['CALLBOARD_AUTH_MODULE'],
    about:
      'A JavaScript module that is the strategy of `multi_user` instead of OpenID Connect: a path, or the name of a package (see docs/identity.md).',
  }),
  moduleSettings: setting(variables().default({}), {
    env: ['CALLBOARD_AUTH_MODULE_SETTINGS'],
    about: 'What that module is given, a JSON object.',
  }),
  sessionHours: setting(wholeNumber(1, 8_760).default(336), {
    env: ['CALLBOARD_SESSION_HOURS'],
    about: 'How long a person stays signed in at most.',
  }),
  sessionIdleHours: setting(wholeNumber(1, 8_760).default(72), {
    env: ['CALLBOARD_SESSION_IDLE_HOURS'],
    about: 'How long a person stays signed in without doing anything.',
  }),
});

export const git = z.object({
  allowedPrivateHosts: setting(list(allowedHost()).default([]), {
    env: ['CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS'],
    about:
      'Git hosts that this server may ask although they are not on the public internet, `host[:port]`, behind `http://` where they have no https (see docs/git-providers.md).',
  }),
  timeoutSeconds: setting(wholeNumber(1, 120).default(15), {
    env: ['CALLBOARD_GIT_TIMEOUT_SECONDS'],
    about: 'How long a git provider may take for one answer.',
  }),
  verifyTokens: setting(flag().default(true), {
    env: ['CALLBOARD_GIT_VERIFY_TOKENS'],
    about:
      'Whether a git token is tried at its provider before it is stored; off where only sandboxes reach the provider.',
  }),
});
