# An OpenClaw gateway with the plugin of this repository, for deploy/docker-compose.full.yml. The build context is the
# repository. The first stage begins as the bridge's own, so that a build of both does the work once.
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

FROM ${NODE_IMAGE}
ARG NPM_REGISTRY
ARG OPENCLAW_VERSION=2026.9.6
RUN npm install --global --no-audit --no-fund ${NPM_REGISTRY:+"--registry=$NPM_REGISTRY"} "openclaw@$OPENCLAW_VERSION" \
 && npm cache clean --force
# A named volume takes owner and mode from here.
RUN install -d -o node -g node -m 0700 /home/node/.openclaw
COPY --from=build /app/dist/openclaw-plugin /opt/dingtalk-bridge
COPY deploy/docker/openclaw.sh /opt/dingtalk-bridge/
ENV NODE_ENV=production \
    HOME=/home/node
WORKDIR /home/node
USER node
VOLUME /home/node/.openclaw
EXPOSE 18789
# The first start installs the plugin and takes longer.
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s --retries=4 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:18789/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["sh", "/opt/dingtalk-bridge/openclaw.sh"]
