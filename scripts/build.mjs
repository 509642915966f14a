/**
 * Builds dist/: compiled sources, everything beside them that is no source, and the workflow bundle.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';
import { workflowBundleOptions } from './workflow-bundle.mjs';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const stamp = join(dist, '.callboard-built');
const rooms = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')).include;

/** Every file below a directory. */
function* files(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

mkdirSync(dist, { recursive: true });
rmSync(stamp, { force: true });
const started = join(dist, '.callboard-building');
writeFileSync(started, ''); // its time becomes the stamp's: what changes during the build is newer

try {
  execFileSync(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--noEmitOnError'].concat([
      '--incremental',
      '--tsBuildInfoFile',
      join(dist, '.tsbuildinfo'),
    ]),
    { cwd: root, stdio: 'inherit' },
  );
} catch (err) {
  process.exit(err.status ?? 1); // the compiler has said why
}

for (const room of rooms) {
  if (!existsSync(join(root, room))) continue;
  for (const file of files(join(root, room))) {
    if (['.ts', '.md', '.pyc'].includes(extname(file))) continue;
    const target = join(dist, relative(root, file));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
}

// What is left of sources that were taken away would be imported, or migrated, all the same.
for (const file of files(dist)) {
  const path = relative(dist, file);
  if (!rooms.includes(path.split('/')[0])) continue;
  const source = join(root, path.replace(/\.js(\.map)?$/, '.ts'));
  if (!existsSync(source) && !existsSync(join(root, path))) rmSync(file);
}

if (existsSync(join(root, 'workflows/index.ts'))) {
  const logger = { ...console, trace() {}, debug() {}, info() {}, log() {} };
  const { code } = await bundleWorkflowCode({ ...workflowBundleOptions(root), logger });
  writeFileSync(join(dist, 'workflow-bundle.js.new'), code);
  renameSync(join(dist, 'workflow-bundle.js.new'), join(dist, 'workflow-bundle.js'));
}

renameSync(started, stamp);
