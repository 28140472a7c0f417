# Three stages: compile, collect what runs, and the image with nothing else in it.
# No package may run a script of its own at installation; the image's Node does all the work.

FROM node:24.21-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM node:24.21-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24.21-bookworm-slim
LABEL org.opencontainers.image.title="dingtalk-bridge" \
      org.opencontainers.image.description="Connects DingTalk robots (Stream mode) to an OpenClaw gateway: durable, ordered, rate-limited" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-semi-space-size=2 \
    BRIDGE_DATA_DIR=/data
WORKDIR /app
COPY package.json LICENSE README.md README.zh-CN.md CHANGELOG.md ./
COPY config ./config
COPY docs ./docs
COPY openclaw-plugin ./openclaw-plugin
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# A named volume takes owner and mode from here; a bind-mounted directory must belong to uid 1000.
RUN install -d -o node -g node -m 0700 /data
VOLUME /data
USER node
EXPOSE 8790
STOPSIGNAL SIGTERM
# Unhealthy means: no account has been connected for a minute, or the disk takes no writes. See docs/operations.md.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.BRIDGE_PORT || 8790) + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# The daemon handles signals itself, as process 1 too.
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["start"]
