/** The directories of the product's sources. */
export const ROOMS: readonly string[];
