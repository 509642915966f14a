/** The directories of the product's sources; tests, benchmarks and scripts are none of them. */
export const ROOMS =
  'activities agent-server api cli config contract db events git-providers identity sandboxes workflows'.split(
    ' ',
  );
