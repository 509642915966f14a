/**
 * The secret members of a settings object: taken out before it is stored, put back when it is read, masked when it is
 * shown, and recognized when a client sends the mask back.
 */
import { isSecretName, MASK } from './masking.js';

export type Json = Record<string, unknown>;

/** Maps whose every value is a secret, whatever its name. */
const SECRET_MAPS = new Set(['env', 'headers', 'extra_headers', 'secrets']);
/** Maps whose member names were chosen by a user and mean nothing. */
const NAMED_MAPS = new Set(['mcp_config', 'mcpServers', 'profiles']);

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isSecretMember = (name: string): boolean => isSecretName(name) || name === 'aws_access_key_id';

/**
 * Splits an object into what may lie in the clear and what may not; {@link joinSecrets} is the way back.
 * MCP servers count as secret whole: their addresses and arguments carry keys in places that no name tells of.
 */
export function splitSecrets(settings: Json, named = false): { open: Json; secret: Json } {
  const open: Json = {};
  const secret: Json = {};
  for (const [name, value] of Object.entries(settings)) {
    const isSecret =
      !named &&
      ((typeof value === 'string' && isSecretMember(name)) ||
        (isObject(value) && (SECRET_MAPS.has(name) || name === 'mcp_config')));
    if (isSecret || (Array.isArray(value) && value.some(holdsSecret))) {
      secret[name] = value;
    } else if (isObject(value)) {
      const inner = splitSecrets(value, !named && NAMED_MAPS.has(name));
      open[name] = inner.open;
      if (Object.keys(inner.secret).length > 0) secret[name] = inner.secret;
    } else {
      open[name] = value;
    }
  }
  return { open, secret };
}

const holdsSecret = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.some(holdsSecret)
    : isObject(value) && Object.keys(splitSecrets(value).secret).length > 0;

/** Puts secret members back in their places. */
export function joinSecrets(open: Json, secret: Json): Json {
  const joined: Json = { ...open };
  for (const [name, value] of Object.entries(secret)) {
    const present = joined[name];
    joined[name] = isObject(present) && isObject(value) ? joinSecrets(present, value) : value;
  }
  return joined;
}

/** How a secret member that is set is shown; one that is not set is null either way. */
export type Showing = 'masked' | 'null';

/**
 * A copy in which no secret can be read. Members are masked, or null where the contract wants keys to be (10.1); values
 * of secret maps and within MCP servers are always masked: clients edit and send back the whole.
 */
export function hideSecrets<Value extends Json>(value: Value, showing: Showing): Value {
  return hide(value, showing, { named: false, inMcp: false }) as Value;
}

interface Place {
  /** The names of these members were chosen by a user. */
  named: boolean;
  inMcp: boolean;
}

function hide(value: unknown, showing: Showing, place: Place): unknown {
  if (Array.isArray(value)) return value.map((item) => hide(item, showing, { ...place, named: false }));
  if (!isObject(value)) return place.inMcp && typeof value === 'string' ? maskAddress(value) : value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      const inside: Place = {
        named: !place.named && NAMED_MAPS.has(name),
        inMcp: place.inMcp || name === 'mcp_config',
      };
      if (place.named) return [name, hide(member, showing, inside)];
      if (SECRET_MAPS.has(name) && isObject(member)) return [name, maskLeaves(member)];
      if (name === 'auth' && isObject(member)) {
        return [name, { ...(maskLeaves(member) as Json), strategy: member['strategy'] }];
      }
      if (isSecretMember(name) && typeof member === 'string') {
        return [name, member === '' || (showing === 'null' && !inside.inMcp) ? null : MASK];
      }
      return [name, hide(member, showing, inside)];
    }),
  );
}

function maskLeaves(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskLeaves);
  if (isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, leaf]) => [name, maskLeaves(leaf)]));
  }
  return value === null || value === '' || typeof value === 'boolean' ? value : MASK;
}

/** Addresses of hosted MCP servers carry keys in their query, or a password. */
export function maskAddress(text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text;
  return text.replace(/(\/\/)[^/?#@]*@/, `$1${MASK}@`).replaceAll(/([?&][^=&#]+=)[^&#]*/g, `$1${MASK}`);
}

/**
 * Undoes the mask: where a client sends back what it was shown, the stored value stays; a mask that stands for nothing
 * becomes null. Only leaves at the same place count, so that a mask never fetches a secret into another member.
 * @param incoming part of a settings object, in the places of the whole
 */
export function restoreMasked(incoming: Json, stored: Json): Json {
  return restore(incoming, stored, hideSecrets(stored, 'masked')) as Json;
}

function restore(incoming: unknown, stored: unknown, shown: unknown): unknown {
  if (Array.isArray(incoming)) {
    return incoming.map((item, index) => restore(item, at(stored, index), at(shown, index)));
  }
  if (isObject(incoming)) {
    return Object.fromEntries(
      Object.entries(incoming).map(([name, value]) => [
        name,
        restore(value, own(stored, name), own(shown, name)),
      ]),
    );
  }
  if (typeof incoming !== 'string' || !incoming.includes(MASK)) return incoming;
  if (incoming === shown) return stored;
  return incoming === MASK ? null : incoming;
}

const at = (value: unknown, index: number): unknown => (Array.isArray(value) ? value[index] : undefined);
const own = (value: unknown, name: string): unknown =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
