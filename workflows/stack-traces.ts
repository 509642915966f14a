/**
 * Bundled workflows that keep no stack traces. The SDK takes one, mapped to the sources, for every promise that a
 * workflow makes: three quarters of the time in which a signal is dealt with. What is lost is Temporal's view of where
 * an open workflow stands, and the lines of a fault in workflow code.
 * @param code a bundle, its source map included
 */
export const withoutStackTraces = (code: string): string => `Error.stackTraceLimit = 0;${code}`;
