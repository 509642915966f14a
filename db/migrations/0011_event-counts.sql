CREATE TABLE "event_counts" (
	"conversation_id" text NOT NULL,
	"kind" text NOT NULL,
	"total" bigint NOT NULL,
	CONSTRAINT "event_counts_conversation_id_kind_pk" PRIMARY KEY("conversation_id","kind")
);
--> statement-breakpoint
-- What is written to the index between the count of what is there and the triggers would be missing: it waits.
LOCK TABLE "event_index" IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint
INSERT INTO "event_counts" ("conversation_id", "kind", "total")
	SELECT "conversation_id", "kind", count(*) FROM "event_index" GROUP BY "conversation_id", "kind";--> statement-breakpoint
-- In one order, so that two transactions that write to several conversations cannot wait for each other.
CREATE FUNCTION "count_added_events"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO "event_counts" AS "counted" ("conversation_id", "kind", "total")
		SELECT "conversation_id", "kind", count(*) FROM "added" GROUP BY "conversation_id", "kind" ORDER BY "conversation_id", "kind"
		ON CONFLICT ("conversation_id", "kind") DO UPDATE SET "total" = "counted"."total" + excluded."total";
	RETURN NULL;
END;
$$;--> statement-breakpoint
CREATE FUNCTION "count_removed_events"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WITH "gone" AS (
		SELECT "conversation_id", "kind", count(*) AS "total" FROM "removed" GROUP BY "conversation_id", "kind"
	), "held" AS (
		SELECT "event_counts"."conversation_id", "event_counts"."kind", "event_counts"."total" - "gone"."total" AS "total"
		FROM "event_counts" JOIN "gone" USING ("conversation_id", "kind")
		ORDER BY "event_counts"."conversation_id", "event_counts"."kind" FOR UPDATE OF "event_counts"
	), "emptied" AS (
		DELETE FROM "event_counts" USING "held"
		WHERE "event_counts"."conversation_id" = "held"."conversation_id" AND "event_counts"."kind" = "held"."kind" AND "held"."total" <= 0
	)
	UPDATE "event_counts" SET "total" = "held"."total" FROM "held"
	WHERE "event_counts"."conversation_id" = "held"."conversation_id" AND "event_counts"."kind" = "held"."kind" AND "held"."total" > 0;
	RETURN NULL;
END;
$$;--> statement-breakpoint
CREATE FUNCTION "forget_event_counts"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM "event_counts";
	RETURN NULL;
END;
$$;--> statement-breakpoint
CREATE TRIGGER "event_index_added" AFTER INSERT ON "event_index"
	REFERENCING NEW TABLE AS "added" FOR EACH STATEMENT EXECUTE FUNCTION "count_added_events"();--> statement-breakpoint
CREATE TRIGGER "event_index_removed" AFTER DELETE ON "event_index"
	REFERENCING OLD TABLE AS "removed" FOR EACH STATEMENT EXECUTE FUNCTION "count_removed_events"();--> statement-breakpoint
CREATE TRIGGER "event_index_emptied" AFTER TRUNCATE ON "event_index"
	FOR EACH STATEMENT EXECUTE FUNCTION "forget_event_counts"();
