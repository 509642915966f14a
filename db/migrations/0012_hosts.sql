CREATE TABLE "hosts" (
	"id" text PRIMARY KEY NOT NULL,
	"available_memory" bigint NOT NULL,
	"parallel_boots" integer NOT NULL,
	"seen_at" timestamp (3) with time zone NOT NULL
);
