/** What the ways of signing in need of each other: an instance that was meant to be closed never runs open. */
import type { z } from 'zod';
import type { Secret } from '../contract/masking.js';

interface AuthSettings {
  server: { host: string; publicUrl: string | null };
  auth: {
    strategy: 'none' | 'single_user_github' | 'multi_user';
    allowed: string | null;
    githubClientId: string | null;
    githubClientSecret: Secret | null;
    oidcIssuer: string | null;
    oidcClientId: string | null;
    oidcAudience: string | null;
    module: string | null;
  };
}

const LOOPBACK = /^(localhost|(.+\.)?localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/;

/** Names every setting that is missing or in the way. */
export function checkAuth({ server, auth }: AuthSettings, context: Pick<z.RefinementCtx, 'addIssue'>): void {
  if (auth.strategy === 'none') return;
  const issue = (path: [string, string], message: string): void =>
    context.addIssue({ code: 'custom', path, message });
  for (const name of needed(auth)) {
    if (auth[name] === null) issue(['auth', name], `is needed by the auth strategy ${auth.strategy}`);
  }
  if (auth.oidcAudience !== null && auth.oidcAudience === auth.oidcClientId) {
    issue(['auth', 'oidcAudience'], 'must not be the client id: ID tokens would be taken for access tokens');
  }
  if (server.publicUrl === null) {
    if (LOOPBACK.test(server.host)) return;
    issue(
      ['server', 'publicUrl'],
      `is needed by the auth strategy ${auth.strategy}: browsers come back to it from signing in`,
    );
  } else {
    const { protocol, hostname } = new URL(server.publicUrl);
    if (protocol === 'https:' || LOOPBACK.test(hostname)) return;
    issue(
      ['server', 'publicUrl'],
      `must be https for the auth strategy ${auth.strategy}: over http anybody on the way could take the session`,
    );
  }
}

function needed({ strategy, module }: AuthSettings['auth']) {
  if (strategy === 'single_user_github') {
    return ['allowed', 'githubClientId', 'githubClientSecret'] as const;
  }
  return module === null ? (['oidcIssuer', 'oidcClientId'] as const) : [];
}
