/**
 * A thread that reads files, many at a time: one message asks for them, one gives their texts. Plain JavaScript, because a
 * thread begins without what loads TypeScript in tests.
 */
const { readFileSync } = require('node:fs');
const { parentPort } = require('node:worker_threads');

/** The text of a file, null when there is none, or why it cannot be read: errors lose their code on the way. */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    return { code: error.code, syscall: error.syscall ?? 'read', message: error.message };
  }
}

parentPort.on('message', (paths) => parentPort.postMessage(paths.map(read)));
