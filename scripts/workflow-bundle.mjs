/**
 * What the workflow bundle is made of; `build.mjs` makes it, and tests may bundle the same way.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Options for `bundleWorkflowCode` of `@temporalio/worker`, from the sources below `root`. */
export function workflowBundleOptions(root) {
  const optional = (path) => (existsSync(join(root, path)) ? join(root, path) : undefined);
  const interceptors = optional('workflows/interceptors.ts');
  return {
    workflowsPath: join(root, 'workflows/index.ts'),
    failureConverterPath: optional('workflows/failure-converter.ts'),
    payloadConverterPath: optional('workflows/payload-converter.ts'),
    workflowInterceptorModules: interceptors ? [interceptors] : [],
    // Without the inlined source map the bundle is a third of the size and workers start sooner.
    webpackConfigHook: (config) => ({ ...config, devtool: false }),
  };
}
