/** Facts about the agent-server's SDK that clients ask for, kept as data (exported from the SDK of the pinned version). */
import { readFileSync } from 'node:fs';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../contract/data/${name}.json`, import.meta.url), 'utf8'));

/** The form in which clients show the settings of an agent, and of a conversation (contract 10.1). */
export const AGENT_SETTINGS_SCHEMA = read('agent-settings-schema');
export const CONVERSATION_SETTINGS_SCHEMA = read('conversation-settings-schema');

export interface AcpProvider {
  key: string;
  display_name: string;
  default_command: string[];
  default_model: string | null;
  available_models: { id: string; label: string }[];
  api_key_env_var: string | null;
  base_url_env_var: string | null;
}
export const ACP_PROVIDERS = read('acp-providers') as AcpProvider[];

/** Models by provider, and where providers are reached; `scripts/renew-models.py` makes it. */
const MODELS = read('models') as {
  addresses: Record<string, string>;
  models: Record<string, string[]>;
};
export const KNOWN_MODELS = MODELS.models;
export const PROVIDER_ADDRESSES: Readonly<Record<string, string | undefined>> = MODELS.addresses;

/** Models that the SDK's makers have tried, by provider. */
export const VERIFIED_MODELS = read('verified-models') as Record<string, string[]>;
