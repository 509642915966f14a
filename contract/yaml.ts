/** The YAML library, loaded when something is first read with it: few requests do, and every process would wait for it. */
import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';

const require = createRequire(import.meta.url);

/** The library; loading it again costs nothing. */
export const yaml = (): typeof Yaml => require('yaml') as typeof Yaml;
