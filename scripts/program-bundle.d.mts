/** The program's files below `dist`, not written yet, the entry last. */
export function bundleProgram(root: string, dist: string): Promise<{ path: string; contents: Uint8Array }[]>;
