import type { SkillPayload } from '../contract/skill.js';

/** As long as a sandbox is kept warm at most, in milliseconds. */
const KEPT_MS = 4 * 3_600_000;
/** Most sandboxes of which something is kept. */
const MOST = 100;

/**
 * Public skills that agent-servers have loaded while nobody had their sandboxes. An agent-server fetches them again when
 * a minute has passed, which takes about a second of a start; the start that gets the sandbox takes what is here instead.
 * They are of one sandbox, because the files that they name lie in its home. In the memory of one worker: a start on
 * another one asks the agent-server.
 */
export class KeptSkills {
  readonly #kept = new Map<string, { skills: readonly SkillPayload[]; until: number }>();

  constructor(private readonly now: () => number = Date.now) {}

  /** Of none there is nothing to keep: the registry may be back when a start asks for it. */
  keep(sandboxId: string, skills: readonly SkillPayload[]): void {
    if (skills.length === 0) return;
    this.#kept.set(sandboxId, { skills, until: this.now() + KEPT_MS });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST) break;
      this.#kept.delete(oldest);
    }
  }

  has(sandboxId: string): boolean {
    return this.now() < (this.#kept.get(sandboxId)?.until ?? 0);
  }

  /** What is kept of a sandbox, for its first conversation alone; null asks the agent-server. */
  take(sandboxId: string): readonly SkillPayload[] | null {
    const found = this.has(sandboxId) ? this.#kept.get(sandboxId) : undefined;
    this.#kept.delete(sandboxId);
    return found?.skills ?? null;
  }
}
