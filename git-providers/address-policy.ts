/**
 * Which addresses may be asked on a user's word. A host that a user enters must not lead into the network of the server:
 * its name is resolved, what it stands for is checked, and the connection goes to exactly the address that was checked.
 */
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** A host that the operator named. */
export interface AllowedHost {
  /** As addresses have it: lower case, IPv6 in brackets. */
  host: string;
  /** Null for any port. */
  port: number | null;
  /** Whether it may be asked without encryption. */
  http: boolean;
}

/** The host may not be asked; the message says why and what to do, and names no address behind a name. */
export class HostRefused extends Error {
  override readonly name = 'HostRefused';
}

/** IPv4 addresses that are not, or not certainly, of one host of the internet (IANA special-purpose registry). */
const SPECIAL_IPV4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const;
/** Parts of the global unicast range of IPv6 that lead elsewhere: Teredo and other protocols, examples, 6to4. */
const SPECIAL_IPV6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;

const special = new BlockList();
for (const [net, bits] of SPECIAL_IPV4) special.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of SPECIAL_IPV6) special.addSubnet(net, bits, 'ipv6');
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');

/** Whether an address belongs to the public internet. Everything that is not known to is private. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !special.check(address, 'ipv4');
    case 6:
      // Mapped, translated, link-local, unique local and multicast addresses are outside of it.
      return (
        !address.includes('%') && globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6')
      );
    default:
      return false;
  }
}

type Resolve = (
  hostname: string,
  options: { all: true; family?: number | 'IPv4' | 'IPv6'; hints?: number },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export class AddressPolicy {
  constructor(
    private readonly allowed: readonly AllowedHost[],
    private readonly resolve: Resolve = systemLookup,
  ) {}

  /**
   * Checks what the address itself says; what a name stands for is checked when it is resolved.
   * @throws {HostRefused}
   */
  check(url: URL): void {
    const trusted = this.#isAllowed(url);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && trusted)) {
      throw new HostRefused(
        `${url.host} may be asked by https only; the operator can allow http by CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS=http://${url.host}.`,
      );
    }
    const literal = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(literal) !== 0 && !trusted && !isPublicAddress(literal)) throw privateHost(url.host);
  }

  /** Resolves the name of an address for a connection; a name that leads to any private address is refused. */
  lookupFor(url: URL): LookupFunction {
    const trusted = this.#isAllowed(url);
    return (hostname, options, callback) => {
      this.resolve(hostname, { ...familyOf(options), all: true }, (error, addresses) => {
        const [first] = addresses ?? [];
        if (error) callback(error, []);
        else if (!first) callback(new HostRefused(`${url.host} has no address.`), []);
        else if (!trusted && addresses.some(({ address }) => !isPublicAddress(address))) {
          callback(privateHost(url.host), []);
        } else if (options.all) callback(null, addresses);
        else callback(null, first.address, first.family);
      });
    };
  }

  #isAllowed(url: URL): boolean {
    const host = url.hostname.toLowerCase().replace(/\.$/, '');
    const port = Number(url.port || (url.protocol === 'http:' ? 80 : 443));
    return this.allowed.some(
      (entry) =>
        entry.host === host &&
        (entry.port === null || entry.port === port) &&
        (entry.http || url.protocol === 'https:'),
    );
  }
}

const familyOf = ({
  family,
  hints,
}: {
  family?: number | 'IPv4' | 'IPv6' | undefined;
  hints?: number | undefined;
}) => ({
  ...(family === undefined ? {} : { family }),
  ...(hints === undefined ? {} : { hints }),
});

const privateHost = (host: string): HostRefused =>
  new HostRefused(
    `${host} is not an address of the public internet; the operator can allow it by CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS=${host}.`,
  );
