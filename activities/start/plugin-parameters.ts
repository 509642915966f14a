import type { InitialMessage } from '../../contract/content.js';
import type { PluginSpec } from '../../contract/start-task.js';

const HEADING = 'Plugin Configuration Parameters:';

/**
 * Tells the agent the parameters of its plugins: at the end of the last text of the first message, which is made if
 * there is none (contract 3.3).
 */
export function withPluginParameters(
  message: InitialMessage | null,
  plugins: readonly PluginSpec[] | null,
): InitialMessage | null {
  const text = parametersText(plugins ?? []);
  if (text === null) return message;
  if (message === null) return { role: 'user', content: [textBlock(text)], run: true };
  const at = message.content.findLastIndex((block) => block.type === 'text');
  return {
    ...message,
    content:
      at < 0
        ? [...message.content, textBlock(text)]
        : message.content.map((block, index) =>
            index === at && block.type === 'text' ? { ...block, text: `${block.text}\n\n${text}` } : block,
          ),
  };
}

const textBlock = (text: string) => ({ type: 'text' as const, text, cache_prompt: false });

/** The parameters as lines, grouped by plugin when several have some; null when none has. */
function parametersText(plugins: readonly PluginSpec[]): string | null {
  const groups = plugins.flatMap((plugin) => {
    const entries = Object.entries(plugin.parameters ?? {});
    return entries.length > 0 ? [{ name: nameOf(plugin), lines: entries.map(line) }] : [];
  });
  const [only] = groups;
  if (!only) return null;
  const body = groups.length === 1 ? only.lines : groups.flatMap(({ name, lines }) => [`${name}:`, ...lines]);
  return [HEADING, ...body].join('\n');
}

const line = ([key, value]: [string, unknown]): string =>
  `- ${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;

/** The last part of the plugin's directory, else of its source. */
function nameOf({ source, repo_path }: PluginSpec): string {
  const parts = (repo_path ?? source).split(/[/:]/).filter((part) => part !== '');
  return parts.at(-1)?.replace(/\.git$/, '') ?? source;
}
