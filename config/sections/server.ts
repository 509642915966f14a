/** What the API is to its callers. */
import { z } from 'zod';
import { flag, list, origin, secret, setting, text, webAddress, wholeNumber } from '../setting.js';

export const server = z.object({
  host: setting(text().default('127.0.0.1'), { env: ['HOST'], about: 'Address the API listens on.' }),
  port: setting(wholeNumber(0, 65_535).default(3000), {
    env: ['PORT'],
    about: 'Port the API listens on; 0 takes a free one.',
  }),
  publicUrl: setting(webAddress().nullable().default(null), {
    env: ['OH_WEB_URL', 'WEB_HOST'],
    about:
      'Public address of the API, without path or with one; https where no scheme is given. With it, agents fetch git tokens when they need them instead of being handed copies.',
  }),
  internalUrl: setting(webAddress().nullable().default(null), {
    env: ['CALLBOARD_INTERNAL_URL'],
    about: 'Address under which sandboxes and workers reach the API, where it is not on the same machine.',
    fallback: '`http://127.0.0.1:<port>`',
  }),
  corsOrigins: setting(list(origin()).default([]), {
    env: ['OH_PERMITTED_CORS_ORIGINS_*', 'PERMITTED_CORS_ORIGINS'],
    about: 'Web pages that may call the API with credentials.',
    fallback: '`localhost` and `127.0.0.1` on any port',
  }),
  frontendDirectory: setting(text().nullable().default(null), {
    env: ['FRONTEND_DIR'],
    about:
      'A built OpenHands frontend (the directory with its `index.html`) to serve on the same address: see [running](running.md#with-the-web-client).',
    fallback: 'no web client is served',
  }),
  instanceKey: setting(secret(), {
    env: ['SESSION_API_KEY'],
    about: 'When set, callers must send it as `X-Session-API-Key` or `Authorization: Bearer`.',
  }),
  serviceKey: setting(secret(), {
    env: ['AUTOMATIONS_SERVICE_API_KEY'],
    about: 'Shared secret of the service API; without it that API answers 503.',
  }),
  bodyLimitBytes: setting(wholeNumber(1024, 1_073_741_824).default(16_777_216), {
    env: ['CALLBOARD_BODY_LIMIT_BYTES'],
    about: 'Largest request body; pasted images count.',
  }),
  webhookBodyLimitBytes: setting(wholeNumber(1024, 1_073_741_824).default(134_217_728), {
    env: ['CALLBOARD_WEBHOOK_BODY_LIMIT_BYTES'],
    about: 'Largest batch of events an agent-server may post.',
  }),
  shutdownGraceSeconds: setting(wholeNumber(0, 3_600).default(20), {
    env: ['CALLBOARD_SHUTDOWN_GRACE_SECONDS'],
    about:
      'How long requests and steps of starts under way may take when a process is asked to end. What is not done by then is cut, or handed over to another worker.',
  }),
  downloadMaxEvents: setting(wholeNumber(0, 100_000_000).default(10_000), {
    env: ['CALLBOARD_DOWNLOAD_MAX_EVENTS'],
    about: 'Most events of a conversation that can be downloaded as an archive; 0 sets no limit.',
  }),
  webhooksInHand: setting(wholeNumber(2, 100_000).default(64), {
    env: ['CALLBOARD_WEBHOOKS_IN_HAND'],
    about: 'Webhooks that one process works on at a time; further ones are answered 503 and sent again.',
  }),
  webhookBytesInHand: setting(wholeNumber(1024, 17_179_869_184).default(67_108_864), {
    env: ['CALLBOARD_WEBHOOK_BYTES_IN_HAND'],
    about:
      'Bytes of webhooks that one process holds while disk or database are slow; further ones are answered 503 and sent again.',
  }),
});

export const gateway = z.object({
  enabled: setting(flag().default(true), {
    env: ['CALLBOARD_GATEWAY'],
    about:
      'Whether clients reach agent-servers through the API, below its own address, instead of on ports of their own.',
  }),
  silenceSeconds: setting(wholeNumber(1, 86_400).default(900), {
    env: ['CALLBOARD_GATEWAY_SILENCE_SECONDS'],
    about:
      'How long an agent-server may be silent during a request; some calls wait for a running tool call.',
  }),
  socketsPerSandbox: setting(wholeNumber(1, 10_000).default(100), {
    env: ['CALLBOARD_SOCKETS_PER_SANDBOX'],
    about: 'Most sockets that one API process opens to one sandbox.',
  }),
  socketsPerUser: setting(wholeNumber(1, 100_000).default(1000), {
    env: ['CALLBOARD_SOCKETS_PER_USER'],
    about: 'Most sockets that one API process opens to all sandboxes of one user.',
  }),
});

export const limits = z.object({
  writesPerMinute: setting(wholeNumber(0, 1_000_000).default(600), {
    env: ['CALLBOARD_WRITES_PER_MINUTE'],
    about:
      'Orders that a signed-in user may give per minute, to each API process; 0 is no limit. Reading is never limited.',
  }),
  startsPerMinute: setting(wholeNumber(0, 1_000_000).default(60), {
    env: ['CALLBOARD_STARTS_PER_MINUTE'],
    about: 'Conversations and sandboxes that a signed-in user may start per minute; 0 is no limit.',
  }),
  signInsPerMinute: setting(wholeNumber(0, 1_000_000).default(300), {
    env: ['CALLBOARD_SIGN_INS_PER_MINUTE'],
    about: 'Steps of signing in per minute and address; 0 is no limit.',
  }),
  wrongSecretsPerMinute: setting(wholeNumber(0, 1_000_000).default(30), {
    env: ['CALLBOARD_WRONG_SECRETS_PER_MINUTE'],
    about:
      'Wrong keys (of instance, users, sandboxes, services, operators) per minute and address; 0 is no limit.',
  }),
});
