ALTER TABLE "sandboxes" ADD COLUMN "warm_since" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "sandboxes" ADD COLUMN "claimed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "sandboxes" ADD COLUMN "slot_due_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "sandboxes_warm" ON "sandboxes" USING btree ("spec_id","warm_since","id") WHERE warm_since is not null and (deleted_at is null or status <> 'MISSING');