import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { AddressPolicy, HostRefused, isPublicAddress } from '../../../git-providers/address-policy.js';

/** A name server that gives these addresses for every name. */
const naming =
  (...addresses: string[]) =>
  (_name: string, _options: object, callback: (error: null, found: LookupAddress[]) => void) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );

const lookUp = (policy: AddressPolicy, address: string, all = true) =>
  new Promise((resolve, reject) => {
    const url = new URL(address);
    policy.lookupFor(url)(url.hostname, { all }, (error, found) => (error ? reject(error) : resolve(found)));
  });

const PRIVATE = [
  ['loopback', '127.0.0.1'],
  ['loopback, anywhere in its net', '127.8.9.1'],
  ['this host', '0.0.0.0'],
  ['private class A', '10.0.0.1'],
  ['private class B', '172.16.0.1'],
  ['the end of private class B', '172.31.255.255'],
  ['private class C', '192.168.1.1'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['link-local', '169.254.1.1'],
  ['cloud metadata', '169.254.169.254'],
  ['benchmarking', '198.18.0.1'],
  ['documentation', '192.0.2.1'],
  ['multicast', '224.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['IPv6 loopback', '::1'],
  ['IPv6 unspecified', '::'],
  ['IPv6 unique local', 'fd12:3456::1'],
  ['IPv6 metadata', 'fd00:ec2::254'],
  ['IPv6 link-local', 'fe80::1'],
  ['IPv6 multicast', 'ff02::1'],
  ['IPv4 mapped into IPv6', '::ffff:127.0.0.1'],
  ['IPv4 mapped into IPv6, in hex', '::ffff:7f00:1'],
  ['IPv4-compatible IPv6', '::127.0.0.1'],
  ['NAT64 of a private address', '64:ff9b::a00:1'],
  ['6to4 of a private address', '2002:a00:1::1'],
  ['Teredo', '2001::1'],
  ['IPv6 documentation', '2001:db8::1'],
] as const;

describe('addresses that a user’s word may lead to', () => {
  it.each(PRIVATE)('are not those of the machine or its network: %s (%s)', async (_name, address) => {
    expect(isPublicAddress(address)).toBe(false);
    const policy = new AddressPolicy([], naming(address));
    const literal = `https://${address.includes(':') ? `[${address}]` : address}/`;
    expect(() => policy.check(new URL(literal))).toThrow(HostRefused);
    await expect(lookUp(policy, 'https://git.example/')).rejects.toThrow(HostRefused);
    await expect(lookUp(policy, 'https://git.example/', false)).rejects.toThrow(HostRefused);
  });

  it.each(['140.82.121.4', '8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:50c0:8000::64', '2a00:1450::1'])(
    'are those of the internet: %s',
    async (address) => {
      const policy = new AddressPolicy([], naming(address));
      expect(await lookUp(policy, 'https://git.example/')).toMatchObject([{ address }]);
      expect(await lookUp(policy, 'https://git.example/', false)).toBe(address);
    },
  );

  it.each([
    'https://2130706433/',
    'https://0x7f000001/',
    'https://0177.0.0.1/',
    'https://127.1/',
    'https://[::ffff:127.0.0.1]/',
    'https://[0:0:0:0:0:0:0:1]/',
    'https://①②⑦.0.0.1/',
  ])('are recognised however they are written: %s', (address) => {
    expect(() => new AddressPolicy([]).check(new URL(address))).toThrow(HostRefused);
  });

  it('are all public where a name has several', async () => {
    const policy = new AddressPolicy([], naming('8.8.8.8', '10.0.0.1'));
    await expect(lookUp(policy, 'https://git.example/')).rejects.toThrow(
      'git.example is not an address of the public internet; the operator can allow it by CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS=git.example.',
    );
  });

  it.each(['http://git.example/', 'ftp://git.example/', 'file:///etc/passwd'])(
    'are asked by https only: %s',
    (address) => {
      expect(() => new AddressPolicy([]).check(new URL(address))).toThrow(HostRefused);
    },
  );
});

describe('a host that the operator allows', () => {
  const policy = new AddressPolicy(
    [
      { host: 'git.corp', port: null, http: false },
      { host: '127.0.0.1', port: 3000, http: true },
      { host: '[::1]', port: null, http: true },
    ],
    naming('10.1.2.3'),
  );

  it.each(['https://git.corp/', 'https://GIT.corp:8443/', 'https://git.corp./'])(
    'may be private: %s',
    async (address) => {
      policy.check(new URL(address));
      expect(await lookUp(policy, address)).toEqual([{ address: '10.1.2.3', family: 4 }]);
    },
  );

  it.each(['http://127.0.0.1:3000/', 'https://127.0.0.1:3000/', 'http://[::1]:8080/'])(
    'may be asked without encryption where that is allowed: %s',
    (address) => policy.check(new URL(address)),
  );

  it.each(['http://git.corp/', 'http://127.0.0.1:3001/', 'https://127.0.0.2:3000/', 'https://127.0.0.1/'])(
    'is that one, on that port, by that scheme: %s is not',
    (address) => {
      expect(() => policy.check(new URL(address))).toThrow(HostRefused);
    },
  );

  it('is not every host below it', async () => {
    await expect(lookUp(policy, 'https://evil.git.corp/')).rejects.toThrow(HostRefused);
    await expect(lookUp(policy, 'https://git.corp.evil.example/')).rejects.toThrow(HostRefused);
  });
});
