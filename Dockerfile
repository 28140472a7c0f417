# Three stages: compile, collect what runs, and the image with nothing else in it. Neither BuildKit nor a newer Docker is
# needed. No package may run a script of its own at installation; the image's Node.js does all the work.
#   --build-arg NODE_IMAGE=…      another mirror, or a pinned digest; Node.js 24.16 or later
#   --build-arg NPM_REGISTRY=…    another npm registry
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS build
ARG NPM_REGISTRY
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund ${NPM_REGISTRY:+"--registry=$NPM_REGISTRY"}
COPY tsconfig.json tsconfig.build.json LICENSE ./
COPY scripts ./scripts
COPY src ./src
COPY openclaw-plugin ./openclaw-plugin
RUN npm run build && npm run --if-present plugin:pack

FROM ${NODE_IMAGE} AS dependencies
ARG NPM_REGISTRY
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund ${NPM_REGISTRY:+"--registry=$NPM_REGISTRY"}

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-semi-space-size=2 \
    BRIDGE_DATA_DIR=/data
WORKDIR /app
# A named volume takes owner and mode from here; a directory of the host must belong to uid 1000.
# The command as everything that the bridge says calls it: docker compose exec bridge dingtalk-bridge doctor.
RUN install -d -o node -g node -m 0700 /data \
 && printf '#!/bin/sh\nexec node /app/dist/bin.js "$@"\n' > /usr/local/bin/dingtalk-bridge && chmod 0755 /usr/local/bin/dingtalk-bridge
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
# Names the packed plugin, which lies in dist/openclaw-plugin.
COPY openclaw-plugin/package.json ./openclaw-plugin/
COPY deploy/docker/healthcheck.mjs deploy/docker/stay.mjs ./
COPY --from=build /app/dist ./dist
VOLUME /data
USER node
EXPOSE 8790
STOPSIGNAL SIGTERM
# Unhealthy means: no account has been connected for a minute, or the disk takes no writes. See docs/operations.md.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["node", "/app/healthcheck.mjs"]
# The bridge handles signals itself, also as process 1, and starts no processes of its own: it needs no init.
ENTRYPOINT ["node", "/app/dist/bin.js"]
CMD ["start"]
ARG NODE_IMAGE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="dingtalk-bridge" \
      org.opencontainers.image.description="Connects DingTalk robots (Stream mode) to an OpenClaw gateway: durable, ordered, rate-limited" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
