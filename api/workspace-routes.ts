import { z } from 'zod';
import { AgentServerError } from '../agent-server/errors.js';
import { isRevision } from '../contract/git-names.js';
import { HexUuid } from '../contract/primitives.js';
import { pathInSandbox } from '../contract/sandbox-paths.js';
import type { ListedConversation } from '../db/conversation-read-model.js';
import type { UserContext } from '../identity/user-context.js';
import {
  askedFor,
  notReachable,
  runningRuntime,
  runtimeOf,
  TOO_LARGE,
  type RuntimeDeps,
} from './conversation-runtime.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

/** Largest text of a file, and largest answer about changes, in bytes. */
const FILE_BYTES = 10 * 1024 * 1024;
const GIT_BYTES = 32 * 1024 * 1024;
/** How long an agent-server may take, in milliseconds. */
const FILE_MS = 15_000;
const GIT_MS = 30_000;

const PAUSED = 'Sandbox is paused; resume it before reading git state.';
const params = z.object({ conversation_id: HexUuid });
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const Revision = z.string().refine(isRevision, {
  error: 'a revision is a branch, tag or commit; it does not begin with - and has no spaces',
  params: { type: 'value_error' },
});
export const GitQuery = z.object({ path: z.string(), ref: Revision.optional() });
export const GitChanges = z.array(z.looseObject({ status: z.string(), path: z.string() }));
export const GitDiff = z.looseObject({ modified: z.string().nullish(), original: z.string().nullish() });

/** Files and git state in the sandbox of a conversation (contract 3.11). */
export const workspaceRoutes = (deps: RuntimeDeps): RouteDefinition[] => [
  fileRoute(deps),
  route({
    method: 'get',
    path: '/api/v1/app-conversations/{conversation_id}/git/changes',
    summary: 'List the files that differ from what is committed, or from a revision',
    tag: 'Conversations',
    guard: 'user',
    params,
    query: GitQuery,
    responses: gitResponses('Changed files.', GitChanges),
    handle: ({ params: { conversation_id: id }, query, user }) =>
      gitState(deps, 'gitChanges', user, id, query),
  }),
  route({
    method: 'get',
    path: '/api/v1/app-conversations/{conversation_id}/git/diff',
    summary: 'Show one file before and after',
    tag: 'Conversations',
    guard: 'user',
    params,
    query: GitQuery,
    responses: gitResponses('The file as it was and as it is.', GitDiff),
    handle: ({ params: { conversation_id: id }, query, user }) => gitState(deps, 'gitDiff', user, id, query),
  }),
];

/**
 * What git says in the sandbox of a conversation (hex id); the V1 and the legacy routes ask it.
 * @throws {HttpError} as {@link gitResponses} lists
 */
export async function gitState(
  deps: RuntimeDeps,
  question: 'gitChanges' | 'gitDiff',
  user: UserContext,
  id: string,
  { path, ref }: { path: string; ref?: string | undefined },
): Promise<unknown> {
  const { listed, agentServer } = await runningRuntime(deps, user, id, PAUSED);
  const limits = { timeoutMs: GIT_MS, maxBytes: GIT_BYTES };
  return askedFor<unknown>(agentServer[question](namedPath(listed, path), ref ?? null, limits));
}

/** Whatever cannot be read is an empty text: clients look for files that may not be there (yet). */
const fileRoute = (deps: RuntimeDeps): RouteDefinition =>
  route({
    method: 'get',
    path: '/api/v1/app-conversations/{conversation_id}/file',
    summary: 'Read a text file of the working directory; empty when it cannot be read',
    tag: 'Conversations',
    guard: 'user',
    params,
    query: z.object({ file_path: z.string().default('/workspace/project/PLAN.md') }),
    responses: {
      200: {
        description: 'The text, empty where there is none or the sandbox is not running.',
        schema: z.string(),
      },
      413: { description: 'The file is too large to be shown.' },
    },
    async handle({ params: { conversation_id: id }, query, user }) {
      const runtime = await runtimeOf(deps, user, id);
      if (runtime.state !== 'running') return '';
      const path = placed(runtime.listed, query.file_path);
      if (path === null) return '';
      const options = { timeoutMs: FILE_MS, maxBytes: FILE_BYTES };
      try {
        return textOf(await runtime.agentServer.downloadFile(path, options));
      } catch (error) {
        if (!(error instanceof AgentServerError)) throw error;
        if (error.kind === 'oversize') throw new HttpError(413, TOO_LARGE);
        return '';
      }
    },
  });

function textOf(bytes: Uint8Array | null): string {
  if (bytes === null) return '';
  try {
    return utf8.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return ''; // not UTF-8
    throw error;
  }
}

/** @throws {HttpError} 400 for a path outside of the working directory, 404 while there is none */
function namedPath(listed: ListedConversation, named: string): string {
  const path = placed(listed, named);
  if (path !== null) return path;
  if (workingDirectory(listed) === null) throw notReachable(listed.conversation.id);
  throw new HttpError(
    400,
    'The path leads out of the working directory of the sandbox: name one inside, for example /workspace/project.',
  );
}

const workingDirectory = ({ conversation, sandbox }: ListedConversation): string | null =>
  sandbox.workingDirectory ?? conversation.workingDirectory;

function placed(listed: ListedConversation, named: string): string | null {
  const working = workingDirectory(listed);
  if (working === null) return null;
  return pathInSandbox(named, { working, project: listed.conversation.workingDirectory ?? working });
}

/** The answers to questions about git. */
export function gitResponses(description: string, schema: z.ZodType): RouteDefinition['responses'] {
  return {
    200: { description, schema },
    400: { description: 'The path leads out of the working directory.' },
    404: { description: 'There is no such conversation, or its sandbox cannot be reached.' },
    409: { description: 'The sandbox is paused.' },
    413: { description: 'The answer is too large to be shown.' },
    502: { description: 'The agent-server refused, or did not answer.' },
  };
}
