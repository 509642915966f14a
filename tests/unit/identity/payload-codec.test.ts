import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import proto from '@temporalio/proto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { describe, expect, it } from 'vitest';
import { DerivedKeys } from '../../../identity/key-ring.js';
import { keyIdOfPayload, PayloadEncryption, PayloadLocked } from '../../../identity/payload-codec.js';

const older = { id: 'older', secret: new Uint8Array(32).fill(1) };
const newer = { id: 'newer', secret: new Uint8Array(32).fill(2) };
const payloadOf = (value: unknown) => defaultPayloadConverter.toPayload(value);
const valueOf = (payload: Parameters<typeof defaultPayloadConverter.fromPayload>[0]) =>
  defaultPayloadConverter.fromPayload<unknown>(payload);
const textOf = (data: Uint8Array | null | undefined) => Buffer.from(data ?? []).toString('latin1');

describe('the payload codec', () => {
  it.each([undefined, null, '', 'text', 0, { secret: 'marked-secret' }, ['ü', { deep: [1.5] }]])(
    'gives back %j as it was, its metadata included',
    async (value) => {
      const codec = new PayloadEncryption([newer]);
      const payload = payloadOf(value);
      const [encrypted] = await codec.encode([payload]);
      expect(textOf(encrypted!.data)).not.toContain('marked-secret');
      expect(Object.keys(encrypted!.metadata!).sort()).toEqual(['callboard-kid', 'encoding']);
      const [decrypted] = await codec.decode([encrypted!]);
      expect(valueOf(decrypted!)).toEqual(value);
      expect(Object.keys(decrypted!.metadata!)).toEqual(Object.keys(payload.metadata!));
    },
  );

  it('encrypts with the newest key, names it, and still reads what older keys encrypted', async () => {
    const [before] = await new PayloadEncryption([older]).encode([payloadOf('before')]);
    const codec = new PayloadEncryption([newer, older]);
    const [after] = await codec.encode([payloadOf('after')]);
    expect([keyIdOfPayload(before!), keyIdOfPayload(after!)]).toEqual(['older', 'newer']);
    const values = (await codec.decode([before!, after!])).map((payload) => valueOf(payload));
    expect(values).toEqual(['before', 'after']);
  });

  it('lets payloads pass that it has not made: those of 0.1.0 are in the clear', async () => {
    const payload = payloadOf({ taskId: 'a' });
    expect(await new PayloadEncryption([newer]).decode([payload])).toEqual([payload]);
    expect(keyIdOfPayload(payload)).toBeNull();
  });

  it('says which key is missing, and takes nothing that was changed or is under a key of another installation', async () => {
    const [encrypted] = await new PayloadEncryption([older]).encode([payloadOf('value')]);
    const decode = (payload: typeof encrypted, key = newer) =>
      new PayloadEncryption([key]).decode([payload!]);
    await expect(decode(encrypted)).rejects.toThrow('the master key older is not in the key ring');
    await expect(decode(encrypted, { ...newer, id: 'older' })).rejects.toThrow(PayloadLocked);
    const changed = {
      ...encrypted,
      data: Uint8Array.from(
        encrypted!.data!,
        (byte, at) => byte ^ (at === encrypted!.data!.length - 30 ? 1 : 0),
      ),
    };
    await expect(decode(changed, older)).rejects.toThrow(PayloadLocked);
    await expect(decode({ ...encrypted, data: new Uint8Array() }, older)).rejects.toThrow(PayloadLocked);
  });

  describe('is JWE as others make and read it', () => {
    const encoder = new TextEncoder();
    const sealed = async (header: object): Promise<Payload> => {
      const { key } = await new DerivedKeys([newer], 'callboard temporal payload', 'encrypt').newest();
      const own = new PayloadEncryption([newer]);
      const [{ metadata } = {}] = await own.encode([payloadOf(null)]);
      const text = proto.temporal.api.common.v1.Payload.encode(payloadOf('by others')).finish();
      const jwe = await new CompactEncrypt(text)
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: 'newer', ...header })
        .encrypt(key);
      return { metadata, data: encoder.encode(jwe) };
    };

    it('so that histories from before are opened', async () => {
      const [opened] = await new PayloadEncryption([newer]).decode([await sealed({})]);
      expect(valueOf(opened!)).toBe('by others');
    });

    it('so that others open what is made here', async () => {
      const { key } = await new DerivedKeys([newer], 'callboard temporal payload', 'encrypt').newest();
      const [encrypted] = await new PayloadEncryption([newer]).encode([payloadOf('made here')]);
      const { plaintext } = await compactDecrypt(encrypted!.data!, key);
      expect(valueOf(proto.temporal.api.common.v1.Payload.decode(plaintext))).toBe('made here');
    });

    it('and one with another header is refused', async () => {
      const codec = new PayloadEncryption([newer]);
      await expect(codec.decode([await sealed({ cty: 'json' })])).rejects.toThrow(PayloadLocked);
    });

    it.each(['tag', 'iv'])('and one with a shortened %s is refused', async (part) => {
      const { metadata, data } = await sealed({});
      const parts = Buffer.from(data!).toString().split('.');
      const at = part === 'tag' ? 4 : 2;
      parts[at] = parts[at]!.slice(0, 8);
      const shortened = { metadata, data: encoder.encode(parts.join('.')) };
      await expect(new PayloadEncryption([newer]).decode([shortened])).rejects.toThrow(PayloadLocked);
    });
  });

  it('encrypts the same value differently each time', async () => {
    const codec = new PayloadEncryption([newer]);
    const [first, second] = await codec.encode([payloadOf('same'), payloadOf('same')]);
    expect(textOf(first!.data)).not.toBe(textOf(second!.data));
  });
});
