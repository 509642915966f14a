import pLimit from 'p-limit';
import type { Logger } from 'pino';
import type { GitProvider } from '../../contract/primitives.js';
import type { ListedConversation } from '../../db/conversation-read-model.js';
import type { GitProviderClient } from '../../git-providers/git-provider-client.js';
import { InvalidRepository } from '../../git-providers/host-address.js';
import { GitProviderError, ProviderNotConnected } from '../../git-providers/provider-error.js';
import type { ProviderHandler } from '../../git-providers/provider-handler.js';
import { BoundedCache } from '../../identity/bounded-cache.js';
import type { UserContext } from '../../identity/user-context.js';

/** How long an answer, or the lack of one, is taken for current, in milliseconds: clients ask every few seconds. */
const FRESH_FOR_MS = 60_000;
/** Pull requests remembered at a time. */
const MOST = 10_000;
/** Pull requests of one page that are asked about at a time. */
const PARALLEL = 6;
/** What git providers can cost a page at most, in milliseconds. */
const LIMIT_MS = 5_000;

export interface OpenPullRequestsDeps {
  /** The git providers of whoever acts. */
  providersOf: (user: UserContext) => Pick<ProviderHandler, 'client'>;
  logger: Pick<Logger, 'warn'>;
  /** Replaces the limit in tests, in milliseconds. */
  limitMs?: number;
}

/**
 * Leaves out conversations whose last pull request is closed or merged (contract 16.2). Those without one stay, and those
 * of which the provider cannot be asked, or does not tell in time.
 */
export type OpenPullRequests = (
  user: UserContext,
  listed: readonly ListedConversation[],
) => Promise<ListedConversation[]>;

interface PullRequest {
  provider: GitProvider;
  repository: string;
  number: number;
}

export function createOpenPullRequests({
  providersOf,
  logger,
  limitMs = LIMIT_MS,
}: OpenPullRequestsDeps): OpenPullRequests {
  const answers = new BoundedCache<boolean>(FRESH_FOR_MS, MOST);

  /** Asks about the pull requests of one page; a provider that fails is left alone for the rest of it. Never rejects. */
  function questionsOf(user: UserContext): (pull: PullRequest) => Promise<boolean> {
    const providers = providersOf(user);
    const clients = new Map<GitProvider, Promise<GitProviderClient>>();
    const failed = new Set<GitProvider>();
    const limit = pLimit(PARALLEL);

    const ask = async ({ provider, repository, number }: PullRequest): Promise<boolean> => {
      if (failed.has(provider)) return true;
      try {
        const client = clients.get(provider) ?? providers.client(provider);
        clients.set(provider, client);
        return await (await client).isPullRequestOpen(repository, number);
      } catch (error) {
        if (isAboutOneRepository(error) || failed.has(provider)) return true;
        failed.add(provider);
        if (!(error instanceof ProviderNotConnected)) {
          logger.warn({ err: error, provider }, 'a git provider does not tell which pull requests are open');
        }
        return true;
      }
    };
    return (pull) =>
      // Of each user: another one's token may see another server, or less of it.
      answers.get(JSON.stringify([user.userId, pull.provider, pull.repository, pull.number]), () =>
        limit(() => ask(pull)),
      );
  }

  return async (user, listed) => {
    const isOpen = questionsOf(user);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<true>((resolve) => {
      timer = setTimeout(resolve, limitMs, true);
    });
    try {
      const open = await Promise.all(
        listed.map((item) => {
          const pull = lastPullRequest(item);
          // An answer that comes too late for this page is there for the next one.
          return pull === null ? Promise.resolve(true) : Promise.race([isOpen(pull), late]);
        }),
      );
      return listed.filter((_, place) => open[place]);
    } finally {
      clearTimeout(timer);
    }
  };
}

function lastPullRequest({ conversation }: ListedConversation): PullRequest | null {
  const { gitProvider: provider, selectedRepository: repository, prNumber } = conversation;
  const number = prNumber.at(-1);
  return provider === null || repository === null || number === undefined
    ? null
    : { provider, repository, number };
}

/** The provider may tell of others all the same. */
const isAboutOneRepository = (error: unknown): boolean =>
  error instanceof InvalidRepository ||
  (error instanceof GitProviderError && (error.kind === 'not_found' || error.kind === 'forbidden'));
