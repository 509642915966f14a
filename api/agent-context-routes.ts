import type { Logger } from 'pino';
import { z } from 'zod';
import { AgentServerError } from '../agent-server/errors.js';
import type { HookConfig } from '../agent-server/schemas.js';
import { dashedId } from '../contract/ids.js';
import { marketplacesOf } from '../contract/marketplaces.js';
import { HexUuid } from '../contract/primitives.js';
import { mergeSkills, skillPayload, type SkillPayload } from '../contract/skill.js';
import type { Settings } from '../contract/settings.js';
import type { SettingsStore } from '../identity/settings-store.js';
import type { UserContext } from '../identity/user-context.js';
import { runtimeOf, type Runtime, type RuntimeDeps } from './conversation-runtime.js';
import { route, type RouteDefinition } from './route.js';
import { shapeC } from './settings-routes.js';
import type { SkillShelf } from './skill-shelf.js';

export interface AgentContextDeps extends RuntimeDeps {
  settings: Pick<SettingsStore, 'read'>;
  skills: SkillShelf;
  /** Directories of this server's skills, those of everybody first. */
  skillDirectories: (userId: string | null) => readonly string[];
  logger: Pick<Logger, 'warn'>;
}

type Running = Extract<Runtime, { state: 'running' }>;

/** The public skills are a git clone: where the network swallows packets, a reader must not wait for it. */
const WITH_PUBLIC_MS = 20_000;
const WITHOUT_PUBLIC_MS = 30_000;
const HOOKS_MS = 30_000;
const MOST_BYTES = 32 * 1024 * 1024;

const Skills = z.object({
  skills: z.array(
    z.object({
      name: z.string(),
      type: z.enum(['repo', 'knowledge', 'agentskills']),
      content: z.string(),
      triggers: z.array(z.string()),
    }),
  ),
});

/** One command of a hook; the agent-server's own defaults where it does not say. */
const Hook = z.looseObject({
  type: z.string().default('command'),
  command: z.string().default(''),
  timeout: z.number().default(60),
  async: z.boolean().optional(),
  async_: z.boolean().optional(),
});
const Matcher = z.looseObject({ matcher: z.string().default('*'), hooks: z.array(Hook).default([]) });
const Hooks = z.object({
  hooks: z.array(
    z.object({
      event_type: z.string(),
      matchers: z.array(
        z.object({
          matcher: z.string(),
          hooks: z.array(
            z.object({ type: z.string(), command: z.string(), timeout: z.number(), async: z.boolean() }),
          ),
        }),
      ),
    }),
  ),
});
const HOOK_OCCASIONS = [
  'pre_tool_use',
  'post_tool_use',
  'user_prompt_submit',
  'session_start',
  'session_end',
  'stop',
] as const;

const common = { tag: 'Conversations', guard: 'user' } as const;
const params = z.object({ conversation_id: HexUuid });
const notThere = 'There is no such conversation, or its sandbox is not ready; the reason is in `error`.';

/** What the agent of a conversation was given beside its model: skills and hooks (contract 3.11). */
export const agentContextRoutes = (deps: AgentContextDeps): RouteDefinition[] => [
  route({
    ...common,
    method: 'get',
    path: '/api/v1/app-conversations/{conversation_id}/skills',
    summary: 'List the skills of a conversation; none while its sandbox is paused',
    params,
    responses: {
      200: { description: 'Skills of project, user and server.', schema: Skills },
      404: { description: notThere },
    },
    handle: async ({ params: { conversation_id: id }, user }) => ({
      skills: await shownSkills(deps, user, id),
    }),
  }),
  route({
    ...common,
    method: 'get',
    path: '/api/v1/app-conversations/{conversation_id}/hooks',
    summary: 'List the hooks of the project; none while its sandbox is paused',
    params,
    responses: {
      200: { description: 'Hooks by occasion.', schema: Hooks },
      404: { description: notThere },
      502: { description: 'The agent-server refused, or did not answer.' },
    },
    async handle({ params: { conversation_id: id }, user }) {
      const runtime = await runtimeOf(deps, user, id);
      if (runtime.state === 'unreachable') throw unreachable(runtime.reason, id);
      if (runtime.state === 'paused') return { hooks: [] };
      const directory = projectDirectory(runtime);
      if (directory === null) return { hooks: [] };
      try {
        const config = await runtime.agentServer.hooks(directory, {
          timeoutMs: HOOKS_MS,
          maxBytes: MOST_BYTES,
        });
        return { hooks: shownHooks(config ?? {}) };
      } catch (error) {
        if (!(error instanceof AgentServerError)) throw error;
        const { kind, status } = error;
        const failure = shapeC(
          502,
          kind === 'http' && status !== null
            ? `Agent-server returned status ${status} when loading hooks`
            : 'Failed to reach agent-server when loading hooks',
        );
        throw Object.assign(failure, { cause: error });
      }
    },
  }),
];

/**
 * The skills of a conversation (hex id); the V1 and the legacy routes show them. None while its sandbox is paused.
 * @throws {HttpError} 404
 */
export async function shownSkills(
  deps: AgentContextDeps,
  user: UserContext,
  id: string,
): Promise<z.infer<typeof Skills>['skills']> {
  const runtime = await runtimeOf(deps, user, id);
  if (runtime.state === 'unreachable') throw unreachable(runtime.reason, id);
  return runtime.state === 'paused' ? [] : skillsOf(deps, runtime);
}

const unreachable = (reason: Extract<Runtime, { state: 'unreachable' }>['reason'], id: string) =>
  shapeC(
    404,
    {
      'no conversation': `Conversation ${dashedId(id)} not found`,
      'no sandbox': `Sandbox not found for conversation ${dashedId(id)}`,
      'not ready': `Sandbox not ready for conversation ${dashedId(id)}`,
    }[reason],
  );

const projectDirectory = ({ listed: { conversation, sandbox } }: Running): string | null =>
  conversation.workingDirectory ?? sandbox.workingDirectory;

/** As the start of the conversation put them together, of what is there now; what cannot be loaded is left out. */
async function skillsOf(deps: AgentContextDeps, runtime: Running): Promise<z.infer<typeof Skills>['skills']> {
  const { createdByUserId: owner, id } = runtime.listed.conversation;
  const settings = await deps.settings.read(owner);
  const [own, sandbox] = await Promise.all([
    Promise.all(deps.skillDirectories(owner).map(deps.skills)),
    sandboxSkills(runtime, settings).catch((error: unknown) => {
      if (!(error instanceof AgentServerError)) throw error;
      deps.logger.warn({ err: error, conversationId: id }, 'the skills of a sandbox could not be loaded');
      return [];
    }),
  ]);
  return mergeSkills([own.flat(), sandbox], settings.disabled_skills ?? []).map(shownSkill);
}

async function sandboxSkills(runtime: Running, settings: Settings): Promise<SkillPayload[]> {
  const directory = projectDirectory(runtime);
  if (directory === null) return [];
  const ask = (load_public: boolean, timeoutMs: number) =>
    runtime.agentServer.skills(
      {
        load_public,
        load_user: true,
        load_project: true,
        load_org: true,
        project_dir: directory,
        sandbox_config: { exposed_urls: runtime.listed.sandbox.exposedUrls ?? [] },
        registered_marketplaces: marketplacesOf(settings),
      },
      { timeoutMs, maxBytes: MOST_BYTES },
    );
  const { skills } = await ask(true, WITH_PUBLIC_MS).catch((error: unknown) => {
    if (!(error instanceof AgentServerError) || error.kind !== 'timeout') throw error;
    return ask(false, WITHOUT_PUBLIC_MS);
  });
  return skills.map((skill) => skillPayload(skill));
}

function shownSkill({ name, content, trigger, is_agentskills_format }: SkillPayload) {
  const triggers = trigger === null ? [] : trigger.type === 'keyword' ? trigger.keywords : trigger.triggers;
  const type = is_agentskills_format
    ? ('agentskills' as const)
    : trigger === null
      ? ('repo' as const)
      : ('knowledge' as const);
  return { name, type, content, triggers };
}

/** Occasions without matchers are left out; a matcher that is not one as well. */
function shownHooks(config: HookConfig): z.infer<typeof Hooks>['hooks'] {
  return HOOK_OCCASIONS.flatMap((occasion) => {
    const listed: unknown[] = Array.isArray(config[occasion]) ? config[occasion] : [];
    const matchers = listed.flatMap((one) => {
      const parsed = Matcher.safeParse(one);
      return parsed.success ? [parsed.data] : [];
    });
    if (matchers.length === 0) return [];
    return [
      {
        event_type: occasion,
        matchers: matchers.map(({ matcher, hooks }) => ({
          matcher,
          hooks: hooks.map(({ type, command, timeout, async: asynchronous, async_ }) => ({
            type,
            command,
            timeout,
            async: asynchronous ?? async_ ?? false,
          })),
        })),
      },
    ];
  });
}
