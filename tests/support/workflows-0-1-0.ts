/** The sandbox actor as version 0.1.0 ran it, for tests of what becomes of such a run. */
export { lifeOf010 as sandbox } from '../../workflows/sandbox/life-0-1-0.js';
