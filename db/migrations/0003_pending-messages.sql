CREATE TABLE "pending_messages" (
	"id" text PRIMARY KEY NOT NULL,
	"ordinal" bigint GENERATED ALWAYS AS IDENTITY (sequence name "pending_messages_ordinal_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"conversation_id" text NOT NULL,
	"status" text DEFAULT 'waiting' NOT NULL,
	"content" text NOT NULL,
	"bytes" integer NOT NULL,
	"run" boolean DEFAULT true NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"refusals" integer DEFAULT 0 NOT NULL,
	"told_at" timestamp (3) with time zone,
	"log_position" text,
	"detail" text,
	"blocked_at" timestamp (3) with time zone,
	"idempotency_key" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "pending_messages_conversation" ON "pending_messages" USING btree ("conversation_id","ordinal");--> statement-breakpoint
CREATE INDEX "pending_messages_waiting" ON "pending_messages" USING btree ("conversation_id") WHERE status = 'waiting';--> statement-breakpoint
CREATE UNIQUE INDEX "pending_messages_idempotency_key" ON "pending_messages" USING btree ("conversation_id","idempotency_key") WHERE idempotency_key is not null;