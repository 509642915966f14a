# One image for `api`, `worker` and `migrate`. Debian 13, because its Python is new enough for the
# agent-server, which workers start as processes.
ARG NODE_IMAGE=node:22-trixie-slim

# ------------------------------------------------------------------ compiled sources, workflow bundle
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN node scripts/build.mjs

# ------------------------------------------------------------------------------- packages at run time
FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# Temporal's package holds its binary for five platforms; npm leaves other things behind that never run here.
COPY scripts/prune-packages.mjs ./scripts/
RUN npm ci --omit=dev --no-audit --no-fund && node scripts/prune-packages.mjs node_modules

# ----------------------------------------------------------------------------------- the agent-server
FROM ${NODE_IMAGE} AS agent-server
ARG AGENT_SERVER_VERSION=1.34.0
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
COPY scripts/agent-server.sh scripts/agent-server-*.constraints.txt /opt/scripts/
RUN bash /opt/scripts/agent-server.sh --version "$AGENT_SERVER_VERSION" --method venv --prefix /opt/agent-server

# ------------------------------------------------------------------------------------------ the image
FROM ${NODE_IMAGE}
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates curl git python3 tmux \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --system --uid 10001 --user-group --create-home --shell /bin/bash callboard \
  # Volumes mounted here for the first time take over owner and mode.
  && install -d -o callboard -g callboard -m 0700 /var/lib/callboard /var/lib/callboard-host
WORKDIR /app
COPY --from=agent-server /opt/agent-server /opt/agent-server
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json ./
ENV NODE_ENV=production \
  HOST=0.0.0.0 \
  PORT=3000 \
  OH_PERSISTENCE_DIR=/var/lib/callboard \
  CALLBOARD_HOST_DIR=/var/lib/callboard-host \
  AGENT_SERVER_COMMAND=/opt/agent-server/bin/agent-server
USER callboard
EXPOSE 3000
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["api"]
