/**
 * What a sandbox is expected to take of its machine's memory beside what is there already, in bytes, with room for a
 * conversation that runs in it. Measured with agent-server 1.34.0, memory of its own (`Private_*` of `smaps_rollup`):
 *
 * |                                             | booted     | forked   |
 * | ------------------------------------------- | ---------- | -------- |
 * | it answers                                  | 238 MB     | 30 MB    |
 * | after its first conversation                | 245 MB     | 60 MB    |
 * | after five, with a dozen tools each         | 255–268 MB | 73–82 MB |
 *
 * What is imported is 180 MB or more of that, at each of these points: a fork does without them. What a conversation
 * takes beside (tools, its shell, a long history) is its own in both, so the room for it is the same.
 */
export const BOOTED_SANDBOX_BYTES = 400 * 1024 ** 2;
export const FORKED_SANDBOX_BYTES = 220 * 1024 ** 2;
