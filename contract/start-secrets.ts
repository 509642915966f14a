/** What of a start request is kept encrypted and apart from it, for as long as the start may need it. */
import { z } from 'zod';
import { MASK } from './masking.js';
import { secretTexts } from './secret-texts.js';
import { PluginSpec, type StartRequest } from './start-task.js';

export interface StartSecrets {
  /** Environment variables for the agent, by name. */
  secrets: Record<string, string>;
  /** The plugins as they were sent; null where the request shows all of them as it is. */
  plugins: PluginSpec[] | null;
}

const Values = z.record(z.string(), z.string());
const WithPlugins = z.object({ secrets: Values, plugins: z.array(PluginSpec) });

/** The text that is encrypted; null when there is nothing to hide. Without plugins it is that of earlier versions. */
export function writeStartSecrets({ secrets, plugins }: StartSecrets): string | null {
  if (plugins !== null) return JSON.stringify({ secrets, plugins });
  return Object.keys(secrets).length > 0 ? JSON.stringify(secrets) : null;
}

/** Reads what {@link writeStartSecrets} made. */
export function readStartSecrets(text: string): StartSecrets {
  const stored: unknown = JSON.parse(text);
  const both = WithPlugins.safeParse(stored);
  return both.success ? both.data : { secrets: Values.parse(stored), plugins: null };
}

/** All texts among them that nothing may show: of plugins what is named like a secret, and credentials in addresses. */
export const secretsOfStart = ({ secrets, plugins }: StartSecrets): string[] => [
  ...Object.values(secrets),
  ...secretTexts(plugins),
  ...(plugins ?? []).flatMap(({ source }) => tokenOf(source)),
];

/** A token may stand in the place of a user's name, without password. */
function tokenOf(source: string): string[] {
  if (!source.includes('://') || !URL.canParse(source)) return [];
  const { username, password } = new URL(source);
  return username !== '' && password === '' ? [username] : [];
}

/** `scheme://user:password@`, and values of a query. */
const USER_INFO = /^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i;
const QUERY_VALUE = /([?&][^=&#]*=)[^&#]+/g;

/** Plugins as they may be stored and shown: values of parameters, and credentials in the address, masked. */
export const maskPlugins = (plugins: readonly PluginSpec[]): PluginSpec[] =>
  plugins.map((plugin) => ({
    ...plugin,
    source: plugin.source.replace(USER_INFO, `$1${MASK}@`).replaceAll(QUERY_VALUE, `$1${MASK}`),
    parameters:
      plugin.parameters && Object.fromEntries(Object.keys(plugin.parameters).map((name) => [name, MASK])),
  }));

/** Whether a stored request can only be carried out with what was kept apart from it. */
export const needsStartSecrets = ({ secrets, plugins }: Pick<StartRequest, 'secrets' | 'plugins'>): boolean =>
  Object.keys(secrets ?? {}).length > 0 ||
  (plugins ?? []).some(
    ({ source, parameters }) =>
      source.includes(MASK) || Object.values(parameters ?? {}).some((value) => value === MASK),
  );
