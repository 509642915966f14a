/**
 * Brings a SQLite database and its write-ahead log together, in memory: a server that was killed leaves its newest rows
 * in the log only, and opening the files would change them. The format is that of sqlite.org/fileformat2.html, section 4.
 */
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;
/** Place of the two bytes in a database's header that say whether it has a log. */
const JOURNAL_VERSIONS = 18;

/** A database with all that its log has committed; what was not committed, or is damaged, does not count. */
export function withWriteAheadLog(database: Buffer, log: Buffer): Buffer {
  const frames = log.length < HEADER_BYTES ? null : committedFrames(log);
  const whole = frames === null ? Buffer.from(database) : overlaid(database, frames);
  // Without its log it is an ordinary database; as one with a log it could be opened only where there are locks.
  if (whole.length > JOURNAL_VERSIONS + 1 && whole[JOURNAL_VERSIONS] === 2) {
    whole[JOURNAL_VERSIONS] = 1;
    whole[JOURNAL_VERSIONS + 1] = 1;
  }
  return whole;
}

interface CommittedFrames {
  pageSize: number;
  /** Pages of the database after the last commit. */
  pageCount: number;
  /** The newest content of each page, by its number from 1. */
  pages: Map<number, Buffer>;
}

/** Null when nothing was committed. */
function committedFrames(log: Buffer): CommittedFrames | null {
  const magic = log.readUInt32BE(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return null;
  const pageSize = log.readUInt32BE(8);
  if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) return null;
  const sum = checksums(magic === MAGIC_BIG_ENDIAN);
  let state = sum(log.subarray(0, 24), [0, 0]);
  if (state[0] !== log.readUInt32BE(24) || state[1] !== log.readUInt32BE(28)) return null;
  const salt = log.subarray(16, 24);
  const pages = new Map<number, Buffer>();
  const pending = new Map<number, Buffer>();
  let pageCount = 0;
  for (let at = HEADER_BYTES; at + FRAME_HEADER_BYTES + pageSize <= log.length;) {
    const header = log.subarray(at, at + FRAME_HEADER_BYTES);
    const page = log.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + pageSize);
    // Frames of an earlier round of the log lie behind those of this one.
    if (!header.subarray(8, 16).equals(salt)) break;
    state = sum(page, sum(header.subarray(0, 8), state));
    if (state[0] !== header.readUInt32BE(16) || state[1] !== header.readUInt32BE(20)) break;
    pending.set(header.readUInt32BE(0), page);
    const committed = header.readUInt32BE(4);
    if (committed > 0) {
      for (const [number, content] of pending) pages.set(number, content);
      pending.clear();
      pageCount = committed;
    }
    at += FRAME_HEADER_BYTES + pageSize;
  }
  return pageCount === 0 ? null : { pageSize, pageCount, pages };
}

function overlaid(database: Buffer, { pageSize, pageCount, pages }: CommittedFrames): Buffer {
  const whole = Buffer.alloc(pageSize * pageCount);
  database.copy(whole, 0, 0, Math.min(database.length, whole.length));
  for (const [number, content] of pages) {
    if (number <= pageCount) content.copy(whole, (number - 1) * pageSize);
  }
  return whole;
}

type Sum = readonly [number, number];

/** The log's checksum, which goes on from that of what came before. */
function checksums(bigEndian: boolean): (bytes: Buffer, from: Sum) => Sum {
  return (bytes, from) => {
    let [first, second] = from;
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      first = (first + (bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)) + second) >>> 0;
      second = (second + (bigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4)) + first) >>> 0;
    }
    return [first, second];
  };
}
