/**
 * Builds dist/: the program, everything beside its sources that is no source, and the workflow bundle.
 */
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';
import { files, removeLeftovers, replaceFile } from './build-files.mjs';
import { bundleProgram } from './program-bundle.mjs';
import { ROOMS } from './rooms.mjs';
import { workflowBundleOptions } from './workflow-bundle.mjs';

/** Sources, and what only people or caches read. */
const NOT_COPIED = ['.ts', '.md', '.pyc'];

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const stamp = join(dist, '.callboard-built');

mkdirSync(dist, { recursive: true });
rmSync(stamp, { force: true });
const started = join(dist, '.callboard-building');
writeFileSync(started, ''); // its time becomes the stamp's: what changes during the build is newer

let program;
try {
  program = await bundleProgram(root, dist);
} catch (err) {
  if (!err.errors) throw err;
  process.exit(1); // the bundler has said why
}

const made = new Set();
for (const room of ROOMS) {
  for (const file of files(join(root, room))) {
    if (NOT_COPIED.includes(extname(file))) continue;
    const path = relative(root, file);
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    copyFileSync(file, join(dist, path));
    made.add(path);
  }
}
for (const { path, contents } of program) {
  replaceFile(path, contents);
  made.add(relative(dist, path));
}
removeLeftovers(dist, made);

const logger = { ...console, trace() {}, debug() {}, info() {}, log() {} };
const { code } = await bundleWorkflowCode({ ...workflowBundleOptions(root), logger });
replaceFile(join(dist, 'workflow-bundle.js'), code);

renameSync(started, stamp);
