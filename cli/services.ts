import type { Config } from '../config/config.js';
import type { Service } from './up.js';

/** What `callboard up` runs on top of its engines, in the order in which it is started. */
export function productServices(_config: Config): Service[] {
  return [];
}
