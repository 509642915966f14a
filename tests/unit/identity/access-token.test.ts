import { SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { AccessTokens, InvalidAccessToken } from '../../../identity/access-token.js';

const key = (id: string, fill: number) => ({ id, secret: new Uint8Array(32).fill(fill) });
const old = key('old', 1);
const current = key('new', 2);
const grant = { userId: 'user-1', providerType: 'github', organizationId: null } as const;
const DAY_MS = 24 * 3600 * 1000;

describe('an access token', () => {
  it('grants what it was issued for', async () => {
    const tokens = new AccessTokens([current]);
    expect(await tokens.verify(await tokens.issue(grant))).toEqual(grant);
    const nobody = { userId: null, providerType: 'gitlab', organizationId: null } as const;
    expect(await tokens.verify(await tokens.issue(nobody))).toEqual(nobody);
    const member = { ...grant, organizationId: 'an-organization' };
    expect(await tokens.verify(await tokens.issue(member))).toEqual(member);
  });

  it('is good for 14 days and not longer', async () => {
    const tokens = new AccessTokens([current]);
    const issued = new Date('2026-01-01T00:00:00Z');
    const token = await tokens.issue(grant, issued);
    expect(await tokens.verify(token, new Date(issued.getTime() + 13.9 * DAY_MS))).toEqual(grant);
    await expect(tokens.verify(token, new Date(issued.getTime() + 14.1 * DAY_MS))).rejects.toThrow(
      InvalidAccessToken,
    );
  });

  it('outlives a change of keys as long as the old key is in the ring', async () => {
    const token = await new AccessTokens([old]).issue(grant);
    expect(await new AccessTokens([current, old]).verify(token)).toEqual(grant);
    await expect(new AccessTokens([current]).verify(token)).rejects.toThrow(InvalidAccessToken);
  });

  it('has the claims of the contract and names its key', async () => {
    const token = await new AccessTokens([current]).issue(grant, new Date(1_000_000_000_000));
    const [header, payload] = token
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as unknown);
    expect(header).toEqual({ alg: 'HS256', kid: 'new' });
    expect(payload).toEqual({
      user_id: 'user-1',
      provider_type: 'github',
      iat: 1_000_000_000,
      exp: 1_000_000_000 + 14 * 24 * 3600,
    });
  });

  it('is refused when it is changed, unsigned, signed by others, incomplete or no token at all', async () => {
    const tokens = new AccessTokens([current]);
    const good = await tokens.issue(grant);
    const [header, payload, signature] = good.split('.') as [string, string, string];
    const otherPayload = Buffer.from(
      JSON.stringify({ user_id: 'user-2', provider_type: 'github', iat: 0, exp: 9_999_999_999 }),
    ).toString('base64url');
    const foreign = new SignJWT({ user_id: 'user-1', provider_type: 'github' })
      .setIssuedAt()
      .setExpirationTime('1h')
      .setProtectedHeader({ alg: 'HS256', kid: 'new' })
      .sign(new Uint8Array(32).fill(9));
    const withoutProvider = await new AccessTokens([current]).issue({
      userId: 'user-1',
      providerType: 'nonsense' as 'github',
    });
    for (const bad of [
      `${header}.${otherPayload}.${signature}`,
      `${header}.${payload}.`,
      new UnsecuredJWT({ user_id: 'user-1', provider_type: 'github' }).setExpirationTime('1h').encode(),
      await foreign,
      withoutProvider,
      'not-a-token',
      'a.b.c',
      '',
    ]) {
      await expect(tokens.verify(bad), bad).rejects.toThrow(InvalidAccessToken);
    }
  });
});
