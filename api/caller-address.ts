/** The address by which attempts are counted. */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';

/** Where proxies of ours stand: this machine and private networks, as the application's own trust setting says. */
const OURS = new BlockList();
for (const [network, bits] of [
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  OURS.addSubnet(network, bits, 'ipv4');
}
OURS.addAddress('::1', 'ipv6');
OURS.addSubnet('fe80::', 10, 'ipv6');
OURS.addSubnet('fc00::', 7, 'ipv6');

/** As much of a request as its address needs. */
export interface Caller {
  socket: { remoteAddress?: string | undefined };
  headers: IncomingHttpHeaders;
}

const bare = (address: string): string => address.trim().replace(/^::ffff:(?=\d+\.)/i, '');

function isOurs(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && OURS.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/**
 * The nearest address that is no proxy of ours: `X-Forwarded-For` counts as far as trusted proxies wrote it, from its end.
 * IPv6 callers own whole networks of addresses: those of one network count as one.
 */
export function callerAddress({ socket, headers }: Caller): string {
  const forwarded = [headers['x-forwarded-for']].flat().join(',').split(',').map(bare);
  let address = bare(socket.remoteAddress ?? '');
  for (const earlier of forwarded.reverse()) {
    if (!isOurs(address) || isIP(earlier) === 0) break;
    address = earlier;
  }
  return ipKeyGenerator(address);
}
