import type { Payload } from '@temporalio/common';
import { keyIdOfPayload, PayloadEncryption } from '../../identity/payload-codec.js';
import { TEST_KEYS } from './master-key.js';

const codec = new PayloadEncryption(TEST_KEYS);

/** A history as JSON in which the encrypted attributes of failures hold no stack: stacks name paths of a machine. */
export async function withoutStacks(value: unknown): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map(withoutStacks));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([name, member]): Promise<[string, unknown]> => [
    name,
    name === 'encodedAttributes' ? await withoutStack(member) : await withoutStacks(member),
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/** The text of every payload of a history in JSON form, decrypted. */
export async function payloadTexts(value: unknown): Promise<string[]> {
  if (typeof value !== 'object' || value === null) return [];
  if (!('metadata' in value && 'data' in value)) {
    return (await Promise.all(Object.values(value).map(payloadTexts))).flat();
  }
  const payloads = await codec.decode([toBytes(value as JsonPayload)]);
  return payloads.map(({ data }) => Buffer.from(data ?? []).toString());
}

interface JsonPayload {
  metadata: Record<string, string>;
  data: string;
}

/** @param attributes a payload in the JSON form of protocol buffers: bytes are base64. */
async function withoutStack(attributes: unknown): Promise<unknown> {
  const payload = toBytes(attributes as JsonPayload);
  if (keyIdOfPayload(payload) === null) return attributes;
  const [plain] = await codec.decode([payload]);
  const text = JSON.parse(Buffer.from(plain?.data ?? []).toString()) as Record<string, unknown>;
  const data = Buffer.from(JSON.stringify({ ...text, stack_trace: '' }));
  const [encrypted] = await codec.encode([{ ...plain, data }]);
  return toJson(encrypted!);
}

const toBytes = ({ metadata, data }: JsonPayload): Payload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text, 'base64')]),
  ),
  data: Buffer.from(data, 'base64'),
});

const toJson = ({ metadata, data }: Payload): JsonPayload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data ?? []).toString('base64'),
});
