import type { SkillPayload } from '../contract/skill.js';

/** As long as a sandbox is kept warm at most, in milliseconds. */
const KEPT_MS = 4 * 3_600_000;
/** Most sandboxes of which something is kept: more are not warm on one machine. */
const MOST = 32;
/** How long starts do without, after the skills could not be had in time, in milliseconds. */
const WITHOUT_MS = 10 * 60_000;

/**
 * What one worker knows of the public skills: those that agent-servers have loaded while nobody had their sandboxes,
 * and whether their registry, a git repository at GitHub, can be had at all. An agent-server fetches them again when a
 * minute has passed, by its own account about a second of a start; the start that gets the sandbox takes what is here
 * instead. They are of one sandbox, because the files that they name lie in its home. In the memory of one worker:
 * a start on another one asks the agent-server. Where the network swallows packets, one start or warm-up finds that out
 * for all.
 */
export class PublicSkills {
  readonly #kept = new Map<string, { skills: readonly SkillPayload[]; until: number }>();

  #withoutUntil = 0;

  constructor(private readonly now: () => number = Date.now) {}

  /** Of none there is nothing to keep: the registry may be back when a start asks for it. */
  keep(sandboxId: string, skills: readonly SkillPayload[]): void {
    if (skills.length === 0) return;
    this.#kept.delete(sandboxId);
    this.#kept.set(sandboxId, { skills, until: this.now() + KEPT_MS });
    // In the order in which they were kept, which is that in which they expire.
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST && this.has(oldest)) break;
      this.#kept.delete(oldest);
    }
  }

  has(sandboxId: string): boolean {
    return this.now() < (this.#kept.get(sandboxId)?.until ?? 0);
  }

  /** They did not come in time. */
  missed(): void {
    this.#withoutUntil = this.now() + WITHOUT_MS;
  }

  /** Whether starts do without them for now. */
  areOutOfReach(): boolean {
    return this.now() < this.#withoutUntil;
  }

  /** What is kept of a sandbox, for its first conversation alone; null asks the agent-server. */
  take(sandboxId: string): readonly SkillPayload[] | null {
    const found = this.has(sandboxId) ? this.#kept.get(sandboxId) : undefined;
    this.#kept.delete(sandboxId);
    return found?.skills ?? null;
  }
}
