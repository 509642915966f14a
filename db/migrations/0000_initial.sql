CREATE TABLE "start_requests" (
	"id" text PRIMARY KEY NOT NULL,
	"conversation_id" text NOT NULL,
	"created_by_user_id" text,
	"request" jsonb NOT NULL,
	"secrets" text,
	"idempotency_key" text,
	"superseded_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "start_task_artifacts" (
	"task_id" text NOT NULL,
	"name" text NOT NULL,
	"content" jsonb NOT NULL,
	CONSTRAINT "start_task_artifacts_task_id_name_pk" PRIMARY KEY("task_id","name")
);
--> statement-breakpoint
CREATE TABLE "start_task_transitions" (
	"task_id" text NOT NULL,
	"sequence" integer NOT NULL,
	"status" text NOT NULL,
	"detail" text,
	"app_conversation_id" text,
	"sandbox_id" text,
	"agent_server_url" text,
	"at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "start_task_transitions_task_id_sequence_pk" PRIMARY KEY("task_id","sequence")
);
--> statement-breakpoint
CREATE TABLE "start_tasks" (
	"id" text PRIMARY KEY NOT NULL,
	"conversation_id" text NOT NULL,
	"created_by_user_id" text,
	"status" text NOT NULL,
	"detail" text,
	"app_conversation_id" text,
	"sandbox_id" text,
	"agent_server_url" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "port_leases" (
	"host_id" text NOT NULL,
	"port" integer NOT NULL,
	"sandbox_id" text NOT NULL,
	"leased_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "port_leases_host_id_port_pk" PRIMARY KEY("host_id","port")
);
--> statement-breakpoint
CREATE TABLE "sandboxes" (
	"id" text PRIMARY KEY NOT NULL,
	"created_by_user_id" text,
	"spec_id" text NOT NULL,
	"status" text NOT NULL,
	"detail" text,
	"host_id" text,
	"handle" jsonb,
	"exposed_urls" jsonb,
	"agent_server_url" text,
	"working_directory" text,
	"agent_server_version" text,
	"usable_tools" jsonb,
	"session_api_key" text NOT NULL,
	"session_api_key_hash" text NOT NULL,
	"secret_key" text NOT NULL,
	"last_active_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "conversations" (
	"id" text PRIMARY KEY NOT NULL,
	"created_by_user_id" text,
	"sandbox_id" text NOT NULL,
	"selected_repository" text,
	"selected_branch" text,
	"git_provider" text,
	"title" text,
	"trigger" text,
	"pr_number" integer[] DEFAULT '{}'::integer[] NOT NULL,
	"llm_model" text,
	"agent_kind" text DEFAULT 'openhands' NOT NULL,
	"metrics" jsonb,
	"metrics_at" timestamp (3) with time zone,
	"parent_conversation_id" text,
	"public" boolean,
	"tags" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"working_directory" text,
	"execution_status" text,
	"execution_status_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "callback_queue" (
	"ordinal" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "callback_queue_ordinal_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"callback_id" text NOT NULL,
	"conversation_id" text NOT NULL,
	"event_id" text NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "event_callback_results" (
	"id" text PRIMARY KEY NOT NULL,
	"callback_id" text NOT NULL,
	"event_id" text NOT NULL,
	"conversation_id" text NOT NULL,
	"status" text NOT NULL,
	"detail" text,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "event_callbacks" (
	"id" text PRIMARY KEY NOT NULL,
	"conversation_id" text NOT NULL,
	"processor" jsonb NOT NULL,
	"processor_kind" text NOT NULL,
	"event_kind" text NOT NULL,
	"status" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "event_index" (
	"conversation_id" text NOT NULL,
	"event_id" text NOT NULL,
	"kind" text NOT NULL,
	"timestamp" timestamp(6) with time zone NOT NULL,
	"ordinal" bigint GENERATED ALWAYS AS IDENTITY (sequence name "event_index_ordinal_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"file_name" text NOT NULL,
	CONSTRAINT "event_index_conversation_id_event_id_pk" PRIMARY KEY("conversation_id","event_id")
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"user_id" text NOT NULL,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"value" text NOT NULL,
	"description" text,
	"attributes" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "secrets_user_id_kind_name_pk" PRIMARY KEY("user_id","kind","name")
);
--> statement-breakpoint
CREATE TABLE "settings" (
	"user_id" text PRIMARY KEY NOT NULL,
	"content" jsonb NOT NULL,
	"secret_members" text,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "start_task_artifacts" ADD CONSTRAINT "start_task_artifacts_task_id_start_tasks_id_fk" FOREIGN KEY ("task_id") REFERENCES "public"."start_tasks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "start_task_transitions" ADD CONSTRAINT "start_task_transitions_task_id_start_tasks_id_fk" FOREIGN KEY ("task_id") REFERENCES "public"."start_tasks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "start_tasks" ADD CONSTRAINT "start_tasks_id_start_requests_id_fk" FOREIGN KEY ("id") REFERENCES "public"."start_requests"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "callback_queue" ADD CONSTRAINT "callback_queue_callback_id_event_callbacks_id_fk" FOREIGN KEY ("callback_id") REFERENCES "public"."event_callbacks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_callback_results" ADD CONSTRAINT "event_callback_results_callback_id_event_callbacks_id_fk" FOREIGN KEY ("callback_id") REFERENCES "public"."event_callbacks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "start_requests_conversation" ON "start_requests" USING btree ("conversation_id") WHERE superseded_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "start_requests_idempotency_key" ON "start_requests" USING btree (coalesce(created_by_user_id, ''),"idempotency_key") WHERE idempotency_key is not null;--> statement-breakpoint
CREATE INDEX "start_requests_created" ON "start_requests" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "start_tasks_created" ON "start_tasks" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "start_tasks_updated" ON "start_tasks" USING btree ("updated_at","id");--> statement-breakpoint
CREATE INDEX "start_tasks_user_created" ON "start_tasks" USING btree ("created_by_user_id","created_at","id");--> statement-breakpoint
CREATE INDEX "start_tasks_user_updated" ON "start_tasks" USING btree ("created_by_user_id","updated_at","id");--> statement-breakpoint
CREATE INDEX "start_tasks_conversation" ON "start_tasks" USING btree ("app_conversation_id");--> statement-breakpoint
CREATE INDEX "start_tasks_sandbox" ON "start_tasks" USING btree ("sandbox_id");--> statement-breakpoint
CREATE UNIQUE INDEX "port_leases_sandbox" ON "port_leases" USING btree ("host_id","sandbox_id");--> statement-breakpoint
CREATE UNIQUE INDEX "sandboxes_session_api_key_hash" ON "sandboxes" USING btree ("session_api_key_hash");--> statement-breakpoint
CREATE INDEX "sandboxes_user_created" ON "sandboxes" USING btree ("created_by_user_id","created_at","id");--> statement-breakpoint
CREATE INDEX "sandboxes_created" ON "sandboxes" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "sandboxes_host" ON "sandboxes" USING btree ("host_id");--> statement-breakpoint
CREATE INDEX "conversations_created" ON "conversations" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "conversations_user_created" ON "conversations" USING btree ("created_by_user_id","created_at","id");--> statement-breakpoint
CREATE INDEX "conversations_parent" ON "conversations" USING btree ("parent_conversation_id");--> statement-breakpoint
CREATE INDEX "conversations_sandbox" ON "conversations" USING btree ("sandbox_id");--> statement-breakpoint
CREATE UNIQUE INDEX "callback_queue_once" ON "callback_queue" USING btree ("callback_id","event_id");--> statement-breakpoint
CREATE INDEX "callback_queue_conversation" ON "callback_queue" USING btree ("conversation_id","ordinal");--> statement-breakpoint
CREATE UNIQUE INDEX "event_callback_results_once" ON "event_callback_results" USING btree ("callback_id","event_id");--> statement-breakpoint
CREATE INDEX "event_callback_results_conversation" ON "event_callback_results" USING btree ("conversation_id");--> statement-breakpoint
CREATE UNIQUE INDEX "event_callbacks_conversation_kind" ON "event_callbacks" USING btree ("conversation_id","processor_kind");--> statement-breakpoint
CREATE INDEX "event_index_order" ON "event_index" USING btree ("conversation_id","timestamp","ordinal");--> statement-breakpoint
CREATE INDEX "event_index_kind" ON "event_index" USING btree ("conversation_id","kind","timestamp","ordinal");--> statement-breakpoint
CREATE INDEX "event_index_event_id" ON "event_index" USING btree ("event_id");--> statement-breakpoint
CREATE INDEX "event_index_global_order" ON "event_index" USING btree ("timestamp","ordinal");