/** Removes what no build made, or an earlier one; pieces of the program stay for one more build. */
export function removeLeftovers(dist: string, made: ReadonlySet<string>): void;
