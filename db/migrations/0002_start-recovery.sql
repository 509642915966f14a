ALTER TABLE "start_requests" ADD COLUMN "fingerprint" text;--> statement-breakpoint
ALTER TABLE "start_requests" ADD COLUMN "supersedes" text;--> statement-breakpoint
ALTER TABLE "start_requests" ADD COLUMN "accepted_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "start_tasks" ADD COLUMN "owns_sandbox" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "conversations" ADD COLUMN "purged_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE UNIQUE INDEX "start_requests_supersedes" ON "start_requests" USING btree ("supersedes") WHERE supersedes is not null;--> statement-breakpoint
CREATE INDEX "start_requests_unaccepted" ON "start_requests" USING btree ("created_at") WHERE accepted_at is null;--> statement-breakpoint
CREATE INDEX "start_requests_with_secrets" ON "start_requests" USING btree ("created_at") WHERE secrets is not null;--> statement-breakpoint
CREATE INDEX "start_tasks_under_way" ON "start_tasks" USING btree ("updated_at","id") WHERE status not in ('READY', 'ERROR');--> statement-breakpoint
CREATE INDEX "sandboxes_deleted" ON "sandboxes" USING btree ("deleted_at") WHERE deleted_at is not null;--> statement-breakpoint
CREATE INDEX "conversations_unpurged" ON "conversations" USING btree ("deleted_at") WHERE deleted_at is not null and purged_at is null;--> statement-breakpoint
CREATE INDEX "conversations_purged" ON "conversations" USING btree ("purged_at") WHERE purged_at is not null;