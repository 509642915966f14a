/** One conversation: its log, its status, and an agent that always does the same. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newEvent, openEventLog, stateUpdate, withoutNulls, type EventLog } from './event-log.js';
import { digestOf, hesitate, type Ledger } from './ledger.js';
import type { LightEvent, WebhookPoster } from './webhooks.js';

export interface ConversationSettings {
  poster: WebhookPoster;
  ledger: Ledger;
  /** Steps of a run, and how long one of them takes at most. */
  steps: number;
  stepMs: number;
}

/** What survives a restart, beside the log. */
interface Meta {
  id: string;
  title: string | null;
  tags: Record<string, string>;
  status: string;
  /** The start request's agent and working directory. */
  agent: Record<string, unknown>;
  workingDirectory: string;
  createdAt: string;
}

export class LightConversation {
  /** 32 hex digits. */
  readonly key: string;
  readonly log: EventLog;
  readonly #settings: ConversationSettings;
  readonly #metaFile: string;
  #meta: Meta;
  #running = false;
  #stop = false;
  #wanted = false;
  #tokens = 0;

  private constructor(directory: string, meta: Meta, settings: ConversationSettings) {
    this.key = meta.id.replaceAll('-', '');
    this.#meta = meta;
    this.#settings = settings;
    this.#metaFile = join(directory, 'meta.json');
    this.log = openEventLog(join(directory, 'events.jsonl'));
  }

  static create(
    directory: string,
    meta: Omit<Meta, 'title' | 'tags' | 'status' | 'createdAt'>,
    settings: ConversationSettings,
  ): LightConversation {
    mkdirSync(directory, { recursive: true });
    const createdAt = new Date().toISOString();
    const created = new LightConversation(
      directory,
      { ...meta, title: null, tags: {}, status: 'idle', createdAt },
      settings,
    );
    created.#save();
    settings.ledger.write({ what: 'created', conversation: created.key });
    return created;
  }

  /** As it is found at boot: what was running is in error, and says so (agent-server contract 17.3). */
  static open(directory: string, settings: ConversationSettings): LightConversation {
    const meta = JSON.parse(readFileSync(join(directory, 'meta.json'), 'utf8')) as Meta;
    const opened = new LightConversation(directory, meta, settings);
    // The process may have died between the log and the ledger.
    for (const event of opened.log.events) opened.#note(event);
    if (meta.status === 'running') {
      void opened.#setStatus('error');
      void opened.#publish(newEvent('AgentErrorEvent', 'agent', { error: 'A restart occurred.' }));
    }
    void opened.#publishState();
    return opened;
  }

  get status(): string {
    return this.#meta.status;
  }

  get running(): boolean {
    return this.#running;
  }

  /** The record, as the start, GET and the conversations webhook show it (agent-server contract 7.4). */
  info(status = this.#meta.status): Record<string, unknown> {
    const { id, title, tags, agent, workingDirectory, createdAt } = this.#meta;
    return {
      id,
      workspace: { working_dir: workingDirectory, kind: 'LocalWorkspace' },
      execution_status: status,
      stats: this.#stats(),
      title,
      tags,
      created_at: createdAt,
      updated_at: new Date().toISOString(),
      agent,
      client_tools: [],
    };
  }

  /** Puts a message into the log; it stands there when this returns. */
  message(content: unknown, run: boolean): void {
    const text = textOf(content);
    const event = newEvent('MessageEvent', 'user', {
      llm_message: { role: 'user', content },
      activated_skills: [],
      extended_content: [],
    });
    if (this.log.events.every(({ kind }) => kind !== 'SystemPromptEvent')) {
      void this.#publish(
        newEvent('SystemPromptEvent', 'agent', {
          system_prompt: { type: 'text', text: 'You are light.' },
          tools: [],
        }),
      );
    }
    void this.#publish(event);
    void this.#publish(stateUpdate('last_user_message_id', event.id));
    if (this.#meta.title === null) this.patch({ title: text.slice(0, 60) || 'Untitled' });
    if (run) this.run();
  }

  /** False while it runs. */
  run(): boolean {
    this.#wanted = true;
    if (this.#running) return false;
    this.#running = true;
    void this.#steps().finally(() => (this.#running = false));
    return true;
  }

  async pause(): Promise<void> {
    this.#stop = true;
    while (this.#running) await sleep(5);
    this.#stop = false;
    if (this.#meta.status !== 'finished') {
      void this.#setStatus('paused');
      void this.#publish(newEvent('PauseEvent', 'user', {}));
    }
    void this.#settings.poster.postConversation(this.info());
  }

  patch({ title, tags }: { title?: string; tags?: Record<string, string> }): void {
    this.#meta = { ...this.#meta, title: title ?? this.#meta.title, tags: tags ?? this.#meta.tags };
    this.#save();
  }

  /** It has been created, with its first message if there was one. */
  announce(status = this.#meta.status): void {
    void this.#settings.poster.postConversation(this.info(status));
  }

  /** Ends its run; nothing is published afterwards. */
  close(): void {
    this.#stop = true;
  }

  async #steps(): Promise<void> {
    const { steps, stepMs } = this.#settings;
    while (this.#wanted && !this.#stop) {
      this.#wanted = false;
      void this.#setStatus('running');
      const published: Promise<void>[] = [];
      for (let step = 0; step < steps && !this.#stop; step++) {
        const call = `call_${this.log.events.length}`;
        await hesitate(stepMs);
        published.push(this.#publish(action(call, step)));
        await hesitate(stepMs);
        published.push(this.#publish(observation(call, step)));
        this.#tokens += 10;
      }
      if (this.#stop) return;
      published.push(this.#publish(agentMessage('Done.')));
      published.push(this.#setStatus('finished'));
      published.push(this.#publish(stateUpdate('stats', this.#stats())));
      // Publishing waits for the posts: a receiver that is away holds up the end of a run.
      await Promise.all(published);
      await this.#publishState();
    }
  }

  #setStatus(status: string): Promise<void> {
    this.#meta = { ...this.#meta, status };
    this.#save();
    return this.#publish(stateUpdate('execution_status', status));
  }

  /** A snapshot, posted and never kept. */
  #publishState(): Promise<void> {
    const { id, status, agent } = this.#meta;
    const value = { id, execution_status: status, stats: this.#stats(), agent };
    return this.#settings.poster.postEvent(this.key, stateUpdate('full_state', value));
  }

  #publish(event: LightEvent): Promise<void> {
    this.log.append(event);
    this.#note(event);
    return this.#settings.poster.postEvent(this.key, event);
  }

  #note(event: LightEvent): void {
    const { ledger } = this.#settings;
    const conversation = this.key;
    ledger.write({ what: 'event', conversation, event: event.id, digest: digestOf(withoutNulls(event)) });
    if (event.kind !== 'MessageEvent' || event.source !== 'user') return;
    const { content } = event['llm_message'] as { content: unknown };
    ledger.write({ what: 'message', conversation, event: event.id, text: textOf(content) });
  }

  #stats(): Record<string, unknown> {
    const usage = { model: 'light', prompt_tokens: this.#tokens, completion_tokens: this.#tokens };
    return {
      usage_to_metrics: {
        agent: { model_name: 'light', accumulated_cost: 0, accumulated_token_usage: usage },
      },
    };
  }

  #save(): void {
    writeFileSync(`${this.#metaFile}.new`, JSON.stringify(this.#meta));
    renameSync(`${this.#metaFile}.new`, this.#metaFile);
  }
}

const action = (call: string, step: number): LightEvent =>
  newEvent('ActionEvent', 'agent', {
    thought: [],
    action: { kind: 'TerminalAction', command: `echo ${step}` },
    tool_name: 'terminal',
    tool_call_id: call,
  });

const observation = (call: string, step: number): LightEvent =>
  newEvent('ObservationEvent', 'environment', {
    tool_name: 'terminal',
    tool_call_id: call,
    observation: { kind: 'TerminalObservation', content: [{ type: 'text', text: String(step) }] },
  });

const agentMessage = (text: string): LightEvent =>
  newEvent('MessageEvent', 'agent', {
    llm_message: { role: 'assistant', content: [{ type: 'text', text }] },
    activated_skills: [],
  });

/** The texts of a message's content. */
export function textOf(content: unknown): string {
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) =>
      typeof part === 'object' && part !== null && 'text' in part ? String(part.text) : '',
    )
    .join('\n');
}
