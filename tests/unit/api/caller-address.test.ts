import { describe, expect, it } from 'vitest';
import { callerAddress } from '../../../api/caller-address.js';

describe('the address by which a caller is counted', () => {
  it.each<[string, string, string | undefined, string]>([
    ['is that of the connection', '203.0.113.7', undefined, '203.0.113.7'],
    ['is not what a stranger writes', '203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['is what a proxy on this machine writes', '127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['is what a proxy of a private network writes', '::ffff:10.1.2.3', '198.51.100.1', '198.51.100.1'],
    [
      'is the last that a proxy wrote, not what came with it',
      '127.0.0.1',
      '1.1.1.1, 198.51.100.1',
      '198.51.100.1',
    ],
    ['passes over proxies of ours', 'fd00::1', '198.51.100.1, 192.168.1.1', '198.51.100.1'],
    ['is of a private network where all are', '127.0.0.1', '10.0.0.9', '10.0.0.9'],
    ['is no text', '127.0.0.1', 'nonsense', '127.0.0.1'],
  ])('%s', (_, remoteAddress, forwarded, address) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    expect(callerAddress({ socket: { remoteAddress }, headers })).toBe(address);
  });

  it('of IPv6 is that of the network, which one caller owns wholly', () => {
    const of = (remoteAddress: string) => callerAddress({ socket: { remoteAddress }, headers: {} });
    expect(of('2001:db8:1:1::1')).toBe(of('2001:db8:1:1:ffff::2'));
    expect(of('2001:db8:1:1::1')).not.toBe(of('2001:db8:2::1'));
  });
});
