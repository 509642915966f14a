import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where downloaded and built tools are kept: `$XDG_CACHE_HOME/callboard`, else `~/.cache/callboard`. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'callboard');
}
