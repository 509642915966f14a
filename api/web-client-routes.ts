import { z } from 'zod';
import { wireDate } from '../contract/dates.js';
import { ACP_PROVIDERS } from './data.js';
import { route, type RouteDefinition } from './route.js';

export interface WebClientDeps {
  /** When this configuration came into force. */
  since: Date;
  /** OAuth application of the single-user mode; null without. */
  githubClientId: string | null;
  /** Where people sign in; null where nobody does. */
  signInUrl: string | null;
}

/** What web clients ask for before anything else, in both releases (contract 11.4, 16.8); open to anybody. */
export const webClientRoutes = (deps: WebClientDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/web-client/config',
    summary: 'Tell a web client what this server offers',
    tag: 'Web client',
    guard: 'open',
    responses: {
      200: { description: 'The configuration.', schema: z.looseObject({ app_mode: z.string() }) },
    },
    handle: () => Promise.resolve(webClientConfig(deps)),
  }),
  route({
    method: 'get',
    path: '/api/options/config',
    summary: 'Tell a 2025-11 web client what this server offers',
    tag: 'Web client',
    guard: 'open',
    responses: {
      200: { description: 'The configuration.', schema: z.looseObject({ APP_MODE: z.string() }) },
    },
    handle: () => Promise.resolve(legacyConfig(deps)),
  }),
];

/** No analytics key: nothing is sent anywhere unless somebody configures it. */
function webClientConfig({ since, signInUrl }: WebClientDeps) {
  return {
    app_mode: 'oss',
    posthog_client_key: null,
    feature_flags: {
      enable_billing: false,
      hide_llm_settings: false,
      enable_jira: false,
      enable_jira_dc: false,
      enable_linear: false,
      hide_users_page: true,
      hide_billing_page: true,
      hide_integrations_page: false,
      hide_personal_workspaces: false,
      allow_user_llm_configuration: true,
      enable_acp: true,
      deployment_mode: 'self_hosted',
      enable_onboarding: false,
      enable_automations: false,
    },
    providers_configured: [],
    maintenance_start_time: null,
    auth_url: signInUrl,
    recaptcha_site_key: null,
    faulty_models: [],
    error_message: null,
    updated_at: wireDate(since),
    github_app_slug: null,
    gitlab_enabled: false,
    provider_default_hosts: {},
    slack_enabled: false,
    email_enabled: false,
    acp_providers: ACP_PROVIDERS,
    jira_dc_oauth_host: null,
    jira_dc_service_account_managed: false,
    jira_dc_service_account_email: null,
    jira_dc_service_account_config_error: null,
    kind: 'WebClientConfig',
  };
}

const legacyConfig = ({ githubClientId }: WebClientDeps) => ({
  APP_MODE: 'oss',
  GITHUB_CLIENT_ID: githubClientId ?? '',
  POSTHOG_CLIENT_KEY: null,
  PROVIDERS_CONFIGURED: [],
  FEATURE_FLAGS: {
    ENABLE_BILLING: false,
    HIDE_LLM_SETTINGS: false,
    ENABLE_JIRA: false,
    ENABLE_JIRA_DC: false,
    ENABLE_LINEAR: false,
  },
});
