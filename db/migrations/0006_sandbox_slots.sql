ALTER TABLE "sandboxes" ADD COLUMN "slot_claimed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "sandboxes" ADD COLUMN "yielding_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "sandboxes_user_present" ON "sandboxes" USING btree ("created_by_user_id","created_at","id") WHERE deleted_at is null;