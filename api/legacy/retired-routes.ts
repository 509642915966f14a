/**
 * Routes that clients of 2025-11 know of and that nothing here corresponds to: what only conversations of the older kind had
 * (contract 16.7), and what surrounds the commercial product (contract 16.11). Each says what to do instead.
 */
import { z } from 'zod';
import { notFound } from '../http-error.js';
import { route, type RouteDefinition } from '../route.js';
import { LEGACY_CONVERSATION, LegacyPath } from './conversation-lookup.js';

type Method = 'get' | 'post' | 'put';
interface Retired {
  methods: readonly Method[];
  path: string;
  /** Told to whoever calls it. */
  instead: string;
}

const COMMERCIAL = 'belongs to the commercial product and is not part of this server.';

/** Below `/api/conversations/{conversation_id}`. */
const OF_CONVERSATIONS: readonly Retired[] = [
  {
    methods: ['get'],
    path: 'list-files',
    instead: 'Files are not listed here: git/changes of the conversation tells which have changed.',
  },
  {
    methods: ['get'],
    path: 'select-file',
    instead: 'Files are read by GET /api/v1/app-conversations/{conversation_id}/file.',
  },
  {
    methods: ['get'],
    path: 'zip-directory',
    instead: 'Directories are not packed here: commit the work and push it, or open the editor.',
  },
  {
    methods: ['post'],
    path: 'upload-files',
    instead:
      'Files are uploaded to the agent-server: POST /api/file/upload at the host of the conversation’s url.',
  },
  { methods: ['post'], path: 'submit-feedback', instead: 'This server collects no feedback.' },
  {
    methods: ['get'],
    path: 'remember-prompt',
    instead: 'Prompts for microagents are not written by this server.',
  },
  { methods: ['post'], path: 'exp-config', instead: 'This server makes no experiments with its users.' },
  {
    methods: ['get', 'post'],
    path: 'security/{rest:path}',
    instead: 'Security analyzers have no pages of their own here: choose one in the settings.',
  },
];

const OF_THE_COMMERCIAL_PRODUCT: readonly Retired[] = [
  { methods: ['post'], path: '/api/keycloak/callback', instead: 'Signing in begins at GET /api/auth/login.' },
  { methods: ['post'], path: '/api/accept_tos', instead: 'This server has no terms of service to accept.' },
  { methods: ['post'], path: '/api/email', instead: 'Addresses are changed at the identity provider.' },
  {
    methods: ['put'],
    path: '/api/email/verify',
    instead: 'Addresses are verified by the identity provider.',
  },
  {
    methods: ['get'],
    path: '/api/keys/llm/byor',
    instead: 'This server gives out no keys of models: store your own in the settings.',
  },
  {
    methods: ['post'],
    path: '/api/keys/llm/byor/refresh',
    instead: 'This server gives out no keys of models: store your own in the settings.',
  },
  { methods: ['get', 'post'], path: '/api/billing/{rest:path}', instead: `Billing ${COMMERCIAL}` },
  {
    methods: ['get', 'post'],
    path: '/api/security/{rest:path}',
    instead: `The security policy ${COMMERCIAL}`,
  },
  {
    methods: ['get', 'post'],
    path: '/integration/{rest:path}',
    instead: `The connection of Jira and Linear ${COMMERCIAL}`,
  },
  { methods: ['get', 'post'], path: '/feedback/{rest:path}', instead: 'This server collects no feedback.' },
];

const WithRest = z.object({ rest: z.string() });
const common = {
  summary: 'Not part of this server; says what to do instead',
  tag: 'Legacy',
  responses: { 404: { description: 'Always.' } },
} as const;

export const retiredRoutes = (): RouteDefinition[] => [
  ...OF_CONVERSATIONS.flatMap(({ methods, path, instead }) =>
    methods.map((method) =>
      route({
        ...common,
        method,
        path: `${LEGACY_CONVERSATION}/${path}`,
        guard: 'user',
        limit: 'free',
        params: path.includes('{rest') ? LegacyPath.extend(WithRest.shape) : LegacyPath,
        handle: () => Promise.reject(notFound(instead)),
      }),
    ),
  ),
  ...OF_THE_COMMERCIAL_PRODUCT.flatMap(({ methods, path, instead }) =>
    methods.map((method) =>
      route({
        ...common,
        method,
        path,
        guard: 'open',
        ...(path.includes('{rest') ? { params: WithRest } : {}),
        handle: () => Promise.reject(notFound(instead)),
      }),
    ),
  ),
];

/** All of them, as `METHOD path` of the OpenAPI document. */
export const RETIRED: readonly { route: string; open: boolean }[] = retiredRoutes().map(
  ({ method, path, guard }) => ({
    route: `${method.toUpperCase()} ${path.replaceAll(':path}', '}')}`,
    open: guard === 'open',
  }),
);
