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
    failureConverterPath: join(root, 'workflows/failure-converter.cjs'),
    payloadConverterPath: optional('workflows/payload-converter.ts'),
    workflowInterceptorModules: interceptors ? [interceptors] : [],
    // Workers refuse a bundle without its source map. One without the sources themselves is half the
    // size and still gives the stack of a failed workflow; names in it are relative to the project.
    webpackConfigHook: (config) => ({
      ...config,
      devtool: 'inline-nosources-source-map',
      output: { ...config.output, devtoolModuleFilenameTemplate: '[resource-path]' },
    }),
  };
}
